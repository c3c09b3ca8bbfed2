package selfmon

import (
	"fmt"
	"io"

	"github.com/VictoriaMetrics/metrics"
)

// store writes the figures of the store's engine.
func (s Sources) store(w io.Writer) {
	f := s.Store.Figures()
	for _, stall := range f.Stalls {
		label := fmt.Sprintf("reason=%q", stall.Reason)
		counter(w, "cairn_store_stalls_total", label, stall.Count)
		metrics.WriteCounterFloat64(w, named("cairn_store_stall_seconds_total", label), stall.Took.Seconds())
	}
	counter(w, "cairn_store_disk_slow_total", "", f.SlowDisk.Seen)
	gaugeFloat(w, "cairn_store_disk_slow_longest_seconds", f.SlowDisk.Longest.Seconds())
	counter(w, "cairn_store_background_errors_total", "", f.Failed)
	counter(w, "cairn_store_compactions_total", "", f.Compactions)
	counter(w, "cairn_store_compactions_failed_total", "", f.CompactionsFailed)
	gauge(w, "cairn_store_compactions_running", "", uint64(f.CompactionsRunning))
	counter(w, "cairn_store_compaction_read_bytes_total", "", f.CompactedIn)
	counter(w, "cairn_store_compaction_written_bytes_total", "", f.CompactedOut)
	gauge(w, "cairn_store_compaction_debt_bytes", "", f.Debt)
	counter(w, "cairn_store_memtable_flushes_total", "", f.Flushes)
	counter(w, "cairn_store_memtable_flushed_bytes_total", "", f.Flushed)
	counter(w, "cairn_store_ingested_tables_total", "", f.TablesIngested)
	counter(w, "cairn_store_ingested_bytes_total", "", f.Ingested)
	gauge(w, "cairn_store_tables", "", f.Tables)
	gauge(w, "cairn_store_new_tables", "", f.L0Tables)
	gauge(w, "cairn_store_sublevels", "", uint64(f.L0Sublevels))
	gauge(w, "cairn_store_read_amplification", "", uint64(f.ReadAmp))
	gauge(w, "cairn_store_memtables", "", uint64(f.Memtables))
	gauge(w, "cairn_store_memtable_bytes", "", f.MemtableBytes)
	gauge(w, "cairn_store_log_bytes", "", f.LogBytes)
	counter(w, "cairn_store_cache_hits_total", "", f.CacheHits)
	counter(w, "cairn_store_cache_misses_total", "", f.CacheMisses)
	gauge(w, "cairn_store_cache_bytes", "", f.CacheBytes)
}
