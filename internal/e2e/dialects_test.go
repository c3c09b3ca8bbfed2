package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTagsInEveryDialect(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	forms := map[string]string{ // of the same series
		"DogStatsD": "%[1]s.name:%[2]s|#env:prod,region:eu",
		"swapped":   "%[1]s.name:%[2]s|#region:eu,env:prod",
		"twice":     "%[1]s.name:%[2]s|#env:prod,region:eu,env:prod",
		"merged":    "%[1]s.name:%[2]s|#env:prod|#region:eu",
		"stray":     "%[1]s.name:%[2]s|#env:prod,#region:eu",
		"Influx":    "%[1]s.name,env=prod,region=eu:%[2]s",
		"Graphite":  "%[1]s.name;region=eu;env=prod:%[2]s",
		"Librato":   "%[1]s.name#env=prod,region=eu:%[2]s",
		"SignalFX":  "%[1]s.[env=prod,region=eu]name:%[2]s",
		"at an end": "%[1]s.name[region=eu,env=prod]:%[2]s",
	}
	for _, form := range forms {
		var lines []string
		for kind, value := range map[string]string{"c": "2|c", "g": "4|g", "d": "8|d", "s": "x|s"} {
			lines = append(lines, fmt.Sprintf(form, kind, value))
		}
		s.Send(lines...)
	}
	n := float64(len(forms))
	facts := []fact{
		counted("c.name", 2*n), {metric: "g.name", kind: "gauge", fn: "count", want: n}, {metric: "g.name", kind: "gauge", fn: "last", want: 4},
		{metric: "d.name", kind: "distribution", fn: "sum", want: 8 * n}, uniques("s.name", 1),
	}
	for _, f := range slices.Clone(facts) {
		f.filter = "env:prod"
		facts = append(facts, f)
		f.filter = "region:eu"
		facts = append(facts, f)
	}
	one := func(s *server) {
		for name, row := range s.Metrics() {
			require.Equal(t, 1, row.Series, name)
		}
	}
	s.AwaitReceived(4 * len(forms))
	one(s)
	one(requireKept(t, s, 4*len(forms), facts))
}

func TestTagsAndNamesAsTheyAreUnderstood(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.Send("bare:1|c|#canary", "bare:1|c|#canary:", "colons:1|c|#t:a:b", "many:1|c|#k:v,k:w", "a/b c\td:1|c",
		"влажность.ü:1|c|#место:кухня", "multi,env=prod:1|c|@0.5:20|ms:3|c")
	s.AwaitReceived(9)
	require.Equal(t, map[string]float64{"": 2}, s.By("bare", "1s", "canary"))
	require.Equal(t, map[string]float64{"a:b": 1}, s.By("colons", "1s", "t"))
	require.Equal(t, map[string]float64{"[v w]": 1}, s.By("many", "1s", "k"))
	require.Equal(t, map[string]float64{"кухня": 1}, s.By("влажность.ü", "1s", "место"))
	series := map[string]int{}
	for _, m := range s.MetricRows() {
		series[m.Metric+" "+m.Kind] = m.Series
	}
	require.Equal(t, map[string]int{
		"bare counter": 1, "colons counter": 1, "many counter": 1, "a-b_c_d counter": 1, "влажность.ü counter": 1,
		"multi counter": 1, "multi distribution": 1,
	}, series)
	requireKept(t, s, 9, []fact{
		counted("bare", 2), counted("a-b_c_d", 1), counted("many", 1),
		{metric: "multi", kind: "counter", fn: "count", want: 5, filter: "env:prod"},
		{metric: "multi", kind: "distribution", fn: "sum", want: 20, filter: "env:prod"},
	})
}

func TestAListenerOfEachDialect(t *testing.T) {
	t.Parallel()
	etsy, brubeck := socketPath(t), socketPath(t)
	s := startServer(t, "--udp", "etsy@127.0.0.1:0,brubeck@127.0.0.1:0", "--uds", "etsy@"+etsy+",brubeck@"+brubeck,
		"--tcp", "127.0.0.1:0,etsy@127.0.0.1:0,brubeck@127.0.0.1:0")
	r := random(t)
	var facts []fact
	sent, wrong := 0, 0
	for _, sort := range []string{"UDP", "UDS", "TCP"} {
		p := strings.ToLower(sort) + "."
		// Relative to the level so far, which what is no number does not change.
		transmit(t, s.DialTo(sort, "etsy"), r, []string{strings.Join([]string{
			p + "level:10|g", p + "level:+5|g", p + "level:-7|g", p + "level:x|g", p + "level:+0.5|g",
			p + "below:0|g", p + "below:-4|g", p + "fresh:+3|g", p + "upper:1|C", p + "count:-2|c",
		}, "\n")})
		facts = append(facts, gauge(p+"level", 10, 15, 8, 8.5)...)
		facts = append(facts, gauge(p+"below", 0, -4)...)
		facts = append(facts, gauge(p+"fresh", 3)...)
		facts = append(facts, counted(p+"count", -2))
		transmit(t, s.DialTo(sort, "brubeck"), r, []string{p + "meter:3|C\n" + p + "meter:1|C|@0.1\n" + p + "meter:1|c\n" + p + "sign:-4|g"})
		facts = append(facts, counted(p+"meter", 14))
		facts = append(facts, gauge(p+"sign", -4)...)
		sent, wrong = sent+14, wrong+2
	}
	transmit(t, s.DialTo("TCP", "dogstatsd"), r, []string{"plain:5|g\nplain:-4|g\nplain:+4|g\nplain:1|C"})
	facts = append(facts, gauge("plain", 5, -4, 4)...)
	sent++
	f := s.AwaitReceived(sent + 3)
	require.Equal(t, 4.0, f.rejected()["bad_type"], "C is a type in brubeck only: %v", f.rejected())
	require.Equal(t, 3.0, f.rejected()["bad_value"])
	require.Equal(t, float64(wrong+1), f.sum("cairn_events_rejected_total"))
	requireKept(t, s, sent+3, facts)
}

func TestRelativeGaugesOutliveAFlush(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--udp", "etsy@127.0.0.1:0")
	c := s.DialTo("UDP", "etsy")
	level := 0.0
	sent := 0
	for _, step := range []float64{100, -30, 7.5, -90} { // a flush lies between each two of them
		line := fmt.Sprintf("level:%+g|g|#k:v", step)
		if sent == 0 {
			line = "level:100|g|#k:v"
		}
		_, err := c.Write([]byte(line))
		require.NoError(t, err)
		level += step
		sent++
		s.AwaitReceived(sent)
		s.AwaitFlushed(func() {})
		requireFacts(t, s, []fact{{metric: "level", kind: "gauge", fn: "last", want: level}})
	}
	requireKept(t, s, sent, gauge("level", 100, 70, 77.5, -12.5))
}

func TestOriginTags(t *testing.T) {
	t.Parallel()
	line := "m:1|c|#env:prod|c:ci-abc|e:it-false,cn-x|card:low"
	s := startServer(t, "--origin-tags")
	s.Send(line, "d:5|ms|card:none|@0.5|c:ci-abc")
	s.AwaitReceived(2)
	require.Equal(t, map[string]float64{"prod/ci-abc/it-false,cn-x/low": 1}, s.By("m", "1s", "env", "container_id", "external_data", "cardinality"))
	requireFacts(t, s, []fact{{metric: "d", kind: "distribution", fn: "count", want: 2, filter: "cardinality:none"}})

	s = startServer(t)
	s.Send(line)
	s.AwaitReceived(1)
	require.Equal(t, map[string]float64{"prod/<nil>/<nil>/<nil>": 1}, s.By("m", "1s", "env", "container_id", "external_data", "cardinality"))
}

func TestOneBadLineAmongGoodOnesOfEveryKind(t *testing.T) {
	t.Parallel()
	now := time.Now().Unix()
	for _, sort := range []string{"UDP", "UDS", "TCP"} {
		t.Run(sort, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, "--uds", socketPath(t), "--tcp", "127.0.0.1:0")
			want := map[string]float64{}
			var payloads []string
			good := 0
			for reason, lines := range bad(now) {
				if sort == "TCP" && reason == "line_too_long" {
					continue // it ends the connection
				}
				for _, line := range lines {
					if strings.Contains(line, "\n") {
						continue
					}
					payloads = append(payloads, "c:1|c\ng:2|g\r\n\n"+line+"\nd:3|ms\ns:4|s")
					want[reason]++
					good++
				}
			}
			transmit(t, s.DialTo(sort, "dogstatsd"), random(t), payloads)
			sent := 5 * good
			f := s.AwaitReceived(sent)
			got := f.rejected()
			for reason, n := range got {
				require.Equal(t, want[reason], n, reason)
			}
			n := float64(good)
			requireKept(t, s, sent, []fact{
				counted("c", n), {metric: "g", kind: "gauge", fn: "sum", want: 2 * n}, uniques("s", 1),
				{metric: "d", kind: "distribution", fn: "sum", want: 3 * n},
			})
		})
	}
}

func TestDatagramsLongerThanUDPHas(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--uds", socketPath(t))
	c := s.DialTo("UDS", "dogstatsd")
	line := "big:1|c|#k:v\n"
	whole := strings.Repeat(line, 65507/len(line))
	cut := strings.Repeat(line, 70_000/len(line))
	for _, p := range []string{whole, cut, whole} {
		_, err := c.Write([]byte(p))
		require.NoError(t, err)
	}
	var f figures
	eventually(t, seenLimit, func() (bool, string) {
		f = s.Figures()
		return f["cairn_uds_packets_total"] == 3, fmt.Sprint(f["cairn_uds_packets_total"], " datagrams")
	})
	requireBalance(t, f)
	require.Equal(t, 1.0, f.rejected()["truncated"], "what did not fit must be told")
	require.Equal(t, 1.0, f.sum("cairn_events_rejected_total"))
	require.GreaterOrEqual(t, f[accepted], float64(3*(65507/len(line))))
	s.RequireTotal(f[accepted], "big")
}

func TestEndsOfStreams(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--tcp", "127.0.0.1:0")
	last := s.DialTo("TCP", "dogstatsd")
	_, err := io.WriteString(last, "a:1|c\r\n\n\na:2|c") // without a line end
	require.NoError(t, err)
	require.NoError(t, last.(*net.TCPConn).CloseWrite())
	s.AwaitReceived(2)
	s.RequireTotal(3, "a")

	endless := s.DialTo("TCP", "dogstatsd")
	require.NoError(t, endless.SetDeadline(time.Now().Add(seenLimit)))
	_, err = io.WriteString(endless, "a:4|c\n")
	require.NoError(t, err)
	for err == nil { // until it hangs up
		_, err = endless.Write(make([]byte, 1000))
	}
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	f := s.AwaitReceived(4)
	require.Equal(t, 1.0, f.rejected()["line_too_long"], "%v", f.rejected())
	requireKept(t, s, 4, []fact{counted("a", 7)})
}

func TestFoldingKeepsTotals(t *testing.T) {
	t.Parallel()
	const limit, tagsets = 10, 50
	s := startServer(t, "--max-series-per-metric", fmt.Sprint(limit))
	var lines []string
	for i := range tagsets {
		id := fmt.Sprintf("|#id:%d", i)
		lines = append(lines, "c:2|c|@0.5"+id, fmt.Sprintf("d:%d|ms%s", i+1, id), "g:3|g"+id, fmt.Sprintf("s:m%d|s%s", i, id),
			"narrow:1|c|#id:"+fmt.Sprint(i%limit))
	}
	s.Send(lines...)
	s.Send(lines...) // all of them are known now, folded or not
	sent := 2 * len(lines)
	s.AwaitReceived(sent)
	folded := func(f fact) fact { f.filter = "__overflow__:true"; return f }
	facts := []fact{
		counted("c", 8*tagsets), folded(counted("c", 8*(tagsets-limit))), counted("narrow", 2*tagsets),
		{metric: "g", kind: "gauge", fn: "sum", want: 6 * tagsets},
		folded(fact{metric: "g", kind: "gauge", fn: "count", want: 2 * (tagsets - limit)}),
		uniques("s", tagsets), folded(uniques("s", tagsets-limit)),
	}
	facts = append(facts, distribution("d", 1, tagsets, 2)...)
	for _, f := range distribution("d", limit+1, tagsets, 2) {
		facts = append(facts, folded(f))
	}
	says := func(s *server) {
		want := map[string]bool{"c": true, "d": true, "g": true, "s": true, "narrow": false}
		for name, row := range s.Metrics() {
			require.Equal(t, want[name], row.Overflow, name)
			if row.Overflow {
				require.Equal(t, limit+1, row.Series, name)
				warnings := s.Query(map[string][]string{"metric": {name}}).Warnings
				require.Len(t, warnings, 1, name)
				require.Contains(t, warnings[0], "totals are exact")
			}
		}
	}
	says(s)
	f := s.Figures()
	require.Equal(t, 4.0, f["cairn_overflowed_metrics"])
	require.Equal(t, 1.0, f[`cairn_metric_overflow{metric="c",kind="counter"}`])
	require.Equal(t, 4.0, f.sum("cairn_metric_overflow"))
	says(requireKept(t, s, sent, facts))
}
