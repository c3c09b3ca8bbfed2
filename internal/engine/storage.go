package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"cairn/internal/metric"
	"cairn/internal/reconcile"
)

const (
	// measureEvery is how often sizes are measured at most, and only if somebody asks: a
	// page that does so every second costs nothing.
	measureEvery = time.Minute
	// countEvery is how often chunks are counted at most: that reads the whole store.
	countEvery = 10 * time.Minute
	// maxCounted is how many metrics are kept of a count, the largest: what a page shows.
	maxCounted = 1000
)

// Storage is what a running server's store takes and holds. Its fields must not be
// changed: others have them too.
type Storage struct {
	MeasuredAt   int64         `json:"measured_at"` // of the sizes, Unix time
	Tiers        []StorageTier `json:"tiers"`
	IndexBytes   uint64        `json:"index_bytes"`
	OtherBytes   uint64        `json:"other_bytes"`
	LogBytes     uint64        `json:"log_bytes"` // of what is in no table yet
	FileBytes    uint64        `json:"file_bytes"`
	StoreBytes   uint64        `json:"store_bytes"`
	JournalBytes uint64        `json:"journal_bytes"`
	TotalBytes   uint64        `json:"total_bytes"`
	FreeBytes    *int64        `json:"free_bytes"` // of the disk; nil: the file system does not tell

	// AsOf is when the chunks were counted, Unix time; nil: they were not yet, or are now
	// for the first time.
	AsOf         *int64   `json:"as_of"`
	MetricsTotal int      `json:"metrics_total"` // of which Metrics are the largest
	Metrics      []Held   `json:"metrics"`
	Damaged      []string `json:"damaged"`
}

// StorageTier is one tier of it.
type StorageTier struct {
	Tier       string `json:"tier"`
	Kept       int64  `json:"kept_s"` // seconds that a bucket is kept by default; 0: this tier is not written
	Bytes      uint64 `json:"bytes"`
	Oldest     *int64 `json:"oldest"` // first second of the oldest partition, or of its oldest bucket once that is counted; nil: there is none
	Partitions int    `json:"partitions"`
	// As of AsOf; nil as long as that is.
	Series         *uint64  `json:"series"`
	Samples        *uint64  `json:"samples"`
	BytesPerSample *float64 `json:"bytes_per_sample"` // nil without samples too
}

// storage measures and counts. Its zero value is ready once open was called.
type storage struct {
	ctx  context.Context // done when nothing is to be counted any more
	stop context.CancelFunc
	wg   sync.WaitGroup // of the one count at a time

	measuring  sync.Mutex // held by the one who measures; guards the next two
	measured   *Storage
	measuredAt time.Time

	mu       sync.Mutex // guards those below
	counting bool
	closed   bool
	counted  *Inspection
	asOf     time.Time // when its snapshot was taken
	ended    time.Time // when the last count ended
}

// Storage tells what the store takes, measured a minute ago at most, and what it holds,
// of n metrics, counted when somebody asked. It begins a count if the last one is old.
func (e *Engine) Storage(n int) (*Storage, error) {
	s := &e.storage
	s.measuring.Lock()
	defer s.measuring.Unlock()
	now := e.o.Clock.Now()
	if s.measured == nil || now.Sub(s.measuredAt) >= measureEvery {
		m, err := e.measure(now)
		if err != nil {
			return nil, err
		}
		s.measured, s.measuredAt = m, now
	}
	e.count(now)
	out := *s.measured
	out.JournalBytes = uint64(max(0, e.Journal.Stats().Bytes+e.series.Stats().Bytes))
	out.TotalBytes = out.StoreBytes + out.JournalBytes
	if free := e.Disk().Free; free >= 0 {
		out.FreeBytes = &free
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Metrics, out.Damaged = []Held{}, []string{}
	if s.counted != nil {
		out.add(s.counted, s.asOf, n)
	}
	return &out, nil
}

// add puts what was counted into what was measured.
func (o *Storage) add(c *Inspection, at time.Time, n int) {
	asOf := at.Unix()
	o.AsOf, o.Damaged, o.MetricsTotal = &asOf, c.Damaged, c.metricsTotal
	o.Metrics = c.Metrics[:min(n, len(c.Metrics))]
	o.Tiers = append([]StorageTier(nil), o.Tiers...)
	for i := range o.Tiers {
		t := &c.Tiers[i]
		if at := o.Tiers[i].Oldest; at != nil && t.Oldest != nil && *t.Oldest > *at {
			o.Tiers[i].Oldest = t.Oldest // it lies in that partition
		}
		o.Tiers[i].Series, o.Tiers[i].Samples, o.Tiers[i].BytesPerSample = &t.Series, &t.Samples, t.BytesPerSample
	}
}

// kept is how long a tier is kept if nothing else is said of a metric, in seconds.
func (e *Engine) kept(t metric.Tier) int64 {
	if r := e.o.Retention.Default; r != (metric.Retention{}) {
		return r.Of(t)
	}
	return metric.DefaultRetention.Of(t)
}

// measure reads no chunk: the sizes of files, and a key of each partition.
func (e *Engine) measure(now time.Time) (out *Storage, err error) {
	u, err := e.Store.Usage()
	if err != nil {
		return nil, err
	}
	out = &Storage{
		MeasuredAt: now.Unix(), IndexBytes: u.Index, OtherBytes: u.Other, LogBytes: u.Log, FileBytes: u.Files, StoreBytes: u.Total,
	}
	sn := e.Store.Snapshot()
	defer func() { err = errors.Join(err, sn.Close()) }()
	for _, t := range metric.Tiers {
		st := StorageTier{Tier: t.String(), Kept: e.kept(t), Bytes: u.Tiers[t-1]}
		p, ok, err := sn.NextPartition(t, 0)
		for ; ok && err == nil; p, ok, err = sn.PartitionAfter(t, p) {
			if st.Partitions++; st.Oldest == nil {
				oldest := int64(t.Start(p))
				st.Oldest = &oldest
			}
		}
		if err != nil {
			return nil, err
		}
		out.Tiers = append(out.Tiers, st)
	}
	return out, nil
}

// count begins a count if it is time for one. A snapshot keeps what is deleted on disk
// for as long as it is there, so that counts are rare.
func (e *Engine) count(now time.Time) {
	s := &e.storage
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counting || s.closed || e.replaying.Load() || s.counted != nil && now.Sub(s.ended) < countEvery {
		return
	}
	s.counting = true
	s.wg.Go(func() {
		c, err := e.countNow(s.ctx)
		if err != nil && s.ctx.Err() == nil {
			e.o.Log.Warn("what the store holds could not be counted", "error", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.counting, s.ended = false, e.o.Clock.Now()
		if c != nil && c.Series > 0 { // an empty store is soon counted again
			s.counted, s.asOf = c, now
		}
	})
}

// countNow walks over all chunks, with a third of a core at most.
func (e *Engine) countNow(ctx context.Context) (_ *Inspection, err error) {
	sn := e.Store.Snapshot()
	defer func() { err = errors.Join(err, sn.Close()) }()
	c, err := sn.Inspect(ctx, reconcile.NewPacer(e.o.Clock).Step)
	if err != nil {
		return nil, err
	}
	u, err := e.Store.Usage()
	if err != nil {
		return nil, err
	}
	out := newInspection(c, &u)
	out.metricsTotal = len(out.Metrics)
	if len(out.Metrics) > maxCounted {
		out.Metrics = append([]Held(nil), out.Metrics[:maxCounted]...)
	}
	return out, nil
}

func (s *storage) open() { s.ctx, s.stop = context.WithCancel(context.Background()) }

// close ends a count and waits for it.
func (s *storage) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	if s.stop != nil {
		s.stop()
	}
	s.wg.Wait()
}
