package engine

import "cairn/internal/metric"

// Writable returns an error while nothing is written because the disk is nearly full.
func (e *Engine) Writable() error { return e.disk.short() }

// Counted returns what the largest metrics take in the store, as of the last count that
// Storage has made; nil: there was none. It begins none.
func (e *Engine) Counted() map[metric.ID]uint64 {
	s := &e.storage
	s.mu.Lock()
	c := s.counted
	s.mu.Unlock()
	if c == nil {
		return nil
	}
	kinds := make(map[string]metric.Kind, len(metric.Kinds))
	for _, k := range metric.Kinds {
		kinds[k.String()] = k
	}
	out := make(map[metric.ID]uint64, len(c.Metrics))
	for i := range c.Metrics {
		h := &c.Metrics[i]
		out[metric.ID{Name: h.Metric, Kind: kinds[h.Kind]}] = h.Bytes
	}
	return out
}
