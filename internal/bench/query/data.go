//go:build linux

package main

import (
	"fmt"
	"math"
	"math/rand"
	"sort"

	"cairn/internal/metric"
)

const (
	hour = 3600
	day  = 24 * hour

	// shopMetrics is how many metrics there are with perMetric series each: 2,000 series.
	shopMetrics = 20
	perMetric   = 100
	// wideName is the metric of many series.
	wideName = "shop.visits"
	// wideEvery is how often its series count, in seconds; but for the one that is asked
	// for, which does in every second.
	wideEvery = 600
)

// dataset is what both stores are given. The same fields give the same data.
type dataset struct {
	End   metric.UnixSec // a full hour: what is measured ends before it
	Until metric.UnixSec // what dashboards see ends before it, and is in [End, End+1h]
	Days  int            // before End
	Shop  int            // metrics of perMetric series each
	Wide  int            // series of wideName
}

// newDataset returns one that ends at now, or a few seconds before.
func newDataset(now metric.UnixSec, days, wide int) dataset {
	return dataset{End: now.Floor(hour), Until: now.Floor(10), Days: days, Shop: shopMetrics, Wide: wide}
}

// span is a part of the time in which series have a value every so many seconds.
type span struct {
	from, to metric.UnixSec
	every    int64
	seed     int64
}

// spans returns them, the oldest first: the nearer, the finer.
func (d *dataset) spans() []span {
	return []span{
		{d.End - metric.UnixSec(d.Days)*day, d.End - day, 600, 3},
		{d.End - day, d.End - hour, 10, 2},
		{d.End - hour, d.End, 1, 1},
		{d.End, d.Until, 1, 4},
	}
}

// flushed returns what is older than the last full hour, and the rest of the time.
func (d *dataset) flushed() (old, late span) {
	return span{from: d.End - metric.UnixSec(d.Days)*day, to: d.End - hour}, span{from: d.End - hour, to: d.Until}
}

// series is one of the data, the values in order of time.
type series struct {
	name string // with dots
	tags []metric.Tag
	sums []metric.Sum
}

// within returns s with what lies in a span alone.
func (s series) within(p span) series {
	at := func(sec metric.UnixSec) int {
		return sort.Search(len(s.sums), func(i int) bool { return s.sums[i].Sec >= sec })
	}
	s.sums = s.sums[at(p.from):at(p.to)]
	return s
}

// groups yields all series, some of one metric at a time; they are only valid during the
// call.
func (d *dataset) groups(yield func([]series) error) error {
	spans := d.spans()
	for m := range d.Shop {
		group := make([]series, 0, perMetric)
		for i := m * perMetric; i < (m+1)*perMetric; i++ {
			group = append(group, shopSeries(i, spans))
		}
		if err := yield(group); err != nil {
			return err
		}
	}
	group := make([]series, 0, d.Wide)
	for i := range d.Wide {
		group = append(group, d.wideSeries(i))
	}
	return yield(group)
}

// The tags of series are those of ../shared/bench/dataset.
var (
	envs    = []string{"prod", "staging"}
	regions = []string{"us-east-1", "us-west-2", "eu-west-1", "ap-south-1", "sa-east-1"}
)

func metricName(i int) string { return fmt.Sprintf("shop.metric_%02d", i) }

// shopSeries makes series i. Its last full hour is that of ../shared/bench/dataset; a value
// that stands for more seconds is as many times as large.
func shopSeries(i int, spans []span) series {
	s := series{name: metricName(i / perMetric), tags: []metric.Tag{
		{Key: "env", Value: envs[i%2]}, {Key: "host", Value: fmt.Sprintf("web-%03d", i%100)}, {Key: "region", Value: regions[i%5]},
	}}
	for _, p := range spans {
		rng := rand.New(rand.NewSource(p.seed*1e6 + int64(i)))
		for at := p.from; at < p.to; at += metric.UnixSec(p.every) {
			if v := value(rng, i); v > 0 {
				s.sums = append(s.sums, metric.Sum{Sec: at, Events: 1, Value: float64(int64(v) * p.every)})
			}
		}
	}
	return s
}

// value is that of ../shared/bench/dataset: 40% of the series are dense and count a lot,
// 30% count little, and 30% in one second of ten; 0 is none.
func value(rng *rand.Rand, i int) int {
	switch i % 10 {
	case 0, 1, 2, 3:
		l := 100.0 + float64(i%7)*50
		return int(math.Max(0, rng.NormFloat64()*math.Sqrt(l)+l))
	case 4, 5, 6:
		return int(math.Max(0, rng.NormFloat64()*2.2+5))
	}
	if rng.Intn(10) == 0 {
		return 1 + rng.Intn(3)
	}
	return 0
}

// wideID is the tag's value of series i of wideName.
func wideID(i int) string { return fmt.Sprintf("u%06d", i) }

// asked is the one that is asked for.
func (d *dataset) asked() int { return d.Wide / 2 }

func (d *dataset) wideSeries(i int) series {
	s := series{name: wideName, tags: []metric.Tag{{Key: "id", Value: wideID(i)}}}
	from, every := d.End-hour+metric.UnixSec(i%wideEvery), metric.UnixSec(wideEvery)
	if i == d.asked() {
		from, every = d.End-hour, 1
	}
	for at := from; at < d.End; at += every {
		s.sums = append(s.sums, metric.Sum{Sec: at, Events: 1, Value: float64(1 + (int64(at)*7+int64(i))%9)})
	}
	return s
}
