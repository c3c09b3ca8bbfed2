//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"cairn/internal/bench/child"
)

// workload is one kind of traffic.
type workload struct {
	name, what string
	series     int
	args       []string // of the generator
	bar        float64  // the highest ratio to the sink; 0: see like
	like       string   // costs no more than that workload; "": for information
}

// workloads are fixed: figures of two versions can be compared.
var workloads = []workload{
	{"a", "1,000 series, no tags", 1000, nil, 3.3, ""},
	{"b", "10,000 series, 3 tags", 10_000, []string{"-t"}, 2.8, ""},
	{"c", "1,000 series, one metric a packet", 1000, []string{"-1"}, 1.25, ""},
	{"b1m", "1,000,000 series, 3 tags", 1_000_000, []string{"-t"}, 5, ""},
	{"hot", "one series, no tags", 1, nil, 0, "a"},
	{"gauge", "10,000 gauges, 3 tags", 10_000, []string{"-t", "-T", "g"}, 0, ""},
	{"timer", "10,000 timers, 3 tags", 10_000, []string{"-t", "-T", "ms"}, 0, ""},
	{"set", "10,000 sets, 3 tags", 10_000, []string{"-t", "-T", "s"}, 0, ""},
}

func (w workload) flags(more ...string) []string {
	return append(append([]string{"-n", strconv.Itoa(w.series)}, w.args...), more...)
}

func workloadNamed(name string) workload {
	for _, w := range workloads {
		if w.name == name {
			return w
		}
	}
	panic("BUG: no workload " + name)
}

// round is one time that the generator sent, as the server counted it.
type round struct {
	events uint64        // counted
	cpu    time.Duration // of the server, until it had read all
	secs   float64       // that the generator took
	lost   float64       // share of the datagrams that the kernel dropped
}

// each returns CPU seconds a million events.
func (r round) each() float64 { return perMillion(r.cpu, r.events) }

// rate returns events a second.
func (r round) rate() float64 { return float64(r.events) / r.secs }

// busy returns which share of its core the server had: less than all where
// others use the core as well, or the generator is the limit.
func (r round) busy() float64 { return r.cpu.Seconds() / r.secs }

func (r round) dropped() float64 { return r.lost }

// perMillion is 0 where nothing was counted.
func perMillion(cpu time.Duration, events uint64) float64 {
	if events == 0 {
		return 0
	}
	return cpu.Seconds() / (float64(events) / 1e6)
}

// row is what came out of one workload.
type row struct {
	workload
	sink, cairn []round
	rest        float64 // CPU seconds a million events, of Cairn, outside the rounds
	turnedAway  uint64  // events that were received and not counted
}

// workload runs sink and Cairn in turn. Cairn knows all series before the first
// round, and stays up between rounds: what it does with the counts afterwards is
// in the row's rest, the flush at its end included.
func (b *bench) workload(ctx context.Context, w workload) (out row, err error) {
	out.workload = w
	limit := 2*setupTime + time.Duration(b.rounds)*(setupTime+2*time.Duration(b.secs)*time.Second)
	s, err := b.startCairn(ctx, limit)
	if err != nil {
		return out, err
	}
	defer s.close()
	// At most a million a second: nothing is dropped, so that all series are known.
	if _, err := child.Blast(ctx, b.tools.blast, s.Port, setupTime, w.flags("-e", strconv.Itoa(max(w.series, 1000)), "-r", "1e6")...); err != nil {
		return out, err
	}
	warm, err := s.read(ctx)
	if err != nil {
		return out, err
	}
	var events uint64
	var inside time.Duration
	for range b.rounds {
		sink, err := b.sinkRound(ctx, w)
		if err != nil {
			return out, fmt.Errorf("sink: %w", err)
		}
		cairn, away, err := b.cairnRound(ctx, s, w)
		if err != nil {
			return out, fmt.Errorf("cairn: %w", err)
		}
		out.sink, out.cairn = append(out.sink, sink), append(out.cairn, cairn)
		out.turnedAway += away
		events += cairn.events
		inside += cairn.cpu
		b.say("%-6s sink %.4f  cairn %.4f CPU s/M events, %.2f M events/s on %.0f%% of the core, %.0f%% dropped by the kernel",
			w.name, sink.each(), cairn.each(), cairn.rate()/1e6, 100*cairn.busy(), 100*cairn.lost)
	}
	if err := s.Terminate(); err != nil {
		return out, err
	}
	out.rest = perMillion(max(0, s.CPU()-warm.cpu-inside), events)
	return out, nil
}

func (b *bench) flatOut(w workload) (args []string, limit time.Duration) {
	return w.flags("-g", child.Segments, "-d", strconv.Itoa(b.secs)), setupTime + time.Duration(b.secs)*time.Second
}

func (b *bench) sinkRound(ctx context.Context, w workload) (r round, err error) {
	args, limit := b.flatOut(w)
	p, port, err := b.startSink(ctx, 2*limit)
	if err != nil {
		return r, err
	}
	defer p.Kill()
	sent, err := child.Blast(ctx, b.tools.blast, port, limit, args...)
	if err != nil {
		return r, err
	}
	drops, err := drained(ctx, port)
	if err != nil {
		return r, err
	}
	if err := p.Terminate(); err != nil {
		return r, err
	}
	var got struct{ Packets uint64 }
	if err := json.Unmarshal(p.Stdout(), &got); err != nil {
		return r, fmt.Errorf("what the sink printed: %w", err)
	}
	if err := balance(sent.Packets, drops, got.Packets, "datagrams"); err != nil {
		return r, err
	}
	return round{got.Packets * sent.Per, p.CPU(), sent.Secs, float64(drops) / float64(sent.Packets)}, nil
}

// cairnRound also returns how many events were turned away.
func (b *bench) cairnRound(ctx context.Context, s *server, w workload) (r round, away uint64, err error) {
	args, limit := b.flatOut(w)
	return b.sendTo(ctx, s, limit, args...)
}

// sendTo runs the generator against Cairn and draws up the account.
func (b *bench) sendTo(ctx context.Context, s *server, limit time.Duration, args ...string) (r round, away uint64, err error) {
	before, err := s.read(ctx)
	if err != nil {
		return r, 0, err
	}
	sent, err := child.Blast(ctx, b.tools.blast, s.Port, limit, args...)
	if err != nil {
		return r, 0, err
	}
	after, err := s.read(ctx)
	if err != nil {
		return r, 0, err
	}
	drops := after.drops - before.drops
	if err := balance(sent.Packets, drops, after.packets-before.packets, "datagrams"); err != nil {
		return r, 0, err
	}
	received, accepted := after.receive-before.receive, after.accepted-before.accepted
	if err := balance(sent.Events, drops*sent.Per, received, "events"); err != nil {
		return r, 0, err
	}
	r = round{accepted, after.cpu - before.cpu, sent.Secs, float64(drops) / float64(sent.Packets)}
	return r, received - accepted, nil
}

func balance(sent, dropped, counted uint64, what string) error {
	if sent-dropped != counted {
		return fmt.Errorf("%d %s were sent and %d dropped by the kernel, but %d counted", sent, what, dropped, counted)
	}
	return nil
}
