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

// writeChunks writes the operands of each place in turn, in the order of series.
// Where a series has several rows, their operands are merged, so that no key comes
// twice.
func (b *Batch) writeChunks(w writer) error {
	order := make([]int, len(b.places))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int {
		return cmp.Or(cmp.Compare(b.places[x].tier, b.places[y].tier), cmp.Compare(b.places[x].partition, b.places[y].partition))
	})
	c := chunkWriter{b: b, w: w}
	if len(order) > narrow {
		return c.wide(order)
	}
	for _, no := range order {
		for i := range b.rows {
			at := b.rows[i].at
			for v := b.next(&at); v.bytes != nil; v = b.next(&at) {
				if v.place == no {
					if err := c.add(no, b.rows[i].ref, v.bytes); err != nil {
						return err
					}
					break
				}
			}
		}
	}
	return c.flush()
}

// operand is one operand of a row.
type operand struct {
	place int
	bytes []byte // nil: there is none
}

// next returns the operand that begins at *at and moves *at behind it.
func (b *Batch) next(at *uint32) operand {
	rest := b.operands[*at:]
	no, n := binary.Uvarint(rest)
	if no == 0 {
		return operand{}
	}
	size, m := binary.Uvarint(rest[n:])
	end := n + m + int(size)
	*at += uint32(end)
	return operand{int(no - 1), rest[n+m : end]}
}

// chunkWriter writes the operands of one key as one.
type chunkWriter struct {
	b       *Batch
	w       writer
	place   int
	ref     Ref // the zero Ref: nothing is held
	value   []byte
	key     []byte
	written int
}

// add takes the operand of a series for a place, in the order of keys.
func (c *chunkWriter) add(no int, ref Ref, value []byte) (err error) {
	if c.ref == ref && c.place == no {
		if c.value, err = mergeOperands(c.keyOf(), c.value, value); err != nil {
			return fmt.Errorf("merge two rows of a series: %w", err)
		}
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	c.place, c.ref, c.value = no, ref, value
	return nil
}

func (c *chunkWriter) keyOf() []byte {
	p := c.b.places[c.place]
	c.key = appendChunkKey(c.key[:0], p.tier, p.partition, c.ref.metric, c.ref.series)
	return c.key
}

func (c *chunkWriter) flush() error {
	if c.ref == (Ref{}) {
		return nil
	}
	err := c.w.Merge(c.keyOf(), c.value)
	c.ref = Ref{}
	if c.written++; c.written%restEvery == 0 {
		runtime.Gosched()
	}
	return err
}

// wide is for many places: it sorts the operands rather than visiting all rows for
// each place.
func (c *chunkWriter) wide(order []int) error {
	rank := make([]int, len(order))
	for i, no := range order {
		rank[no] = i
	}
	type entry struct {
		rank, row int
		operand
	}
	var all []entry
	for i := range c.b.rows {
		at := c.b.rows[i].at
		for v := c.b.next(&at); v.bytes != nil; v = c.b.next(&at) {
			all = append(all, entry{rank[v.place], i, v})
		}
	}
	slices.SortStableFunc(all, func(x, y entry) int {
		return cmp.Or(cmp.Compare(x.rank, y.rank), cmp.Compare(x.row, y.row)) // rows are in the order of series
	})
	for i := range all {
		if err := c.add(all[i].place, c.b.rows[all[i].row].ref, all[i].bytes); err != nil {
			return err
		}
	}
	return c.flush()
}

// mergeOperands merges two operands of one key.
func mergeOperands(key, x, y []byte) ([]byte, error) {
	m, err := merger.Merge(key, x)
	if err != nil {
		return nil, err
	}
	if err := m.MergeNewer(y); err != nil {
		return nil, err
	}
	out, closer, err := m.Finish(false)
	if err != nil {
		return nil, err
	}
	return slices.Clone(out), closer.Close()
}
