package selfmon

import (
	"fmt"
	"io"

	"cairn/ingest"
)

// batches writes the figures of POST /api/ingest.
func (s Sources) batches(w io.Writer) {
	c, _ := s.Batches.Counts()
	counter(w, "cairn_batches_total", "", c.Packets)
	counter(w, "cairn_batches_bytes_total", "", c.Bytes)
	counter(w, "cairn_batches_duplicate_total", "", c.Duplicates)
	counter(w, "cairn_batches_refused_total", "", c.Refused)
	for r := ingest.ShedNone + 1; r < ingest.NumSheds; r++ {
		counter(w, "cairn_batches_shed_total", fmt.Sprintf("reason=%q", r), c.ShedBatches[r])
	}
	counter(w, "cairn_batches_refused_bytes_total", "", c.RefusedBytes)
	g := s.Batches.Gate()
	gauge(w, "cairn_batches_inflight", "", uint64(g.Batches))
	gauge(w, "cairn_batches_inflight_bytes", "", uint64(g.Bytes))
	t := s.Windows.Totals()
	gauge(w, "cairn_producers", "", uint64(t.Producers))
	gauge(w, "cairn_producer_sequence_gaps", "", uint64(t.Gaps))
	counter(w, "cairn_producer_conflicts_total", "", t.Conflicts)
	counter(w, "cairn_producer_too_old_total", "", t.TooOld)
}

// syncQuantiles are those that are told of the time that an fsync takes.
var syncQuantiles = [...]float64{0.5, 0.99, 1}

func (s Sources) journal(w io.Writer) {
	j := s.Journal.Stats()
	gauge(w, "cairn_journal_bytes", "", uint64(j.Bytes))
	gauge(w, "cairn_journal_segments", "", uint64(j.Segments))
	counter(w, "cairn_journal_records_total", "", j.Appended)
	counter(w, "cairn_journal_appended_bytes_total", "", j.AppendedBytes)
	counter(w, "cairn_journal_refused_total", "", j.Refused)
	gauge(w, "cairn_journal_pending_bytes", "", uint64(j.Pending))
	counter(w, "cairn_journal_syncs_total", "", j.Syncs)
	gaugeFloat(w, "cairn_journal_sync_last_seconds", j.LastSync.Seconds())
	for _, q := range syncQuantiles {
		gaugeFloat(w, named("cairn_journal_sync_seconds", fmt.Sprintf("quantile=\"%g\"", q)), j.SyncQuantile(q).Seconds())
	}
	bytes, events := s.Backlog()
	gauge(w, "cairn_journal_backlog_bytes", "", uint64(bytes))
	gauge(w, "cairn_journal_backlog_events", "", events)
	gauge(w, "cairn_journal_torn", "", j.Torn)
	gauge(w, "cairn_journal_damaged", "", j.Damaged)
	gauge(w, "cairn_replaying", "", flag(s.Replaying()))
}
