package agg

import (
	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// partial is what one slot contributes to one second.
type partial struct {
	slot uint32  // the series' handle
	n    uint32  // events
	sum  float64 // their weighted values
}

// partials is an append-only list of partial sums. The first ones lie in a slice
// of their own, because a sender of old timestamps makes many seconds with few
// sums each; the others in chunks of fixed size, so that a busy second grows
// without copying and its chunks can be used again.
type partials struct {
	head   []partial // the first headLen
	chunks []*chunk
	n      int
}

// headLen is how many sums a second holds before it takes a chunk: 4 KiB.
const headLen = 256

// A chunk is 64 KiB: 100,000 series active in a second take 25.
type chunk [4096]partial

// chunkPool keeps chunks that a flush gave back, for the one stripe that owns it.
type chunkPool struct{ free []*chunk }

// maxFreeChunks bounds what an idle stripe keeps after a burst: 32 MiB, the lists of
// two seconds in which a million series count.
const maxFreeChunks = 512

func (p *chunkPool) get() *chunk {
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		return c
	}
	return new(chunk)
}

func (p *chunkPool) put(cs []*chunk) {
	for _, c := range cs {
		if len(p.free) >= maxFreeChunks {
			return
		}
		p.free = append(p.free, c)
	}
}

func (l *partials) append(pool *chunkPool, p partial) {
	if l.n < headLen {
		l.head = append(l.head, p)
	} else {
		i := (l.n - headLen) % len(chunk{})
		if i == 0 {
			l.chunks = append(l.chunks, pool.get())
		}
		l.chunks[len(l.chunks)-1][i] = p
	}
	l.n++
}

func (l *partials) at(i int) *partial {
	if i < headLen {
		return &l.head[i]
	}
	i -= headLen
	return &l.chunks[i/len(chunk{})][i%len(chunk{})]
}

// second is one second of one stripe: sums that have left their slots.
type second struct {
	partials
	// stamped finds the entry of a slot, in the list of its kind, among those that came
	// with a timestamp, so that many events with one timestamp take one entry. Once
	// it is emptied, all entries there are stay as they are.
	stamped map[uint32]uint32
	packed  []packed        // what was in the list when it was packed
	buckets []bucketPartial // of series that are no counters
	events  uint64
	units   float64 // what counters counted
	cost    int     // of all its entries, and its own, in units of 16 bytes
	// kept is how much of each of the lists a Delta has kept. What lies before it
	// does not change any more.
	kept extentOf
}

// extentOf is how far the lists of a second reach.
type extentOf struct{ sums, packed, buckets int }

func (b *second) extent() extentOf { return extentOf{b.n, len(b.packed), len(b.buckets)} }

// bucketPartial is a partial of a kind that is no number.
type bucketPartial struct {
	slot uint32
	n    uint32 // events
	b    bucket.Bucket
}

func (p *bucketPartial) cost() int { return 2 + p.b.Size()/16 }

// bucketPool keeps buckets that a flush gave back, by kind, for the one stripe
// that owns it.
type bucketPool struct {
	free [metric.Set + 1][]bucket.Bucket
}

// What an idle stripe keeps of each kind after a burst: at most 65,536 buckets of
// at most 4 KiB, which is a distribution with some 200 different values.
const (
	maxFreeBuckets    = 1 << 16
	maxFreeBucketSize = 4 << 10
)

func (p *bucketPool) get(k metric.Kind) bucket.Bucket {
	free := p.free[k]
	if n := len(free); n > 0 {
		b := free[n-1]
		free[n-1] = nil
		p.free[k] = free[:n-1]
		return b
	}
	return bucket.New(k)
}

func (p *bucketPool) put(list []bucketPartial) {
	for i := range list {
		b := list[i].b
		k := b.Kind()
		if len(p.free[k]) < maxFreeBuckets && b.Size() <= maxFreeBucketSize {
			b.Reset()
			p.free[k] = append(p.free[k], b)
		}
	}
}

// secondCost is what a second itself counts for among the entries: its head, its
// maps and their buckets are about as large as that many entries.
const secondCost = 16
