package agg

import (
	"cmp"
	"slices"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// run is the partials of one second of one stripe, in the order of slots: packed,
// or as a list of few.
type run struct {
	sec    metric.UnixSec
	packed *packed
	list   []partial
}

// Counters calls yield once for each counter in d, in the order of handles, with
// its buckets in the order of time, one each. The slice is only valid during the
// call.
//
// It goes through all seconds of all stripes block by block, so that it needs no
// memory for a whole second.
func (d *Sealed) Counters(yield func(h Handle, sums []metric.Sum) error) error {
	runs, blocks := d.runs()
	var rows [blockSlots][]metric.Sum
	for b := range blocks {
		for i := range runs {
			sec := runs[i].sec
			runs[i].block(b, func(p partial) {
				row := &rows[p.slot%blockSlots]
				if n := len(*row); n > 0 && (*row)[n-1].Sec == sec {
					(*row)[n-1].Events += p.n
					(*row)[n-1].Value += p.sum
					return
				}
				*row = append(*row, metric.Sum{Sec: sec, Events: p.n, Value: p.sum})
			})
		}
		for i, sums := range rows {
			if len(sums) == 0 {
				continue
			}
			if err := yield(Handle(b*blockSlots+i), sums); err != nil {
				return err
			}
			rows[i] = sums[:0]
		}
	}
	return nil
}

// runs returns all partial sums in d in the order of time, and the number of
// blocks that they span.
func (d *Sealed) runs() (out []run, blocks int) {
	var k packer
	for _, part := range d.parts {
		for sec, b := range part.seconds {
			for i := range b.packed {
				out = append(out, run{sec: sec, packed: &b.packed[i]})
				blocks = max(blocks, len(b.packed[i].blocks)-1)
			}
			switch {
			case b.n == 0:
			case b.n < minPack:
				list := make([]partial, b.n)
				for i := range list {
					list[i] = *b.at(i)
				}
				slices.SortFunc(list, func(x, y partial) int { return cmp.Compare(x.slot, y.slot) })
				out = append(out, run{sec: sec, list: list})
				blocks = max(blocks, int(list[len(list)-1].slot/blockSlots)+1)
			default:
				p := k.pack(&b.partials)
				out = append(out, run{sec: sec, packed: &p})
				blocks = max(blocks, len(p.blocks)-1)
			}
		}
	}
	slices.SortStableFunc(out, func(x, y run) int { return cmp.Compare(x.sec, y.sec) })
	return out, blocks
}

// block calls visit for each partial of block b; blocks are asked for in order.
func (r *run) block(b int, visit func(p partial)) {
	if r.packed != nil {
		walkBlock(r.packed.block(b), b, visit)
		return
	}
	for len(r.list) > 0 && int(r.list[0].slot/blockSlots) == b {
		visit(r.list[0])
		r.list = r.list[1:]
	}
}

// Buckets is Counters for all other kinds. The buckets must not be changed.
func (d *Sealed) Buckets(yield func(h Handle, dated []bucket.Dated) error) error {
	type entry struct {
		h Handle
		bucket.Dated
	}
	n := 0
	for _, part := range d.parts {
		for _, b := range part.seconds {
			n += len(b.buckets)
		}
	}
	all := make([]entry, 0, n)
	for _, part := range d.parts {
		for sec, b := range part.seconds {
			for i := range b.buckets {
				e := &b.buckets[i]
				all = append(all, entry{Handle(e.slot), bucket.Dated{Sec: sec, Events: e.n, Bucket: e.b}})
			}
		}
	}
	slices.SortFunc(all, func(x, y entry) int {
		return cmp.Or(cmp.Compare(x.h, y.h), cmp.Compare(x.Sec, y.Sec))
	})
	var dated []bucket.Dated
	for len(all) > 0 {
		h := all[0].h
		dated = dated[:0]
		for len(all) > 0 && all[0].h == h {
			dated = append(dated, all[0].Dated)
			all = all[1:]
		}
		if err := yield(h, mergeDated(dated)); err != nil {
			return err
		}
	}
	return nil
}

// mergeDated merges those of one second, which stand together, into a bucket
// of its own: queries read the parts meanwhile.
func mergeDated(dated []bucket.Dated) []bucket.Dated {
	n, own := 0, false
	for _, d := range dated[1:] {
		last := &dated[n]
		if d.Sec != last.Sec {
			n++
			dated[n], own = d, false
			continue
		}
		if !own {
			whole := bucket.New(last.Bucket.Kind())
			whole.Merge(last.Bucket)
			last.Bucket, own = whole, true
		}
		last.Events += d.Events
		last.Bucket.Merge(d.Bucket)
	}
	return dated[:n+1]
}
