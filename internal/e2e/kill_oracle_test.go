package e2e

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The oracle knows what every bucket of every series must hold. Events that carry
// their second are known exactly. Of the others it is known that they were counted
// between the first time that they were sent and the answer: a bucket must hold what
// certainly fell into it, may hold what perhaps did, and all buckets together hold
// each event once.

// lineage is one series: a metric of a kind, with the values of the tags p and s.
type lineage struct{ metric, kind, p, s string }

// occurrence is one event as the oracle sees it.
type occurrence struct {
	of     lineage
	sec    int64 // 0: it carries none
	value  float64
	weight float64
	member string // of a set
}

// content is what one bucket holds.
type content struct {
	count, sum, low, high float64
	members               map[string]bool
}

func (c *content) add(o *occurrence) {
	if c.count == 0 || o.value < c.low {
		c.low = o.value
	}
	if c.count == 0 || o.value > c.high {
		c.high = o.value
	}
	c.count += o.weight
	c.sum += o.weight * o.value
	c.member(o.member)
}

func (c *content) member(m string) {
	if c.members == nil {
		c.members = map[string]bool{}
	}
	c.members[m] = true
}

func (c *content) merge(o *content) {
	if c.count == 0 || o.low < c.low {
		c.low = o.low
	}
	if c.count == 0 || o.high > c.high {
		c.high = o.high
	}
	c.count += o.count
	c.sum += o.sum
	for m := range o.members {
		c.member(m)
	}
}

// get is the answer of a query for a function.
func (c *content) get(fn, kind string) float64 {
	switch {
	case fn == "uniques":
		return float64(len(c.members))
	case fn == "min":
		return c.low
	case fn == "max":
		return c.high
	case fn == "sum", kind == "counter":
		return c.sum
	}
	return c.count
}

// between is what was counted at some second of from..to.
type between struct {
	from, to int64
	content
}

// buckets are a series' values by time; a bucket with nothing in it is not there.
type buckets map[int64]float64

type oracle struct {
	mu    sync.Mutex // guards those below
	exact map[lineage]map[int64]*content
	vague map[lineage][]between
	first int64 // the earliest second of all
}

func newOracle() *oracle {
	return &oracle{exact: map[lineage]map[int64]*content{}, vague: map[lineage][]between{}, first: math.MaxInt64}
}

// add takes what an answer has acknowledged; it was sent first in second from.
func (o *oracle) add(list []occurrence, from, to int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	span := map[lineage]*content{}
	for i := range list {
		e := &list[i]
		if e.sec == 0 {
			o.first = min(o.first, from)
			if span[e.of] == nil {
				span[e.of] = new(content)
			}
			span[e.of].add(e)
			continue
		}
		o.first = min(o.first, e.sec)
		secs := o.exact[e.of]
		if secs == nil {
			secs = map[int64]*content{}
			o.exact[e.of] = secs
		}
		if secs[e.sec] == nil {
			secs[e.sec] = new(content)
		}
		secs[e.sec].add(e)
	}
	for of, c := range span {
		o.vague[of] = append(o.vague[of], between{from, to, *c})
	}
}

// fnsOf are the functions that are exact, by kind.
var fnsOf = map[string][]string{
	"counter": {"count"}, "gauge": {"count", "sum", "min", "max"},
	"distribution": {"count", "sum", "min", "max"}, "set": {"uniques"},
}

// widths are those of the tiers in seconds, in the order of steps.
var widths = []int64{1, 10, 60, 3600}

// require compares all that was acknowledged with the server, bucket for bucket. No
// client may be at work.
func (o *oracle) require(t testing.TB, s *server) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	names := map[string]string{} // kinds by metric
	for of := range o.exact {
		names[of.metric] = of.kind
	}
	for of := range o.vague {
		names[of.metric] = of.kind
	}
	diffs := &differences{t: t}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		for _, fn := range fnsOf[names[name]] {
			for i, step := range steps {
				got := s.series(name, names[name], fn, step, o.first, time.Now().Unix())
				diffs.what = fmt.Sprintf("%s of %s at step %s", fn, name, step)
				o.compareExact(diffs, name, fn, widths[i], got)
				o.compareVague(diffs, name, fn, widths[i], got)
				for of := range got {
					diffs.add("%v was never sent", of)
				}
			}
		}
	}
	diffs.end()
}

// compareExact takes out of got what it has compared.
func (o *oracle) compareExact(d *differences, name, fn string, width int64, got map[lineage]buckets) {
	for of, secs := range o.exact {
		if of.metric != name {
			continue
		}
		want := map[int64]*content{}
		for sec, c := range secs {
			at := sec - sec%width
			if want[at] == nil {
				want[at] = new(content)
			}
			want[at].merge(c)
		}
		have := got[of]
		for at, c := range want {
			if x, w := have[at], c.get(fn, of.kind); x != w {
				d.add("%v at %d is %v, not %v", of, at, x, w)
			}
			delete(have, at)
		}
		for at, x := range have {
			if x != 0 {
				d.add("%v at %d is %v, and nothing was sent", of, at, x)
			}
		}
		delete(got, of)
	}
}

// compareVague takes out of got what it has compared.
func (o *oracle) compareVague(d *differences, name, fn string, width int64, got map[lineage]buckets) {
	for of, list := range o.vague {
		if of.metric != name {
			continue
		}
		must, may, all := map[int64]*content{}, map[int64]*content{}, new(content)
		for i := range list {
			b := &list[i]
			all.merge(&b.content)
			first, last := b.from-b.from%width, b.to-b.to%width
			for at := first; at <= last; at += width {
				if may[at] == nil {
					may[at], must[at] = new(content), new(content)
				}
				may[at].merge(&b.content)
				if first == last {
					must[at].merge(&b.content)
				}
			}
		}
		have, sum := got[of], 0.0
		for at, x := range have {
			sum += x
			if may[at] == nil && x != 0 {
				d.add("%v at %d is %v, and nothing was sent", of, at, x)
			}
		}
		for at := range may {
			low, high := must[at].get(fn, of.kind), may[at].get(fn, of.kind)
			x, ok := have[at]
			switch fn {
			case "min":
				// The fewer there are, the larger is the smallest.
				if low, high = high, low; must[at].count == 0 {
					high = math.Inf(1)
				}
			case "max":
				if must[at].count == 0 {
					low = math.Inf(-1)
				}
			}
			if (ok || must[at].count > 0) && (x < low || x > high) {
				d.add("%v at %d is %v, and must be between %v and %v", of, at, x, low, high)
			}
		}
		if want := all.get(fn, of.kind); (fn == "count" || fn == "sum") && sum != want {
			d.add("%v adds up to %v, not %v", of, sum, want)
		}
		delete(got, of)
	}
}

// differences collects what is wrong, and fails once.
type differences struct {
	t    testing.TB
	what string
	n    int
	list []string
}

const maxDifferences = 40 // that are shown

func (d *differences) add(format string, args ...any) {
	if d.n++; d.n <= maxDifferences {
		d.list = append(d.list, d.what+": "+fmt.Sprintf(format, args...))
	}
}

func (d *differences) end() {
	d.t.Helper()
	for _, line := range d.list {
		d.t.Log(line)
	}
	require.Zero(d.t, d.n, "differences; the first are above")
}

// queryHours is how long a range one query asks for: fewer seconds than a query may
// have points.
const queryHours = 2

// series returns one function of all series of a metric.
func (s *server) series(metric, kind, fn, step string, first, last int64) map[lineage]buckets {
	s.t.Helper()
	out := map[lineage]buckets{}
	for from := first - first%3600; from <= last; from += queryHours * 3600 {
		args := url.Values{
			"metric": {metric}, "kind": {kind}, "fn": {fn}, "step": {step}, "by": {"p", "s"}, "limit": {"1000"},
			"from": {strconv.FormatInt(from, 10)}, "to": {strconv.FormatInt(from+queryHours*3600, 10)},
		}
		a := s.Query(args)
		require.Equal(s.t, step, a.Tier)
		require.False(s.t, a.Truncated)
		for _, row := range a.Series {
			of := lineage{metric, kind, fmt.Sprint(row.Tags["p"]), fmt.Sprint(row.Tags["s"])}
			if out[of] == nil {
				out[of] = buckets{}
			}
			for i, v := range row.Values {
				if v != nil {
					out[of][a.Times[i]] = *v
				}
			}
		}
	}
	return out
}
