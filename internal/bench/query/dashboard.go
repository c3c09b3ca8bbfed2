//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"cairn/internal/bench/child"
	"cairn/internal/bench/report"
)

const (
	dashboardName = "dashboard"
	dashboardBar  = 50 * time.Millisecond
	reloadEvery   = time.Second
	// warmReloads are not counted: a page that was just opened, and the first sight of the
	// series that are sent.
	warmReloads = 3
	// flatOutSecs is how long the capacity is measured for, and share what of it is sent.
	flatOutSecs = 6
	share       = 0.5
	// staleAfter is how old the data may be for panels of the last hour to show any.
	staleAfter = 15 * time.Minute
)

// blastFlags send the workload b of bench/ingest: 10,000 series with 3 tags.
var blastFlags = []string{"-n", "10000", "-t", "-g", child.Segments}

// panels are those of a dashboard, all up to now, so that they move on with each reload: of
// the data, and the last ones of what is being counted.
var panels = []string{
	"metric=shop.metric_00&from=-1h&step=10s",
	"metric=shop.metric_01&from=-1h&step=10s&by=region",
	"metric=shop.metric_*&from=-1h&step=10s",
	"metric=shop.metric_*&from=-1h&step=1m&by=region",
	"metric=shop.metric_*&from=-1d&step=1m&by=region",
	"metric=shop.metric_*&from=-30d&step=1h&by=region",
	"metric=shop.metric_02&from=-1d&step=5m&by=env",
	"metric=shop.metric_03&from=-30d&step=1h",
	"metric=" + wideName + "&filter=id:ASKED&from=-1h&step=1s",
	"metric=api.requests.count_0000&from=-15m&step=1s",
	"metric=api.requests.count_0001&from=-15m&step=10s&by=region",
	"metric=api.requests.count_0002&from=-1h&step=10s&by=env",
}

// load is what was sent beside a dashboard, and what became of it.
type load struct {
	rate    float64 // events a second that were sent
	secs    float64
	counted uint64 // events
	dropped uint64 // datagrams, by the kernel
	packets uint64
}

// dashboard reloads one while the server counts at half of its capacity. The server and the
// generator have a core each, as in bench/ingest.
func (b *bench) dashboard(ctx context.Context) (out row, err error) {
	blast := filepath.Join(b.dir, "blast")
	if err := child.BuildBlast(ctx, b.tools, blast); err != nil {
		return out, err
	}
	s, err := b.startCairn(ctx, child.ServerCore)
	if err != nil {
		return out, err
	}
	defer s.Close()
	rate, full, err := b.rates(ctx, s, blast)
	if err != nil {
		return out, err
	}
	open, missing, err := b.openPanels(ctx, s)
	if err != nil {
		return out, err
	}
	if len(open) == 0 {
		return row{what: what(0, 0), cairn: "n/a", note: missing[0]}, nil
	}
	var sent load
	var failed error
	var sender sync.WaitGroup
	limited, cancel := context.WithCancel(ctx)
	defer sender.Wait()
	defer cancel()
	sender.Go(func() { sent, failed = send(limited, s, blast, b.secs+warmReloads, rate) })
	r, err := b.reload(ctx, s, open)
	if err != nil {
		return out, err
	}
	sender.Wait()
	if failed != nil {
		return out, failed
	}
	b.say("%-7s %d panels, p99 %s", dashboardName, len(open), millis(report.Quantile(r.panels, 0.99)))
	return b.dashboardRow(&r, sent, full, open, missing), nil
}

// rates returns how many events a second are to be sent, and what the server counts flat
// out; 0: that was not measured. Afterwards it knows all series.
func (b *bench) rates(ctx context.Context, s *child.Cairn, blast string) (rate, full float64, err error) {
	// At a rate at which nothing is dropped.
	if _, err := send(ctx, s, blast, 1, 200_000); err != nil || b.rate > 0 {
		return b.rate, 0, err
	}
	sent, err := send(ctx, s, blast, flatOutSecs, 0)
	if err != nil {
		return 0, 0, err
	}
	full = float64(sent.counted) / sent.secs
	b.say("the server counts %.2f M events/s flat out", full/1e6)
	return share * full, full, nil
}

func what(panels int, rate float64) string {
	return fmt.Sprintf("dashboard of %d panels reloading every second while %.1f M events/s come in: a panel", panels, rate/1e6)
}

func (b *bench) dashboardRow(r *reloads, sent load, full float64, open, missing []string) row {
	p99 := report.Quantile(r.panels, 0.99)
	out := row{
		what: what(len(open), sent.rate), cairn: millis(report.Median(r.panels)), cairn99: millis(p99), bar: fmt.Sprintf("p99 ≤ %d ms", dashboardBar.Milliseconds()),
		ok: report.Verdict(p99 <= dashboardBar),
	}
	notes := []string{
		fmt.Sprintf("%d panels in %d reloads; all of a reload in %s, p99 %s; on its first sight %s", len(r.panels), len(r.all), millis(report.Median(r.all)), millis(report.Quantile(r.all, 0.99)), millis(r.first)),
		fmt.Sprintf("%d of %d datagrams dropped", sent.dropped, sent.packets),
	}
	if full > 0 {
		notes = append(notes, fmt.Sprintf("%.2f M events/s are counted flat out on one core", full/1e6))
	}
	if age := b.clock.Now().Sub(b.data.Until.Time()); age > staleAfter {
		notes = append(notes, fmt.Sprintf("the data end %s ago, so that panels have less to show", age.Round(time.Minute)))
	}
	if len(missing) > 0 {
		out.ok = ""
		notes = append(notes, fmt.Sprintf("%d more panels have no answer, such as %s", len(missing), missing[0]))
	}
	out.note = strings.Join(notes, "; ")
	return out
}

// openPanels asks for each panel once. It returns the paths of those that the server has
// an answer to, and why it has none to others.
func (b *bench) openPanels(ctx context.Context, s *child.Cairn) (open, missing []string, err error) {
	for _, p := range panels {
		path := "/api/query?" + strings.ReplaceAll(p, "ASKED", wideID(b.data.asked()))
		w := way{name: p, server: s, path: path}
		if err := w.answer(ctx, map[string]answer{}, new(question).parseNative); err != nil {
			return nil, nil, err
		}
		if w.na != "" {
			missing = append(missing, fmt.Sprintf("`%s`: %s", p, w.na))
			continue
		}
		open = append(open, path)
	}
	return open, missing, nil
}

// reloads are the times that a dashboard took.
type reloads struct {
	first  time.Duration   // of all panels, the first time
	panels []time.Duration // of each panel
	all    []time.Duration // until the last panel of a reload was there
}

// reload asks for all panels at once, over connections of their own, each second.
func (b *bench) reload(ctx context.Context, s *child.Cairn, open []string) (out reloads, err error) {
	next := b.clock.Now()
	for i := range warmReloads + b.secs {
		if err := child.Wait(ctx, next.Sub(b.clock.Now())); err != nil {
			return out, err
		}
		next = next.Add(reloadEvery)
		took, all, err := b.reloadOnce(ctx, s, open)
		if err != nil {
			return out, err
		}
		if i == 0 {
			out.first = all
		}
		if i >= warmReloads {
			out.panels, out.all = append(out.panels, took...), append(out.all, all)
		}
	}
	return out, nil
}

func (b *bench) reloadOnce(ctx context.Context, s *child.Cairn, open []string) (took []time.Duration, all time.Duration, err error) {
	took = make([]time.Duration, len(open))
	errs := make([]error, len(open))
	var wg sync.WaitGroup
	all, err = b.took(func() error {
		for i, path := range open {
			wg.Go(func() {
				took[i], errs[i] = b.took(func() error { return s.Fetch(ctx, path) })
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	})
	return took, all, err
}

// drainTime bounds how long the server takes to read what is queued, and a generator to
// make its packets.
const drainTime = time.Minute

// send sends for some seconds at a rate, 0: flat out, and waits until all is counted.
func send(ctx context.Context, s *child.Cairn, blast string, secs int, rate float64) (out load, err error) {
	before, err := s.Figures(ctx)
	if err != nil {
		return out, err
	}
	args := append(append([]string{}, blastFlags...), "-d", fmt.Sprint(secs), "-r", fmt.Sprintf("%.0f", rate))
	sent, err := child.Blast(ctx, blast, s.Port, time.Duration(secs)*time.Second+drainTime, args...)
	if err != nil {
		return out, err
	}
	after, err := drained(ctx, s)
	if err != nil {
		return out, err
	}
	since := func(name string) (n uint64) {
		for full := range after {
			if full == name || strings.HasPrefix(full, name+"{") {
				n += uint64(after[full] - before[full])
			}
		}
		return n
	}
	out = load{float64(sent.Events) / sent.Secs, sent.Secs, since("cairn_events_accepted_total"), since("cairn_udp_kernel_drops_total"), sent.Packets}
	if received := since("cairn_udp_packets_total"); received+out.dropped != sent.Packets {
		return out, fmt.Errorf("%d datagrams were sent and %d dropped by the kernel, but %d counted", sent.Packets, out.dropped, received)
	}
	return out, nil
}

// drained returns the server's figures once two readings agree on what came.
func drained(ctx context.Context, s *child.Cairn) (child.Figures, error) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	const name = "cairn_events_received_total"
	for last := -1.0; ; {
		f, err := s.Figures(ctx)
		if err != nil || f[name] == last {
			return f, err
		}
		last = f[name]
		if err := child.Wait(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}
