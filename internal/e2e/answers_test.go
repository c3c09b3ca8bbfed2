package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// answer is what GET /api/query gives.
type answer struct {
	Metric      string  `json:"metric"`
	Kind        string  `json:"kind"`
	Fn          string  `json:"fn"`
	From        int64   `json:"from"`
	To          int64   `json:"to"`
	Step        int64   `json:"step"`
	Tier        string  `json:"tier"`
	SealedUntil int64   `json:"sealed_until"`
	Times       []int64 `json:"times"`
	Series      []struct {
		Tags   map[string]any `json:"tags"`
		Values []*float64     `json:"values"`
		Total  float64        `json:"total"`
		Min    *float64       `json:"min"`
		Max    *float64       `json:"max"`
		Last   *float64       `json:"last"`
	} `json:"series"`
	Total         float64  `json:"total"`
	SeriesMatched int      `json:"series_matched"`
	Truncated     bool     `json:"truncated"`
	Warnings      []string `json:"warnings"`
}

// metricRow is one row of GET /api/metrics.
type metricRow struct {
	Metric   string `json:"metric"`
	Kind     string `json:"kind"`
	Series   int    `json:"series"`
	LastSeen int64  `json:"last_seen"`
	Conflict bool   `json:"conflict"`
	Overflow bool   `json:"overflow"`
}

// MetricRows asks /api/metrics.
func (s *server) MetricRows() []metricRow {
	s.t.Helper()
	var body struct {
		Metrics []metricRow `json:"metrics"`
	}
	s.getJSON("/api/metrics", nil, &body)
	return body.Metrics
}

// Metrics asks /api/metrics, by name; each must have one kind.
func (s *server) Metrics() map[string]metricRow {
	s.t.Helper()
	rows, out := s.MetricRows(), map[string]metricRow{}
	for _, m := range rows {
		out[m.Metric] = m
	}
	require.Len(s.t, out, len(rows), "a metric is listed twice")
	return out
}

// figures is one scrape of /metrics: values by name with labels.
type figures map[string]float64

// Figures scrapes /metrics.
func (s *server) Figures() figures {
	s.t.Helper()
	resp, body := s.Get("/metrics", nil)
	require.Equal(s.t, 200, resp.StatusCode)
	out := figures{}
	lines := bufio.NewScanner(bytes.NewReader(body))
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		require.Positive(s.t, i, "a line that is no figure: %q", line)
		v, err := strconv.ParseFloat(line[i+1:], 64)
		require.NoError(s.t, err, line)
		out[line[:i]] = v
	}
	return out
}

const (
	received  = "cairn_events_received_total"
	accepted  = "cairn_events_accepted_total"
	noted     = "cairn_events_noted_total"
	open      = "cairn_events_open"
	stored    = "cairn_events_stored_total"
	imbalance = "cairn_ledger_imbalance"
	packets   = "cairn_udp_packets_total"
)

// rejected returns how many events were rejected, by reason; those that did not
// happen are there with 0.
func (f figures) rejected() map[string]float64 {
	out := map[string]float64{}
	for name, v := range f {
		if reason, ok := strings.CutPrefix(name, `cairn_events_rejected_total{reason="`); ok {
			out[strings.TrimSuffix(reason, `"}`)] = v
		}
	}
	return out
}

// sum adds up the figures of all labels of a name.
func (f figures) sum(name string) (total float64) {
	for n, v := range f {
		if n == name || strings.HasPrefix(n, name+"{") {
			total += v
		}
	}
	return total
}

// requireBalance checks the identities of the ledger, and that nothing was lost
// before it could be counted.
func requireBalance(t testing.TB, f figures) {
	t.Helper()
	require.Zero(t, f[imbalance], "imbalance")
	require.Equal(t, f[received], f[accepted]+f[noted]+f.sum("cairn_events_rejected_total")+f.sum("cairn_events_shed_total")+f["cairn_events_duplicate_total"], "received = accepted + noted + rejected + shed + duplicate")
	require.Zero(t, f.sum("cairn_udp_kernel_drops_total"), "datagrams dropped by the kernel")
}

// AwaitReceived waits until the server has received n events since its start,
// and requires that it is not one more.
func (s *server) AwaitReceived(n int) figures {
	s.t.Helper()
	return s.await(received, float64(n))
}

// AwaitPackets waits until the server has received n datagrams since its start.
func (s *server) AwaitPackets(n int) figures {
	s.t.Helper()
	return s.await(packets, float64(n))
}

func (s *server) await(name string, n float64) (f figures) {
	s.t.Helper()
	eventually(s.t, seenLimit, func() (bool, string) {
		f = s.Figures()
		return f[name] >= n, fmt.Sprintf("%s is %v, not %v; the kernel dropped %v", name, f[name], n, f.sum("cairn_udp_kernel_drops_total"))
	})
	require.Equal(s.t, n, f[name], name)
	requireBalance(s.t, f)
	return f
}

// AwaitFlushed waits until everything accepted is in the store; check runs at
// each look on the way there.
func (s *server) AwaitFlushed(check func()) {
	s.t.Helper()
	eventually(s.t, seenLimit, func() (bool, string) {
		check()
		f := s.Figures()
		requireBalance(s.t, f)
		return f[open] == 0 && f[stored] == f[accepted], fmt.Sprintf("%v of %v events are stored", f[stored], f[accepted])
	})
}
