package tsdb

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
)

// restEvery is how many chunks are written before other goroutines get their turn:
// on one processor a reader of a busy socket must not wait for a whole flush.
const restEvery = 256

// writeChunks writes the operands of all rows, each key once: where a series has
// several rows, their operands are merged. Keys of one place come in ascending
// order.
func (b *Batch) writeChunks(w writer) error {
	c := chunkWriter{b: b, w: w}
	if len(b.places) > narrow {
		return c.wide()
	}
	for i := 0; i < len(b.rows); {
		n := 1
		for i+n < len(b.rows) && b.rows[i+n].ref == b.rows[i].ref {
			n++
		}
		if err := c.series(b.rows[i : i+n]); err != nil {
			return err
		}
		i += n
	}
	return nil
}

// operand is one operand of a row.
type operand struct {
	place int
	bytes []byte // nil: there is none
}

// next cuts the first operand off rest, which is that of a row.
func next(rest *[]byte) operand {
	b := *rest
	no, n := binary.Uvarint(b)
	if no == 0 {
		return operand{}
	}
	size, m := binary.Uvarint(b[n:])
	end := n + m + int(size)
	*rest = b[end:]
	return operand{int(no - 1), b[n+m : end]}
}

// chunkWriter writes one operand a key.
type chunkWriter struct {
	b       *Batch
	w       writer
	key     []byte
	several []placed
	written int
}

type placed struct {
	ref Ref
	operand
}

// series writes the rows of one series.
func (c *chunkWriter) series(rows []row) error {
	if len(rows) == 1 {
		rest := c.b.operands.from(rows[0].at)
		for v := next(&rest); v.bytes != nil; v = next(&rest) {
			if err := c.put(placed{rows[0].ref, v}); err != nil {
				return err
			}
		}
		return nil
	}
	c.several = c.b.placed(c.several[:0], rows)
	slices.SortStableFunc(c.several, func(x, y placed) int { return cmp.Compare(x.place, y.place) })
	return c.merge(c.several)
}

// placed appends all operands of rows to dst.
func (b *Batch) placed(dst []placed, rows []row) []placed {
	for _, r := range rows {
		rest := b.operands.from(r.at)
		for v := next(&rest); v.bytes != nil; v = next(&rest) {
			dst = append(dst, placed{r.ref, v})
		}
	}
	return dst
}

// merge writes a list in which operands of one key stand together.
func (c *chunkWriter) merge(list []placed) error {
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].place == list[0].place && list[n].ref == list[0].ref {
			n++
		}
		var err error
		if n == 1 {
			err = c.put(list[0])
		} else {
			err = c.putMerged(list[:n])
		}
		if err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// putMerged writes the sum of operands of one key, which this process wrote. They are added in one
// go: there may be hundreds, of a series whose bytes are many.
func (c *chunkWriter) putMerged(list []placed) error {
	m := chunkMergers.Get().(*chunkMerger)
	defer m.Close() // it never fails
	m.start(c.keyOf(list[0]), nil)
	for i := range list {
		m.sum.Add(list[i].bytes)
	}
	sum := m.sum.Finish(false)
	if err := m.sum.Damaged(); err != nil {
		panic(fmt.Sprintf("BUG: an operand of key %x: %s", m.key, err))
	}
	return c.put(placed{list[0].ref, operand{list[0].place, sum}})
}

func (c *chunkWriter) keyOf(p placed) []byte {
	at := c.b.places[p.place]
	c.key = appendChunkKey(c.key[:0], at.tier, at.partition, p.ref.metric, p.ref.series)
	return c.key
}

func (c *chunkWriter) put(p placed) error {
	if c.written++; c.written%restEvery == 0 {
		runtime.Gosched()
	}
	return c.w.Merge(c.keyOf(p), p.bytes)
}

// wide is for many places, which would be as many tables at once: it sorts the
// operands by place first.
func (c *chunkWriter) wide() error {
	order := make([]int, len(c.b.places))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int {
		p, q := c.b.places[x], c.b.places[y]
		return cmp.Or(cmp.Compare(p.tier, q.tier), cmp.Compare(p.partition, q.partition))
	})
	rank := make([]int, len(order))
	for i, no := range order {
		rank[no] = i
	}
	all := c.b.placed(nil, c.b.rows) // in the order of series
	slices.SortStableFunc(all, func(x, y placed) int { return cmp.Compare(rank[x.place], rank[y.place]) })
	return c.merge(all)
}
