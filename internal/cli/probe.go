package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"cairn/internal/clock"
	"cairn/internal/metric"
)

// probe asks a server what it counts.
type probe struct {
	server string
	client *http.Client
	clock  clock.Clock
}

// probeTime is how long a server may take for what one frame shows.
const probeTime = 10 * time.Second

// hotSeries is how many series are asked for: the most that the server tells.
const hotSeries = 1000

// trendSeconds is how far back the pictures go.
const trendSeconds = 60

// topOrder is which metrics are shown.
type topOrder struct {
	sort    string
	reverse bool
	limit   int
}

// sample is what a server counted at a time; it is the JSON of `cairn top --json`.
type sample struct {
	At     int64   `json:"at"`   // Unix seconds, of the client
	From   int64   `json:"from"` // the seconds that events are of, [from, to)
	To     int64   `json:"to"`
	Events uint64  `json:"events"`
	Rate   float64 `json:"rate"` // events a second
	// Whole says that the events of metrics are all; else they are those of the busiest
	// series only.
	Whole   bool        `json:"whole"`
	Metrics []topMetric `json:"metrics"`
	Hot     []topSeries `json:"series"`
	Quality topQuality  `json:"quality"`
	known   int         // metrics that there are
}

type topMetric struct {
	Metric   string   `json:"metric"`
	Kind     string   `json:"kind"`
	Series   int      `json:"series"`
	LastSeen int64    `json:"last_seen"`
	Events   uint64   `json:"events"`
	Rate     float64  `json:"rate"`
	Share    float64  `json:"share"`
	Fn       string   `json:"fn,omitempty"`  // what Now is
	Now      *float64 `json:"now,omitempty"` // of the last minute
	trend    []*float64
}

type topSeries struct {
	Metric string               `json:"metric"`
	Kind   string               `json:"kind"`
	Tags   map[string]tagValues `json:"tags"`
	Events uint64               `json:"events"`
	Rate   float64              `json:"rate"`
	Share  float64              `json:"share"`
}

// topQuality is the part of GET /api/quality that is shown.
type topQuality struct {
	Now    int64 `json:"now"`
	Ledger struct {
		Imbalance int64             `json:"imbalance"`
		Uneven    float64           `json:"units_imbalance"`
		Since     int64             `json:"since"`
		Received  uint64            `json:"received"`
		Accepted  uint64            `json:"accepted"`
		Duplicate uint64            `json:"duplicate"`
		Dropped   uint64            `json:"kernel_dropped"`
		Rejected  map[string]uint64 `json:"rejected"`
		Shed      map[string]uint64 `json:"shed"`
		Open      uint64            `json:"open"`
		Lost      uint64            `json:"lost"`
	} `json:"ledger"`
	Lag struct {
		Journaled *float64 `json:"journaled_s"`
		Stored    float64  `json:"stored_s"`
	} `json:"ingestion_lag"`
	Flush struct {
		Last float64 `json:"last_ms"`
	} `json:"flush"`
	Fsync struct {
		P99 float64 `json:"p99_ms"`
	} `json:"fsync"`
	Disk struct {
		Short bool `json:"short"`
	} `json:"disk"`
	MemoryShort bool `json:"memory_short"`
}

// taken is a sample, or why there is none.
type taken struct {
	sample *sample
	err    error
}

// run takes a sample each interval, or when the order changes, and hands it over, until ctx ends.
func (p *probe) run(ctx context.Context, order topOrder, interval time.Duration, orders <-chan topOrder, out chan<- taken) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case order = <-orders:
		case <-t.C:
		}
		s, err := p.take(ctx, order)
		select {
		case <-ctx.Done():
			return
		case out <- taken{s, err}:
		}
	}
}

// get asks for JSON.
func (p *probe) get(ctx context.Context, path string, params url.Values, into any) error {
	body, err := ask(ctx, question{command: "top", server: p.server, path: path, params: params, client: p.client})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the answer of %s is not Cairn's: %w", p.server, err)
	}
	return nil
}

// take asks for all that a frame in that order shows.
func (p *probe) take(ctx context.Context, order topOrder) (*sample, error) {
	limit, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	s := &sample{At: int64(metric.SecOf(p.clock.Now()))}
	if err := p.get(limit, "api/hot", url.Values{"limit": {strconv.Itoa(hotSeries)}}, s); err != nil {
		return nil, err
	}
	if err := p.get(limit, "api/quality", url.Values{"limit": {"1"}}, &s.Quality); err != nil {
		return nil, err
	}
	if err := p.get(limit, "api/metrics", nil, s); err != nil {
		return nil, err
	}
	s.known = len(s.Metrics)
	s.addUp()
	s.arrange(order)
	for i := range s.Metrics[:min(order.limit, len(s.Metrics))] {
		if err := p.trend(limit, &s.Metrics[i]); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// addUp makes the events of metrics of those of series.
func (s *sample) addUp() {
	type id struct{ name, kind string }
	events := map[id]uint64{}
	sum := uint64(0)
	for i := range s.Hot {
		events[id{s.Hot[i].Metric, s.Hot[i].Kind}] += s.Hot[i].Events
		sum += s.Hot[i].Events
	}
	s.Whole = sum >= s.Events
	for i := range s.Metrics {
		m := &s.Metrics[i]
		m.Events = events[id{m.Metric, m.Kind}]
		if s.To > s.From {
			m.Rate = float64(m.Events) / float64(s.To-s.From)
		}
		if s.Events > 0 {
			m.Share = float64(m.Events) / float64(s.Events)
		}
	}
}

// arrange sorts the metrics.
func (s *sample) arrange(order topOrder) {
	by := map[string]func(a, b *topMetric) int{
		"events": func(a, b *topMetric) int { return cmp.Compare(b.Events, a.Events) },
		"series": func(a, b *topMetric) int { return cmp.Compare(b.Series, a.Series) },
		"seen":   func(a, b *topMetric) int { return cmp.Compare(b.LastSeen, a.LastSeen) },
		"name":   func(a, b *topMetric) int { return 0 },
	}[order.sort]
	slices.SortFunc(s.Metrics, func(a, b topMetric) int {
		n := cmp.Or(by(&a, &b), cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Kind, b.Kind))
		if order.reverse {
			return -n
		}
		return n
	})
}

// shown is a copy with no more than what a frame shows.
func (s *sample) shown(order topOrder) *sample {
	out := *s
	out.Metrics = s.Metrics[:min(order.limit, len(s.Metrics))]
	out.Hot = s.Hot[:min(order.limit, len(s.Hot))]
	return &out
}

// trendFns are what each kind says of itself.
var trendFns = map[string]string{"counter": "rate", "gauge": "last", "distribution": "p95", "set": "uniques"}

// trend asks for the last complete minute of a metric.
func (p *probe) trend(ctx context.Context, m *topMetric) error {
	m.Fn = trendFns[m.Kind]
	if m.Fn == "" {
		return nil
	}
	body, err := ask(ctx, question{command: "top", server: p.server, path: "api/query", client: p.client, params: url.Values{
		"metric": {m.Metric}, "kind": {m.Kind}, "fn": {m.Fn}, "from": {"-" + strconv.Itoa(trendSeconds+1) + "s"}, "to": {"-1s"}, "step": {"1s"},
	}})
	if err != nil {
		return err
	}
	r, err := readAnswer(body, time.UTC)
	if err != nil {
		return fmt.Errorf("the answer of %s is not Cairn's: %w", p.server, err)
	}
	m.Now = r.total
	if m.Fn == "rate" && r.total != nil && r.to > r.from {
		rate := *r.total / (r.to - r.from) // the total of a rate is the count
		m.Now = &rate
	}
	if len(r.series) > 0 {
		m.trend = r.series[0].values
	}
	return nil
}

// together adds up numbers by reason.
func together(by map[string]uint64) (n uint64) {
	for v := range maps.Values(by) {
		n += v
	}
	return n
}
