package ingest

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"cairn/internal/metric"
)

const (
	// maxAnnotations is how many annotations are kept: more than a chart of any
	// span can show one beside the other.
	maxAnnotations = 10_000
	// maxAnnotationBytes bounds their texts, which may be as long as a line:
	// 10,000 of the default limit's 4 KiB fit.
	maxAnnotationBytes = 64 << 20
)

// Noted is an annotation with its number: 1 for the first one of this process,
// and one more for each that follows.
type Noted struct {
	Seq uint64
	metric.Annotation
}

// Annotations keeps the last 10,000 annotations. It is safe for concurrent use.
type Annotations struct {
	mu    sync.Mutex // guards all below
	kept  []Noted    // in order of their numbers
	last  uint64     // the highest number ever given
	bytes int        // of the texts in kept
}

// NewAnnotations returns an empty Annotations.
func NewAnnotations() *Annotations { return new(Annotations) }

// Add keeps n, in place of the oldest one if there are too many.
func (a *Annotations) Add(n metric.Annotation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.add(Noted{Seq: a.last + 1, Annotation: n})
}

func (a *Annotations) add(n Noted) {
	for _, text := range []*string{&n.Title, &n.Text, &n.Host, &n.Key, &n.Source} {
		*text = strings.Clone(*text) // it must not keep the line that it was cut from
	}
	a.bytes += textSize(&n)
	for len(a.kept) > 0 && (len(a.kept) >= maxAnnotations || a.bytes > maxAnnotationBytes) {
		a.bytes -= textSize(&a.kept[0])
		a.kept[0] = Noted{}
		a.kept = a.kept[1:]
	}
	a.kept = append(a.kept, n)
	a.last = n.Seq
}

func textSize(n *Noted) int {
	return len(n.Title) + len(n.Text) + len(n.Host) + len(n.Key) + len(n.Source) + len(n.Tags)
}

// Between returns the annotations with a Time in [from, to), oldest first. Of
// more than n, which is not negative, it returns the n newest.
func (a *Annotations) Between(from, to metric.UnixSec, n int) []Noted {
	a.mu.Lock()
	var out []Noted
	for i := range a.kept {
		if at := a.kept[i].Time; at >= from && at < to {
			out = append(out, a.kept[i])
		}
	}
	a.mu.Unlock()
	slices.SortStableFunc(out, func(x, y Noted) int { return cmp.Compare(x.Time, y.Time) })
	return out[max(0, len(out)-n):]
}

// Since returns the annotations that are kept with a number above seq, in order
// of their numbers.
func (a *Annotations) Since(seq uint64) []Noted {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, _ := slices.BinarySearchFunc(a.kept, seq, func(n Noted, seq uint64) int {
		if n.Seq > seq {
			return 1
		}
		return -1
	})
	return slices.Clone(a.kept[i:])
}

// Restore puts back annotations of an earlier process, oldest first, and returns
// the number of the last one: what Since is to be asked for by who has saved them.
func (a *Annotations) Restore(old []metric.Annotation) (last uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range old {
		a.add(Noted{Seq: a.last + 1, Annotation: n})
	}
	return a.last
}
