package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// packed returns lines with the values from..to of one metric, some a line.
func packed(name, kind string, from, to int) (lines []string) {
	var values []string
	for v := from; v <= to; v++ {
		values = append(values, strconv.Itoa(v))
	}
	for part := range slices.Chunk(values, 100) {
		lines = append(lines, name+":"+strings.Join(part, ":")+"|"+kind)
	}
	return lines
}

// everyKind is traffic of all kinds: payloads of lines, how many events they
// are, of which noted are not counted, and what they add up to.
func everyKind(now int64) (payloads []string, events, notes int, facts []fact) {
	lines := func(n int, text ...string) {
		payloads = append(payloads, strings.Join(text, "\n"))
		events += n
	}
	know := func(more ...fact) { facts = append(facts, more...) }

	lines(8, "c.rate:1|c|@0.1", "c.half:1.5|c", "c.packed:1:2:3|c", "c.meter:4|m", "c.negative:-2|c", "c.exponent:+25e-1|c")
	know(counted("c.rate", 10), counted("c.half", 1.5), counted("c.packed", 6), counted("c.meter", 4), counted("c.negative", -2), counted("c.exponent", 2.5))
	lines(3, "c.third:1|c|@0.3", "c.third:1|c|@0.3\r", "c.third:1|c|@0.3", "", "")
	know(counted("c.third", 10))
	lines(2, fmt.Sprintf("c.stamped:5|c|T%d", now-300), fmt.Sprintf("c.stamped:6|c|#k:v|T%d|c:abc", now-30))
	know(counted("c.stamped", 11))

	lines(4, "g.absolute:20|g", "g.absolute:+30|g", "g.absolute:5.25|g", "g.absolute:-7.5|g")
	know(gauge("g.absolute", 20, 30, 5.25, -7.5)...)
	lines(3, fmt.Sprintf("g.stamped:3|g|T%d", now-20), fmt.Sprintf("g.stamped:9|g|T%d", now-40), fmt.Sprintf("g.stamped:8|g|T%d", now-300))
	know(fact{metric: "g.stamped", kind: "gauge", fn: "last", want: 3}, fact{metric: "g.stamped", kind: "gauge", fn: "max", want: 9},
		fact{metric: "g.stamped", kind: "gauge", fn: "count", want: 3})

	for kind, name := range map[string]string{"ms": "d.timer", "h": "d.histogram", "d": "d.distribution"} {
		for _, line := range packed(name, kind, 1, 1000) {
			lines(100, line)
		}
		know(distribution(name, 1, 1000, 1)...)
	}
	// Weighted, not replicated: the mean of 10 times 100 and once 300.
	lines(2, "d.sampled:100|ms|@0.1", "d.sampled:300|ms")
	sampled := func(fn string, want float64) fact {
		return fact{metric: "d.sampled", kind: "distribution", fn: fn, want: want}
	}
	know(sampled("count", 11), sampled("sum", 1300), sampled("min", 100), sampled("max", 300), sampled("above:200", 1.0/11),
		fact{metric: "d.sampled", kind: "distribution", fn: "p50", want: 100, within: quantileError})
	lines(1, "d.fine:0.125|h|@0.001")
	know(fact{metric: "d.fine", kind: "distribution", fn: "count", want: 1000}, fact{metric: "d.fine", kind: "distribution", fn: "sum", want: 125})

	for i := range 20 {
		var members []string
		for j := range 100 {
			members = append(members, fmt.Sprintf("s.many:user%d|s", (i*100+j)%1000))
		}
		lines(100, members...)
	}
	know(uniques("s.many", 1000))
	lines(5, "s.few:a:b|s", "s.few:a:c|s", "s.few:a:b|s|@0.5", "s.few:text with blanks|s", "s.few:7|s")
	know(uniques("s.few", 4))

	lines(4, "_e{5,4}:title|text|t:error|#k:v", "_sc|disk|2|#k:v|m:full", "_e{1,0}:x|", "_sc|net|0")
	return payloads, events, 4, facts
}

func TestEveryKindOverEveryTransport(t *testing.T) {
	t.Parallel()
	for _, sort := range []string{"UDP", "UDS", "TCP"} {
		t.Run(sort, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, "--uds", socketPath(t), "--tcp", "127.0.0.1:0")
			payloads, events, notes, facts := everyKind(time.Now().Unix())
			transmit(t, s.DialTo(sort, "dogstatsd"), random(t), payloads)
			f := s.AwaitReceived(events)
			require.Equal(t, float64(notes), f[noted])
			require.Equal(t, float64(events-notes), f[accepted], "%v", f.rejected())
			requireKept(t, s, events, facts)
		})
	}
}

func TestEveryKindThatNobodyFlushed(t *testing.T) {
	t.Parallel()
	never := []string{"--grace", "1h", "--flush-interval", "1h"}
	s := startWith(t, nil, never...)
	payloads, events, _, facts := everyKind(time.Now().Unix())
	transmit(t, s.Dial(), random(t), payloads)
	s.AwaitReceived(events)
	require.Zero(t, s.Figures()[stored])
	requireFacts(t, s, facts)
	s.MustStop()
	s = startWith(t, nil, append(never, "--data-dir", s.Dir)...)
	requireFacts(t, s, facts)

	// The same again, on top of what is stored.
	transmit(t, s.Dial(), random(t), payloads)
	s.AwaitReceived(events)
	requireFacts(t, s, slices.Concat(distribution("d.timer", 1, 1000, 2), []fact{
		counted("c.rate", 20), counted("c.third", 20), uniques("s.many", 1000),
		{metric: "g.absolute", kind: "gauge", fn: "count", want: 8}, {metric: "g.absolute", kind: "gauge", fn: "last", want: -7.5},
		{metric: "g.stamped", kind: "gauge", fn: "last", want: 3},
	}))
}

func TestTimestampsOfKindsThatTakeNone(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	old := time.Now().Unix() - 5000
	s.Send(fmt.Sprintf("t:1|ms|T%d", old), fmt.Sprintf("h:1|h|T%d|#k:v", old), fmt.Sprintf("s:1|s|T%d", old), fmt.Sprintf("c:1|c|T%d", old), "d:1|d")
	f := s.AwaitReceived(5)
	require.Equal(t, 3.0, f["cairn_timestamps_ignored_total"])
	require.Equal(t, 5.0, f[accepted], "%v", f.rejected())
	requireKept(t, s, 5, []fact{uniques("s", 1), {metric: "t", kind: "distribution", fn: "count", want: 1}, {metric: "h", kind: "distribution", fn: "count", want: 1}})
}

func TestOneNameTwoKinds(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.Send("both:2|c", "both:7|g", "both:9|g", "multi:3|c:250|ms:4|c|@0.5", "one:1|c")
	s.AwaitReceived(7)
	facts := append(gauge("both", 7, 9), counted("both", 2), counted("multi", 11), counted("one", 1),
		fact{metric: "multi", kind: "distribution", fn: "sum", want: 250})
	requireFacts(t, s, facts)
	a := s.Query(map[string][]string{"metric": {"both"}})
	require.Equal(t, "counter", a.Kind)
	require.Len(t, a.Warnings, 1)
	require.Contains(t, a.Warnings[0], "2 metrics")
	shown := func(s *server) (out []string) {
		for _, m := range s.MetricRows() {
			out = append(out, fmt.Sprint(m.Metric, " ", m.Kind, " ", m.Conflict))
		}
		return out
	}
	want := []string{"both counter true", "both gauge true", "multi counter true", "multi distribution true", "one counter false"}
	require.Equal(t, want, shown(s))
	require.Equal(t, want, shown(requireKept(t, s, 7, facts)))
}
