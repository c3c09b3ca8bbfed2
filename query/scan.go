package query

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"sync"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// part is the columns that one goroutine reads, by group.
type part struct {
	rd       *Reading
	r        *Read
	from, to metric.UnixSec // where it reads
	columns  []column
	counted  *counted // of all parts of the Read
}

// grown returns list with at least n elements.
func grown[T any](list []T, n int) []T {
	if n > len(list) {
		list = append(list, make([]T, n-len(list))...)
	}
	return list
}

// column returns that of a group.
func (p *part) column(group int) *column {
	p.columns = grown(p.columns, group+1)
	return &p.columns[group]
}

// scan reads a selection into the columns of the groups that group returns for the places
// of series. saw is told the place of a series with an event, and a second in its last
// bucket of those that it is told of at once.
func (p *part) scan(ctx context.Context, sel Selection, group func(i int) int, saw func(i int, sec metric.UnixSec)) error {
	if len(sel.Tags()) == 0 || p.from >= p.to {
		return nil
	}
	g := &p.r.Grid
	if k := p.r.IDs[0].Kind; k != metric.Counter {
		return sel.ScanBuckets(ctx, p.r.Tier, p.from, p.to, func(i int, sec metric.UnixSec, b bucket.Bucket) error {
			saw(i, sec)
			if err := p.rd.sampled(ctx, 1); err != nil {
				return err
			}
			no := group(i)
			return p.merge(no, p.column(no), k, g.Place(sec), b)
		})
	}
	return sel.Scan(ctx, p.r.Tier, p.from, p.to, func(i int, start metric.UnixSec, width int64, slots []uint32, sums []float64) error {
		if len(slots) == 0 {
			return nil
		}
		saw(i, start+metric.UnixSec(int64(slots[len(slots)-1])*width))
		if err := p.rd.sampled(ctx, len(slots)); err != nil {
			return err
		}
		no := group(i)
		c := p.column(no)
		if c.sums == nil {
			if err := p.counted.made(p.rd, no, g.Len()); err != nil {
				return err
			}
			c.sums = nan(g.Len())
		}
		c.add(g, start, width, slots, sums)
		return nil
	})
}

// merge adds a bucket of a kind that is no counter to one step of a column.
func (p *part) merge(no int, c *column, k metric.Kind, step int, b bucket.Bucket) error {
	size := 0
	if c.buckets == nil {
		if err := p.counted.made(p.rd, no, p.r.Grid.Len()); err != nil {
			return err
		}
		c.buckets = make([]bucket.Bucket, p.r.Grid.Len())
		size = 16 * p.r.Grid.Len()
	}
	into := &c.buckets[step]
	if *into == nil {
		*into = bucket.New(k)
	} else {
		size -= (*into).Size()
	}
	(*into).Merge(b)
	if p.rd.bytes.Add(int64(size+(*into).Size())) > maxBucketBytes {
		return limitErrorf("this query makes more than fits in %d MiB: %s", maxBucketBytes>>20, less)
	}
	return nil
}

// counted is the groups of which a column was counted, in whichever part.
type counted struct {
	mu     sync.Mutex
	groups map[int]struct{}
}

// made counts a group's column of n points.
func (c *counted) made(rd *Reading, no, n int) error {
	c.mu.Lock()
	_, again := c.groups[no]
	if !again {
		if c.groups == nil {
			c.groups = make(map[int]struct{})
		}
		c.groups[no] = struct{}{}
	}
	c.mu.Unlock()
	if !again && rd.cells.Add(int64(n)) > maxCells {
		return limitErrorf("this query makes more than %d groups of %d points each, which is more than fits in memory: %s", (maxCells-1)/n, n, less)
	}
	return nil
}

// sampled counts n samples, and tells whether there may be more.
func (rd *Reading) sampled(ctx context.Context, n int) error {
	if total := rd.read.Add(int64(n)); rd.limits.Samples > 0 && total > int64(rd.limits.Samples) {
		return limitErrorf("this query reads more than %d buckets, the limit --max-query-samples: filter, or take a shorter range or a longer step, for which a coarser tier is read", rd.limits.Samples)
	}
	return ctx.Err()
}

// stored is what the store holds of a Read. It never changes once it was read: others may
// have it too.
type stored struct {
	grid    Grid
	names   []string // of groups; see grouper
	columns []column // by place in names
	series  []seenSeries
}

// seenSeries is a series with an event, and the last step that has one.
type seenSeries struct {
	seriesKey
	last int
}

// parallel is how many series are worth a goroutine: some 50 µs of work.
const parallel = 32

// scanStore reads [from, to) of the selected series.
func (p *Prepared) scanStore(from, to metric.UnixSec) (*stored, error) {
	out := &stored{grid: p.r.Grid}
	if p.after(from) == 0 {
		return out, nil
	}
	group := p.numbered()
	runs := p.runs(from)
	last := make([][]int32, len(p.stored)) // step + 1; 0: no event
	for id := range last {
		last[id] = make([]int32, len(group[id]))
	}
	ctx, stop := context.WithCancelCause(p.rd.ctx)
	defer stop(nil)
	parts := make([]*part, len(runs))
	var wg sync.WaitGroup
	for w, pieces := range runs {
		parts[w] = &part{rd: p.rd, r: &p.r, from: from, to: to, counted: &p.counted}
		read := func() {
			defer func() {
				if r := recover(); r != nil { // in a handler it would end the request only
					stop(fmt.Errorf("BUG: a scan panicked: %v\n%s", r, debug.Stack()))
				}
			}()
			for _, c := range pieces {
				sel := p.stored[c.id].Slice(c.lo, c.hi)
				err := parts[w].scan(ctx, sel, func(i int) int { return int(group[c.id][c.lo+i]) }, func(i int, sec metric.UnixSec) {
					at := &last[c.id][c.lo+i]
					*at = max(*at, int32(p.r.Grid.Place(sec))+1)
				})
				if err != nil {
					stop(err) // the first one is kept, which is the others' reason
					return
				}
			}
		}
		if w == len(runs)-1 {
			read()
		} else {
			wg.Go(read)
		}
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	for _, pt := range parts { // in the order of series, so that the same data gives the same bits
		out.columns = grown(out.columns, len(pt.columns))
		for no := range pt.columns {
			out.columns[no].join(&pt.columns[no])
		}
	}
	out.names = p.groups.names[:len(out.columns):len(out.columns)]
	for id, sel := range p.stored {
		tags := sel.Tags()
		for i, l := range last[id] {
			if l > 0 {
				out.series = append(out.series, seenSeries{seriesKey{id, tags[i]}, int(l) - 1})
			}
		}
	}
	return out, nil
}

// after returns how many series a selection has, if it has something at from or later.
func after(sel Selection, from metric.UnixSec) int {
	if sel.Last() < from {
		return 0
	}
	return len(sel.Tags())
}

func (p *Prepared) after(from metric.UnixSec) (total int) {
	for _, sel := range p.stored {
		total += after(sel, from)
	}
	return total
}

// columnsAtOnce is how many goroutines may have columns of all groups. Where each series is a
// group, no two have the same one.
func (p *Prepared) columnsAtOnce() int {
	if p.r.Group.Mode == EachTagset {
		return math.MaxInt
	}
	return maxCells / max(1, len(p.groups.names)*p.r.Grid.Len())
}

// numbered returns the groups of all that was selected, by metric and place. They are numbered
// beforehand, so that the goroutines share nothing that changes.
func (p *Prepared) numbered() [][]int32 {
	group := make([][]int32, len(p.stored))
	for id, sel := range p.stored {
		tags := sel.Tags()
		group[id] = make([]int32, len(tags))
		for i, ts := range tags {
			group[id][i] = int32(p.groups.of(p.r.IDs[id].Name, ts))
		}
	}
	return group
}

// piece is the series at [lo, hi) of what was selected of a metric.
type piece struct{ id, lo, hi int }

// runs divides what was selected, and has something at from or later, among as many goroutines
// as there are processors. Of a dashboard that moves on by a step, most of what is not known
// yet is behind all that is stored.
func (p *Prepared) runs(from metric.UnixSec) [][]piece {
	total := p.after(from)
	n := max(1, min(runtime.GOMAXPROCS(0), total/parallel, p.columnsAtOnce()))
	each := (total + n - 1) / n
	out := make([][]piece, 1, n)
	room := each
	for id, sel := range p.stored {
		for lo, end := 0, after(sel, from); lo < end; {
			if room == 0 {
				out, room = append(out, nil), each
			}
			hi := min(lo+room, end)
			out[len(out)-1] = append(out[len(out)-1], piece{id, lo, hi})
			room -= hi - lo
			lo = hi
		}
	}
	return out
}
