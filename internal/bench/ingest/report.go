//go:build linux

package main

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"cairn/internal/bench/report"
)

// results are everything that was measured.
type results struct {
	rows     []row
	batches  *batchesRow
	lossless *losslessRow
	memory   *memoryRow
}

const (
	memoryBar = 600 // bytes a series
	memoryAim = 400
)

func median(rounds []round, f func(round) float64) float64 {
	var v []float64
	for _, r := range rounds {
		v = append(v, f(r))
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// markdown writes the report; args are those of this program.
func (r *results) markdown(args string, now time.Time) string {
	var b bytes.Buffer
	b.WriteString(report.Head("ingest", args, now))
	if len(r.rows) > 0 {
		b.WriteString("\n| workload | | sink, CPU s/M | Cairn, CPU s/M | of it receiving | × sink | bar | | M events/s | on | dropped |\n")
		b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|\n")
	}
	for _, w := range r.rows {
		b.WriteString(w.markdown(r.barOf(w)))
	}
	if r.batches != nil {
		b.WriteString(r.batches.markdown())
	}
	if l := r.lossless; l != nil {
		fmt.Fprintf(&b, "\nLossless: workload b at %.2f M events/s, 90%% of the %.2f M that it counted flat out on %.0f%% of its core, for %d s while a page asks each second: %d datagrams dropped (bar 0: %s); the slowest of %d queries took %s; the server waited %.1f s for its core.\n",
			l.rate/1e6, l.capacity/1e6, 100*l.busy, losslessSecs, l.drops, report.Verdict(l.drops == 0), l.queries, l.slowest.Round(time.Millisecond), l.waited.Seconds())
	}
	if m := r.memory; m != nil && m.series > 0 {
		fmt.Fprintf(&b, "\nMemory: %d series with 3 tags at %.2f M events/s for %d s: %d bytes resident a series at the peak (bar %d, aim %d: %s), %d usually; heap in use at the end %d a series; %.0f%% of the datagrams dropped; %d flushes, the longest %.1f s.\n",
			m.series, m.rate/1e6, memorySecs, m.peak/m.series, memoryBar, memoryAim, report.Verdict(m.peak/m.series <= memoryBar),
			m.usual/m.series, m.heap/m.series, 100*m.lost, m.flushes, m.longest)
	}
	return b.String()
}

// ratio returns Cairn's CPU time an event, with what it does afterwards, over
// the sink's.
func (w row) ratio() float64 {
	return w.cost() / median(w.sink, round.each)
}

// cost is that CPU time, in seconds a million events.
func (w row) cost() float64 { return median(w.cairn, round.each) + w.rest }

// barOf returns the highest ratio that w may have; 0: any. A workload that must
// cost no more than another is held to the other's CPU time, over its own sink's:
// that one has other datagrams.
func (r *results) barOf(w row) float64 {
	for _, other := range r.rows {
		if other.name == w.like {
			return other.cost() / median(w.sink, round.each)
		}
	}
	return w.bar
}

func (w row) markdown(highest float64) string {
	head := fmt.Sprintf("| %s | %s | %.4f |", w.name, w.what, median(w.sink, round.each))
	receiving := median(w.cairn, round.each)
	if receiving == 0 {
		return head + " not counted | | | | | | | |\n"
	}
	bar, ok := "", ""
	if highest > 0 {
		bar, ok = fmt.Sprintf("%.2f", highest), report.Verdict(w.ratio() <= highest)
	}
	if w.turnedAway > 0 {
		ok += fmt.Sprintf(" %d events turned away", w.turnedAway)
	}
	return head + fmt.Sprintf(" %.4f | %.4f | %.2f | %s | %s | %.2f | %.0f%% | %.0f%% |\n",
		receiving+w.rest, receiving, w.ratio(), bar, ok, median(w.cairn, round.rate)/1e6,
		100*median(w.cairn, round.busy), 100*median(w.cairn, round.dropped))
}

// mark is where the page has what was measured.
const mark = report.Mark("measured")
