package promql

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
	"cairn/query"
)

// shop is 20 metrics of 100 series each, an event in every second; all have the same
// memory, so that what is measured is the queries and not the processor's caches.
func shop() *world {
	w := newWorld(base)
	hour, month := dense(metric.Tier1s, 2*3600), dense(metric.Tier1h, 31*24)
	tens, minutes := dense(metric.Tier10s, 2*360), dense(metric.Tier1m, 2*1440)
	for m := range 20 {
		for i := range 100 {
			ts := tagset("region", fmt.Sprint("r", i%5), "host", fmt.Sprint("host-", i), "code", fmt.Sprint(200+i%7))
			s := w.store.of(metric.ID{Name: fmt.Sprintf("shop.metric_%d", m), Kind: metric.Counter}, ts)
			s.folded = [5]*folded{metric.Tier1s: hour, metric.Tier10s: tens, metric.Tier1m: minutes, metric.Tier1h: month}
		}
	}
	return w
}

func dense(t metric.Tier, n int) *folded {
	f := &folded{start: metric.UnixSec(base - int64(n)*t.Width())}
	for i := range n {
		f.slots, f.sums = append(f.slots, uint32(i)), append(f.sums, float64(i%100)*float64(t.Width()))
	}
	return f
}

// asks are the queries of the bars, in both languages.
var asks = []struct {
	name, promql string
	native       map[string]string
	hours        int
	step         time.Duration
}{
	{"one-metric-1h-10s", `sum(increase({"shop.metric_3"}[10s]))`, map[string]string{"metric": "shop.metric_3"}, 1, 10 * time.Second},
	{"all-1h-10s", `sum(increase({__name__=~"shop.metric_.*"}[10s]))`, map[string]string{"metric": "shop.metric_*"}, 1, 10 * time.Second},
	{"all-1h-1m-region", `sum by (region) (increase({__name__=~"shop.metric_.*"}[1m]))`, map[string]string{"metric": "shop.metric_*", "by": "region"}, 1, time.Minute},
	{"all-24h-1m-region", `sum by (region) (increase({__name__=~"shop.metric_.*"}[1m]))`, map[string]string{"metric": "shop.metric_*", "by": "region"}, 24, time.Minute},
	{"all-30d-1h-region", `sum by (region) (increase({__name__=~"shop.metric_.*"}[1h]))`, map[string]string{"metric": "shop.metric_*", "by": "region"}, 720, time.Hour},
	{"one-series-1h-1s", `increase({"shop.metric_3", host="host-7", region="r2", code="200"}[1s])`, map[string]string{"metric": "shop.metric_3", "filter": "host:host-7"}, 1, time.Second},
	{"general-one-metric-1h-10s", `increase({"shop.metric_3"}[10s])`, map[string]string{"metric": "shop.metric_3", "by": "*", "limit": "1000"}, 1, 10 * time.Second},
	{"general-all-1h-10s", `topk(5, increase({__name__=~"shop.metric_.*"}[1m]))`, map[string]string{"metric": "shop.metric_*", "by": "*", "limit": "1000"}, 1, 10 * time.Second},
	{"general-max-all-1h-10s", `max by (region) (rate({__name__=~"shop.metric_.*"}[5m]))`, map[string]string{"metric": "shop.metric_*", "by": "*", "limit": "1000"}, 1, 10 * time.Second},
	{"general-subquery", `max_over_time(sum(rate({"shop.metric_3"}[1m]))[10m:1m])`, map[string]string{"metric": "shop.metric_3", "by": "*", "limit": "1000"}, 1, 10 * time.Second},
}

// BenchmarkPromQL measures the queries of the bars, answer written; "native" is the same
// without this package, and ratio what it costs on top.
func BenchmarkPromQL(b *testing.B) {
	w := shop()
	x, e := w.executor(), w.engine()
	for _, a := range asks {
		q := Query{Text: a.promql, Start: time.Unix(base, 0).Add(-time.Duration(a.hours)*time.Hour + a.step), End: time.Unix(base, 0), Step: a.step}
		params := map[string]string{"from": fmt.Sprint(base - a.hours*3600), "to": fmt.Sprint(base), "step": a.step.String()}
		for k, v := range a.native {
			params[k] = v
		}
		var names []string
		for k := range params {
			names = append(names, k)
		}
		slices.Sort(names)
		r, err := query.ParseRequest(names, func(n string) []string {
			if v, ok := params[n]; ok {
				return []string{v}
			}
			return nil
		}, time.Unix(base, 0))
		require.NoError(b, err)
		b.Run(a.name, func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			begin := time.Now()
			n := 0
			for b.Loop() {
				res, err := e.Run(context.Background(), q)
				require.NoError(b, err)
				require.Empty(b, res.Warnings())
				buf, err = res.Append(buf[:0])
				require.NoError(b, err)
				res.Close()
				n++
			}
			ours := time.Since(begin) / time.Duration(n)
			begin = time.Now()
			for range n {
				_, err := x.Run(context.Background(), r)
				require.NoError(b, err)
			}
			native := time.Since(begin) / time.Duration(n)
			b.ReportMetric(float64(native)/1e3, "native-µs")
			b.ReportMetric(float64(ours)/float64(native), "ratio")
		})
	}
}

// BenchmarkAppend writes the answer of 2,000 series with 360 points each.
func BenchmarkAppend(b *testing.B) {
	q := Query{
		Text:  `{__name__=~"shop.metric_.*"}`,
		Start: time.Unix(base, 0).Add(-time.Hour + 10*time.Second), End: time.Unix(base, 0), Step: 10 * time.Second,
	}
	res, err := shop().engine().Run(context.Background(), q)
	require.NoError(b, err)
	defer res.Close()
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf, err = res.Append(buf[:0])
		require.NoError(b, err)
	}
	b.SetBytes(int64(len(buf)))
}
