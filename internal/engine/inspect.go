package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/metric"
	"cairn/tsdb"
)

// Inspection is what a data dir holds. Sizes are bytes of files, seconds are Unix time.
type Inspection struct {
	Format  uint64 `json:"format"` // of the store
	Series  uint64 `json:"series"` // with a bucket in any tier
	Tiers   []Tier `json:"tiers"`
	Metrics []Held `json:"metrics"` // the largest first

	// With the tiers' bytes these add up to StoreBytes.
	IndexBytes uint64 `json:"index_bytes"`
	OtherBytes uint64 `json:"other_bytes"`
	LogBytes   uint64 `json:"log_bytes"`
	FileBytes  uint64 `json:"file_bytes"`

	StoreBytes   uint64 `json:"store_bytes"`
	JournalBytes uint64 `json:"journal_bytes"`
	TotalBytes   uint64 `json:"total_bytes"` // of store and journal

	Damaged      []string `json:"damaged"` // a sentence a place; the first of them
	DamagedTotal uint64   `json:"damaged_total"`

	metricsTotal int // where only the largest metrics are kept
}

// Tier is what is held in one resolution.
type Tier struct {
	Tier           string   `json:"tier"`
	Series         uint64   `json:"series"`
	Chunks         uint64   `json:"chunks"`
	Samples        uint64   `json:"samples"` // buckets with an event
	Bytes          uint64   `json:"bytes"`
	BytesPerSample *float64 `json:"bytes_per_sample"` // nil: there is no sample, or none is in a table yet
	Oldest         *int64   `json:"oldest"`           // first second of the oldest bucket; nil: there is none
	Newest         *int64   `json:"newest"`
	Partitions     uint64   `json:"partitions"`
}

// Held is what is held of one metric. Its bytes are its share of each tier's, by the
// lengths of its chunks.
type Held struct {
	Metric  string `json:"metric"`
	Kind    string `json:"kind"`
	Series  uint64 `json:"series"`
	Samples uint64 `json:"samples"` // of all tiers
	Bytes   uint64 `json:"bytes"`
	Tiers   []Tier `json:"tiers"`
}

func newTier(t metric.Tier, h *tsdb.Held, bytes uint64) Tier {
	out := Tier{Tier: t.String(), Series: h.Series, Chunks: h.Chunks, Samples: h.Samples, Bytes: bytes, Partitions: h.Partitions}
	if h.Samples > 0 {
		oldest, newest := int64(h.Oldest), int64(h.Newest)
		out.Oldest, out.Newest = &oldest, &newest
	}
	if h.Samples > 0 && bytes > 0 {
		each := float64(bytes) / float64(h.Samples)
		out.BytesPerSample = &each
	}
	return out
}

func newInspection(c *tsdb.Content, u *tsdb.Usage) *Inspection {
	out := &Inspection{
		Format: c.Format, Series: c.Series, IndexBytes: u.Index, OtherBytes: u.Other, LogBytes: u.Log, FileBytes: u.Files, StoreBytes: u.Total,
		Metrics: make([]Held, 0, len(c.Metrics)), Damaged: append([]string{}, c.Damaged...), DamagedTotal: c.DamagedTotal,
	}
	for _, t := range metric.Tiers {
		out.Tiers = append(out.Tiers, newTier(t, &c.Tiers[t-1], u.Tiers[t-1]))
	}
	for i := range c.Metrics {
		m := &c.Metrics[i]
		h := Held{Metric: m.ID.Name, Kind: m.ID.Kind.String(), Series: m.Series}
		for _, t := range metric.Tiers {
			of := &m.Tiers[t-1]
			bytes := tsdb.Share(u.Tiers[t-1], of.Raw, c.Tiers[t-1].Raw)
			h.Tiers = append(h.Tiers, newTier(t, of, bytes))
			h.Bytes += bytes
			h.Samples += of.Samples
		}
		out.Metrics = append(out.Metrics, h)
	}
	slices.SortStableFunc(out.Metrics, func(a, b Held) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}

// InspectDir reads the store of a data dir that no server uses, or of a copy, once.
// Nothing in it is changed, but that it gets a file LOCK, unless compact is set: then its
// tables are written anew first, as small as they get, which a backup is refused.
func InspectDir(ctx context.Context, fs vfs.FS, dir string, compact bool, log *slog.Logger) (out *Inspection, err error) {
	if fs == nil {
		fs = vfs.Default
	}
	if compact {
		if err := requireDataDir(fs, dir); err != nil {
			return nil, err
		}
		if err := tsdb.CompactDir(ctx, dir, tsdb.Options{FS: fs, Log: log}); err != nil {
			return nil, err
		}
	}
	store, err := openDir(fs, dir, log)
	if errors.Is(err, ErrInUse) {
		if pid := tsdb.Owner(fs, dir); pid != 0 {
			return nil, fmt.Errorf("data dir %q is %w by a cairn process, PID %d; stop it, or inspect a copy", dir, ErrInUse, pid)
		}
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	c, err := store.Inspect(ctx)
	if err != nil {
		return nil, err
	}
	out = newInspection(c, &c.Usage)
	if out.JournalBytes, err = sizeOf(fs, fs.PathJoin(dir, "journal")); err != nil {
		return nil, err
	}
	out.TotalBytes = out.StoreBytes + out.JournalBytes
	return out, nil
}

// sizeOf adds up the files in a directory and those below; one that is not there has none.
func sizeOf(fs vfs.FS, dir string) (n uint64, err error) {
	names, err := fs.List(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("list %q: %w", dir, err)
	}
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		if err != nil {
			return 0, fmt.Errorf("measure %q: %w", path, err)
		}
		size := uint64(info.Size())
		if info.IsDir() {
			if size, err = sizeOf(fs, path); err != nil {
				return 0, err
			}
		}
		n += size
	}
	return n, nil
}
