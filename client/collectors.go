package client

import (
	"expvar"
	"runtime/metrics"
	"strings"
)

// runtimeMetrics is what CollectRuntime reads unless it is told otherwise.
func runtimeMetrics() []string {
	return []string{
		"/sched/goroutines:goroutines", "/sched/gomaxprocs:threads", "/memory/classes/heap/objects:bytes", "/memory/classes/total:bytes",
		"/gc/heap/live:bytes", "/gc/heap/goal:bytes", "/gc/cycles/total:gc-cycles", "/gc/heap/allocs:bytes", "/cpu/classes/gc/total:cpu-seconds",
	}
}

// CollectRuntime sets gauges from runtime/metrics once a second: "/gc/heap/live:bytes" is
// go.gc.heap.live.bytes. Without names it takes those that most services want; histograms
// and names that this version of Go does not know are left out.
func (c *Client) CollectRuntime(names ...string) {
	if c == nil {
		return
	}
	if len(names) == 0 {
		names = runtimeMetrics()
	}
	samples := make([]metrics.Sample, len(names))
	for i := range samples {
		samples[i].Name = names[i]
	}
	metrics.Read(samples)
	var gauges []*Gauge
	kept := samples[:0]
	for _, s := range samples {
		if k := s.Value.Kind(); k == metrics.KindUint64 || k == metrics.KindFloat64 {
			kept = append(kept, s)
			gauges = append(gauges, c.Gauge("go."+strings.NewReplacer("/", ".", ":", ".").Replace(strings.TrimPrefix(s.Name, "/"))))
		}
	}
	if len(kept) == 0 {
		return // Read panics without samples
	}
	c.Collect(func() {
		metrics.Read(kept)
		for i, s := range kept {
			if s.Value.Kind() == metrics.KindUint64 {
				gauges[i].Set(float64(s.Value.Uint64()))
			} else {
				gauges[i].Set(s.Value.Float64())
			}
		}
	})
}

// CollectExpvar sets gauges from all expvar.Int and expvar.Float once a second, by
// prefix and name; those in an expvar.Map have their key as the tag "key".
func (c *Client) CollectExpvar(prefix string) {
	if c == nil {
		return
	}
	c.Collect(func() {
		expvar.Do(func(kv expvar.KeyValue) {
			if m, ok := kv.Value.(*expvar.Map); ok {
				m.Do(func(in expvar.KeyValue) { c.setVar(prefix+kv.Key, in.Value, Tag("key", in.Key)) })
				return
			}
			c.setVar(prefix+kv.Key, kv.Value)
		})
	})
}

func (c *Client) setVar(name string, v expvar.Var, tags ...Pair) {
	switch v := v.(type) {
	case *expvar.Int:
		c.Gauge(name, tags...).Set(float64(v.Value()))
	case *expvar.Float:
		c.Gauge(name, tags...).Set(v.Value())
	}
}
