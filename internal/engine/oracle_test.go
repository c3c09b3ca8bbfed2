package engine

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
	"cairn/query"
)

// event is one event as the oracle knows it.
type event struct {
	kind   metric.Kind
	name   string
	tags   string // as series are written here: k=a,z=1
	sec    metric.UnixSec
	at     metric.UnixMilli // when it arrived
	value  float64          // of a set: the member
	weight float64

	stamped bool // its second was sent with it
	more    int  // events that it stands for, beside itself
}

// cell is one number of an answer.
type cell struct {
	name  string
	fn    query.Fn
	tags  string
	tier  metric.Tier
	start metric.UnixSec
}

// asked are the metrics there are, and what is asked of each. A name has one kind.
var asked = map[string][]query.Fn{
	"c0": {query.Count}, "c1": {query.Count},
	"g0": {query.Last, query.Min, query.Max, query.Sum, query.Count},
	"d0": {query.Count, query.Sum},
	"s0": {query.Uniques},
}

// bucketed is a bucket of the naive oracle: the events of it.
type bucketed struct {
	name, tags string
	tier       metric.Tier
	start      metric.UnixSec
}

// answersOf is what queries must answer if exactly these events count. NaN: any number.
func answersOf(events []event) map[cell]float64 {
	buckets := make(map[bucketed][]event)
	for _, e := range events {
		for _, tier := range metric.Tiers {
			b := bucketed{e.name, e.tags, tier, e.sec.Floor(tier.Width())}
			buckets[b] = append(buckets[b], e)
		}
	}
	out := make(map[cell]float64)
	for b, list := range buckets {
		for _, fn := range asked[b.name] {
			out[cell{b.name, fn, b.tags, b.tier, b.start}] = read(list, fn)
		}
	}
	return out
}

func read(list []event, fn query.Fn) float64 {
	sum, count, members := 0.0, 0.0, map[float64]bool{}
	least, most := math.Inf(1), math.Inf(-1)
	for _, e := range list {
		sum += e.value * e.weight
		count += e.weight
		least, most = min(least, e.value), max(most, e.value)
		members[e.value] = true
	}
	switch fn {
	case query.Last:
		return lastOf(list)
	case query.Min:
		return least
	case query.Max:
		return most
	case query.Uniques:
		return float64(len(members))
	case query.Count:
		if list[0].kind != metric.Counter {
			return count
		}
	}
	return sum
}

// lastOf is the last reading; NaN if that is not certain, because two have the same
// place in time.
func lastOf(list []event) float64 {
	place := func(e event) [2]int64 { return [2]int64{int64(e.sec), max(0, int64(e.at-e.sec.Milli()))} }
	last := slices.MaxFunc(list, func(a, b event) int {
		p, q := place(a), place(b)
		return slices.Compare(p[:], q[:])
	})
	for _, e := range list {
		if place(e) == place(last) && e.value != last.value {
			return math.NaN()
		}
	}
	return last.value
}

// answers asks the engine for everything, in all tiers. events says where to look:
// in the hours that they are in.
func (w *world) answers(events []event) map[cell]float64 {
	from, to := metric.SecOf(w.clock.Now()), metric.SecOf(w.clock.Now())
	for _, e := range events {
		from, to = min(from, e.sec), max(to, e.sec)
	}
	from, to = (from - 1).Floor(3600), (to + 1).Ceil(3600)
	out := make(map[cell]float64)
	for name, fns := range asked {
		for _, fn := range fns {
			for _, tier := range metric.Tiers {
				w.ask(out, name, fn, tier, from, to)
			}
		}
	}
	return out
}

func (w *world) ask(out map[cell]float64, name string, fn query.Fn, tier metric.Tier, from, to metric.UnixSec) {
	x := query.Executor{Acquire: w.e.Pump.View}
	for ; from < to; from += 3 * 3600 {
		end := min(to, from+3*3600)
		res, err := x.Run(context.Background(), query.Request{
			Operand: query.Operand{Metric: name, Kind: kinds[name], Fn: fn, Group: query.Grouping{Keys: []string{"k", "z"}}},
			From:    from, To: end, Step: tier.Width(), Limit: query.MaxLimit,
		})
		require.NoError(w.t, err)
		require.Equal(w.t, tier, res.Tier)
		for _, s := range res.Series {
			var tags []string
			for _, g := range s.Tags {
				tags = append(tags, g.Key+"="+strings.Join(g.Values, "+"))
			}
			for i, v := range s.Values {
				if math.IsNaN(v) {
					continue
				}
				if fn == query.Uniques {
					v = math.Round(v)
				}
				out[cell{name, fn, strings.Join(tags, ","), tier, from + metric.UnixSec(int64(i)*tier.Width())}] = v
			}
		}
	}
}

// differences says what differs, at most a few lines of it; "": nothing does.
func differences(want, got map[cell]float64) string {
	var list []string
	for c, v := range want {
		if g, ok := got[c]; !ok {
			list = append(list, fmt.Sprintf("%v is missing, and should be %v", c, v))
		} else if g != v && !math.IsNaN(v) {
			list = append(list, fmt.Sprintf("%v is %v, and should be %v", c, g, v))
		}
	}
	for c, g := range got {
		if _, ok := want[c]; !ok {
			list = append(list, fmt.Sprintf("%v is %v, and should not be there", c, g))
		}
	}
	slices.Sort(list)
	return strings.Join(list[:min(len(list), 8)], "\n")
}

// settle finds out which of the units are there: each must be so in whole, or not at
// all. It returns all events that count.
func (w *world) settle(sure []event, units [][]event) []event {
	all := slices.Clone(sure)
	for _, u := range units {
		all = append(all, u...)
	}
	got := w.answers(all)
	var why []string
	for set := range 1 << len(units) {
		events := slices.Clone(sure)
		for i, u := range units {
			if set>>i&1 == 1 {
				events = append(events, u...)
			}
		}
		d := differences(answersOf(events), got)
		if n, want := w.events(), number(events); n != want { // a member that comes twice to a set changes nothing else
			d += fmt.Sprintf("\n%d events count, and should be %d", n, want)
		}
		if d == "" {
			return events
		}
		why = append(why, fmt.Sprintf("with units %b of %d:\n%s", set, len(units), d))
	}
	if w.going != nil {
		events := slices.DeleteFunc(slices.Clone(all), w.going)
		d := differences(answersOf(events), got)
		if d == "" && w.events() == number(all) {
			w.gone += number(all) - number(events)
			return events
		}
		why = append(why, fmt.Sprintf("with the deletion, and %d events:\n%s", w.events(), d))
	}
	require.Fail(w.t, "the engine has something else than what was taken", "%s", strings.Join(why, "\n"))
	return nil
}

// requireExactly compares all answers with the oracle's.
func (w *world) requireExactly(events []event) {
	got := w.answers(events)
	require.Empty(w.t, differences(answersOf(events), got))
	require.Equal(w.t, number(events), w.events())
	require.Zero(w.t, w.e.Pump.Stats().Imbalance())
}

func number(events []event) int {
	n := len(events)
	for _, e := range events {
		n += e.more
	}
	return n
}

// events is how many count, or are being deleted.
func (w *world) events() int {
	s := w.e.Pump.Stats()
	return int(w.e.Store.Totals().Events+s.Open+s.Frozen) - w.gone
}

var kinds = map[string]metric.Kind{
	"c0": metric.Counter, "c1": metric.Counter, "g0": metric.Gauge, "d0": metric.Distribution, "s0": metric.Set,
}

// names lists the metrics in one order.
var names = slices.Sorted(maps.Keys(kinds))
