// Package selfmon writes Cairn's figures about itself in Prometheus' text format.
//
// In come functions that read the figures of the moment; out goes the body of
// GET /metrics. It keeps nothing between two calls: every figure is owned by the
// stage that counts it. docs/metrics.md lists the names.
package selfmon

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"cairn/agg"
	"cairn/ingest"
	"cairn/internal/dedupe"
	"cairn/internal/flush"
	"cairn/internal/journal"
	"cairn/internal/ledger"
	"cairn/internal/metric"
	"cairn/query"
	"cairn/tsdb"
)

// Sources are the stages that are asked.
type Sources struct {
	Version   string
	Uptime    func() time.Duration
	Listeners func() []Listener
	Registry  *agg.Registry
	Pump      *flush.Pump
	Store     *tsdb.Store
	Ledger    *ledger.Ledger
	Batches   *ingest.Batches
	Windows   *dedupe.Windows
	Journal   *journal.Log
	Backlog   func() (bytes int64, events uint64)
	Behind    func() time.Duration            // how far the retention's clock is behind
	Disk      func() (free int64, short bool) // free is below 0 where the file system does not tell
	Replaying func() bool
	Queries   func() query.Counts
	Streams   func() (viewers, queries int)
}

// Kind is a sort of listener.
type Kind uint8

const (
	UDP Kind = iota
	UDS
	TCP
)

// String returns the abbreviation.
func (k Kind) String() string { return [...]string{UDP: "UDP", UDS: "UDS", TCP: "TCP"}[k] }

// Listener is one listener's figures of the moment.
type Listener struct {
	Kind    Kind
	Counts  ingest.Counts
	Sockets []ingest.Socket  // of UDP and UDS
	Conns   ingest.ConnStats // of TCP
}

// Append appends the text to dst.
func (s Sources) Append(dst []byte) []byte {
	w := bytes.NewBuffer(dst)
	gauge(w, "cairn_build_info", fmt.Sprintf("version=%q,go=%q", s.Version, runtime.Version()), 1)
	gaugeFloat(w, "cairn_uptime_seconds", s.Uptime().Seconds())
	s.ingest(w)
	s.batches(w)
	s.ledger(w)
	s.index(w)
	s.journal(w)
	s.storage(w)
	s.store(w)
	s.queries(w)
	metrics.WriteProcessMetrics(w)
	return w.Bytes()
}

func (s Sources) ingest(w io.Writer) {
	var totals [TCP + 1]ingest.Counts
	var conns ingest.ConnStats
	var ignored uint64
	all := s.Listeners()
	for _, l := range all {
		totals[l.Kind].Add(l.Counts)
		ignored += l.Counts.TimeIgnored
		conns.Open += l.Conns.Open
		conns.Accepted += l.Conns.Accepted
		conns.Refused += l.Conns.Refused
		conns.Idle += l.Conns.Idle
	}
	counter(w, "cairn_udp_packets_total", "", totals[UDP].Packets)
	counter(w, "cairn_udp_bytes_total", "", totals[UDP].Bytes)
	for _, l := range all {
		if l.Kind != UDP {
			continue // the kernel drops nothing of the others: their senders wait
		}
		for _, so := range l.Sockets {
			label := fmt.Sprintf("socket=%q", so.Name)
			counter(w, "cairn_udp_kernel_drops_total", label, so.Drops)
			gauge(w, "cairn_udp_receive_buffer_bytes", label, uint64(so.Buffer))
		}
	}
	counter(w, "cairn_uds_packets_total", "", totals[UDS].Packets)
	counter(w, "cairn_uds_bytes_total", "", totals[UDS].Bytes)
	counter(w, "cairn_tcp_bytes_total", "", totals[TCP].Bytes)
	gauge(w, "cairn_tcp_connections", "", uint64(conns.Open))
	counter(w, "cairn_tcp_connections_total", "", conns.Accepted)
	counter(w, "cairn_tcp_connections_refused_total", "", conns.Refused)
	counter(w, "cairn_tcp_connections_idle_total", "", conns.Idle)
	counter(w, "cairn_timestamps_ignored_total", "", ignored)
}

func (s Sources) ledger(w io.Writer) {
	a := s.Ledger.Account()
	counter(w, "cairn_events_received_total", "", a.Received)
	counter(w, "cairn_events_accepted_total", "", a.Accepted)
	counter(w, "cairn_events_noted_total", "", a.Noted)
	for r := metric.OK + 1; r < metric.NumReasons; r++ {
		if r != metric.Overload { // that is shed
			counter(w, "cairn_events_rejected_total", fmt.Sprintf("reason=%q", r), a.Rejected[r])
		}
	}
	for r := ingest.ShedNone + 1; r < ingest.NumSheds; r++ {
		counter(w, "cairn_events_shed_total", fmt.Sprintf("reason=%q", r), a.Shed[r])
	}
	counter(w, "cairn_events_duplicate_total", "", a.Duplicate)
	counter(w, "cairn_events_amended_total", "", a.Amended)
	counter(w, "cairn_events_lost_total", "", a.LostEver)
	gauge(w, "cairn_events_recovered", "", a.Recovered)
	gauge(w, "cairn_events_open", "", a.Open+a.Flushing)
	counter(w, "cairn_events_stored_total", "", a.Stored)
	counter(w, "cairn_events_expired_total", "", a.Gone.Expired)
	counter(w, "cairn_events_deleted_total", "", a.Gone.Deleted)
	counter(w, "cairn_series_deleted_total", "", a.Gone.DeletedSeries)
	c := s.Ledger.Check()
	gaugeFloat(w, "cairn_ledger_imbalance", float64(c.Imbalance))
	gaugeFloat(w, "cairn_ledger_units_imbalance", c.Units)
}

func (s Sources) index(w io.Writer) {
	gauge(w, "cairn_series", "", uint64(s.Registry.Len()))
	gauge(w, "cairn_conflicting_names", "", uint64(len(s.Registry.Conflicts())))
	gauge(w, "cairn_memory_short", "", flag(s.Registry.Full()))
	folded := s.Registry.Overflowed()
	gauge(w, "cairn_overflowed_metrics", "", uint64(len(folded)))
	for _, id := range folded[:min(len(folded), maxNamed)] {
		gauge(w, "cairn_metric_overflow", fmt.Sprintf(`metric="%s",kind="%s"`, labelEscapes.Replace(id.Name), id.Kind), 1)
	}
}

// maxNamed bounds how many metrics are named: once --max-series is reached, each
// one may overflow, and whoever scrapes must not get a series for each.
const maxNamed = 100

// labelEscapes are those of Prometheus' text format; a name holds no line end.
var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

func (s Sources) storage(w io.Writer) {
	p := s.Pump.Stats()
	counter(w, "cairn_flushes_total", "", p.Flushes)
	counter(w, "cairn_flush_errors_total", "", p.Failed)
	gaugeFloat(w, "cairn_flush_last_seconds", p.Last.Seconds())
	gaugeFloat(w, "cairn_flush_longest_seconds", p.Longest.Seconds())
	gauge(w, "cairn_flush_last_series", "", p.Series)
	gauge(w, "cairn_store_bytes", "", s.Store.DiskBytes())
	gaugeFloat(w, "cairn_retention_clock_behind_seconds", s.Behind().Seconds())
	free, short := s.Disk()
	gaugeFloat(w, "cairn_disk_free_bytes", float64(free))
	gauge(w, "cairn_disk_short", "", flag(short))
}

func (s Sources) queries(w io.Writer) {
	c := s.Queries()
	counter(w, "cairn_queries_total", "", c.Ended)
	counter(w, "cairn_queries_failed_total", "", c.Failed)
	counter(w, "cairn_queries_refused_total", "", c.Refused)
	counter(w, "cairn_queries_canceled_total", "", c.Canceled)
	metrics.WriteCounterFloat64(w, "cairn_queries_seconds_total", c.Seconds)
	gauge(w, "cairn_queries_running", "", uint64(c.Running))
	gauge(w, "cairn_queries_waiting", "", uint64(c.Waiting))
	viewers, queries := s.Streams()
	gauge(w, "cairn_streams", "", uint64(viewers))
	gauge(w, "cairn_streamed_queries", "", uint64(queries))
}

func named(name, labels string) string {
	if labels == "" {
		return name
	}
	return name + "{" + labels + "}"
}

func flag(set bool) uint64 {
	if set {
		return 1
	}
	return 0
}

func counter(w io.Writer, name, labels string, v uint64) {
	metrics.WriteCounterUint64(w, named(name, labels), v)
}

func gauge(w io.Writer, name, labels string, v uint64) {
	metrics.WriteGaugeUint64(w, named(name, labels), v)
}

func gaugeFloat(w io.Writer, name string, v float64) { metrics.WriteGaugeFloat64(w, name, v) }
