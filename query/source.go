package query

import (
	"context"

	"cairn/internal/bucket"
	"cairn/internal/matcher"
	"cairn/internal/metric"
)

// Source holds buckets. There are two: the open buckets in memory and the store.
type Source interface {
	// Select returns the series of a metric that match. It ends early with ctx's error, and
	// with one that is Undecided where it would keep flushes waiting.
	Select(ctx context.Context, id metric.ID, match matcher.List) (Selection, error)
	// Part returns up to n of a metric's series, those from place from on in the order
	// in which the source has them: a sample costs no more than what is in it.
	Part(id metric.ID, from, n int) Selection
	// Kinds returns the kinds under which a name is known.
	Kinds(name string) []metric.Kind
	// IDs returns all metrics, in no order.
	IDs() []metric.ID
	// TagCounts calls visit with the tags of a metric's series, and how many have each; a tag
	// may come several times. Of an open source those count that the store does not have.
	TagCounts(id metric.ID, visit func(t metric.Tag, series int))
	// Metrics describes the metrics of the source.
	Metrics() []MetricInfo
}

// Selection is some series of a metric in a source. Several goroutines may scan it at once.
type Selection interface {
	// Tags returns the tagsets; no two are equal. The caller must not change it.
	Tags() []metric.Tagset
	// Slice returns the series at the places [i, j).
	Slice(i, j int) Selection
	// Last returns a second behind which there is nothing; Never if it is not known.
	Last() metric.UnixSec
	// Scan yields the buckets in [from, to), which are multiples of the tier's
	// width, of the series at place i in Tags. Slot s is the bucket that begins
	// width * s seconds after start. A bucket may come in several parts, which
	// add up. Slots and sums are only valid during the call.
	Scan(ctx context.Context, t metric.Tier, from, to metric.UnixSec, yield Yield) error
	// ScanBuckets is Scan for kinds that are no numbers.
	ScanBuckets(ctx context.Context, t metric.Tier, from, to metric.UnixSec, yield YieldBucket) error
}

// YieldBucket takes a bucket, or a part of one, that begins at sec; it is only
// valid during the call and must not be changed.
type YieldBucket func(i int, sec metric.UnixSec, b bucket.Bucket) error

// Yield takes buckets from a Selection; see Scan.
type Yield func(i int, start metric.UnixSec, width int64, slots []uint32, sums []float64) error

// MetricInfo describes a metric in one source.
type MetricInfo struct {
	ID       metric.ID
	Series   int            // of an open source: those that the store does not have
	LastSeen metric.UnixSec // the latest bucket with an event; 0: none known
	Overflow bool           // tagsets were folded into the overflow series
}

// View is all buckets at one instant, each exactly once.
type View struct {
	// Open sources are read first: until OpenDone is called nothing can be
	// flushed, or deleted. What is selected of Store until then is of the same instant, and
	// can be read later.
	Open []Source
	// Join makes one selection of several of an open source, whose places are theirs one after
	// another: a scan of it visits the source once. nil: each is scanned by itself.
	Join     func(all []Selection) Selection
	OpenDone func()
	Store    Source
	// SealedUntil is the watermark: buckets that end at or before it are
	// complete, but for late events.
	SealedUntil metric.UnixSec
	// Version counts the changes of Store.
	Version uint64
	// SameBefore returns a second before which the store's buckets of a metric are the same
	// as in an earlier version, but for what retention has removed; Never: they all are; 0:
	// it is not known. nil: it never is.
	SameBefore func(id metric.ID, version uint64) metric.UnixSec
	// Held returns what the tiers hold of a metric, in this view. nil: everything.
	Held func(id metric.ID) metric.Held
	// Incomplete says why buckets may be missing from the view; "": none is.
	Incomplete string
	// Close gives the view up; it calls OpenDone if that was not done.
	Close func()
}
