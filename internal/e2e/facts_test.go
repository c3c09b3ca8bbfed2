package e2e

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fact is one number that the server must know of what was sent.
type fact struct {
	metric, kind string
	fn           string
	want         float64
	within       float64 // relative error; 0: it is exact
	filter       string  // empty: of all series
}

// The errors that the documents promise.
const (
	quantileError = 0.01
	uniquesError  = 0.02
)

func counted(metric string, sum float64) fact {
	return fact{metric: metric, kind: "counter", fn: "count", want: sum}
}

// gauge lists what is known of a gauge's readings, in their order.
func gauge(metric string, readings ...float64) []fact {
	sum, low, high := summary(readings)
	n := float64(len(readings))
	g := func(fn string, want float64) fact { return fact{metric: metric, kind: "gauge", fn: fn, want: want} }
	return []fact{
		g("last", readings[len(readings)-1]), g("min", low), g("max", high), g("sum", sum), g("count", n),
		{metric: metric, kind: "gauge", fn: "avg", want: sum / n, within: 1e-12},
	}
}

// distribution lists what is known of the observations from..to, each sent times
// times: all facts but the percentiles are exact.
func distribution(metric string, from, to, times int) []fact {
	d := func(fn string, want float64) fact {
		return fact{metric: metric, kind: "distribution", fn: fn, want: want}
	}
	n, sum := to-from+1, (from+to)*(to-from+1)/2
	facts := []fact{
		d("count", float64(times*n)), d("sum", float64(times*sum)), d("min", float64(from)), d("max", float64(to)),
		d("avg", float64(sum)/float64(n)), d("above:"+strconv.Itoa(2*to), 0), d("below:"+strconv.Itoa(2*to), 1),
	}
	for _, p := range []string{"50", "75", "90", "95", "99", "99.9"} {
		share, _ := strconv.ParseFloat(p, 64)
		exact := float64(from) + math.Floor(share/100*float64(times*n-1)/float64(times))
		q := d("p"+p, exact)
		q.within = quantileError
		facts = append(facts, q)
	}
	return facts
}

func uniques(metric string, n int) fact {
	return fact{metric: metric, kind: "set", fn: "uniques", want: float64(n), within: uniquesError}
}

func summary(values []float64) (sum, low, high float64) {
	low, high = values[0], values[0]
	for _, v := range values {
		sum, low, high = sum+v, min(low, v), max(high, v)
	}
	return sum, low, high
}

// requireFacts compares facts with the whole range's value in every tier.
// Timestamps of the facts lie in the last quarter of an hour.
func requireFacts(t testing.TB, s *server, facts []fact) {
	t.Helper()
	now := time.Now().Unix()
	for _, f := range facts {
		args := url.Values{
			"metric": {f.metric}, "kind": {f.kind}, "fn": {f.fn},
			"from": {fmt.Sprint(now - 900)}, "to": {fmt.Sprint(now + 30)},
		}
		if f.filter != "" {
			args.Set("filter", f.filter)
		}
		for _, step := range steps {
			args.Set("step", step)
			a := s.Query(args)
			what := fmt.Sprintf("%s of %s %s {%s} at step %s", f.fn, f.kind, f.metric, f.filter, step)
			require.Equal(t, step, a.Tier, what)
			require.Positive(t, a.SeriesMatched, "nothing is known: %s", what)
			if f.within == 0 {
				require.Equal(t, f.want, a.Total, what)
				continue
			}
			require.InEpsilon(t, f.want, a.Total, f.within, what)
		}
	}
}

// requireKept compares facts at once, on the way into the store, when all is
// there, and after a restart. events is how many were sent. It returns the new server.
func requireKept(t testing.TB, s *server, events int, facts []fact) *server {
	t.Helper()
	s.AwaitReceived(events)
	requireFacts(t, s, facts)
	s.AwaitFlushed(func() { requireFacts(t, s, facts[:1]) })
	requireFacts(t, s, facts)
	s.MustStop()
	again := startServer(t, "--data-dir", s.Dir)
	requireFacts(t, again, facts)
	requireBalance(t, again.Figures())
	return again
}
