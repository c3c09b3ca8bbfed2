package flush

import (
	"cairn/agg"
	"cairn/internal/metric"
	"cairn/tsdb"
)

// places finds the handles of stored series, so that the store's index finds what is open
// too. They change together with what queries see of the store, under the view's lock.
type places struct {
	handle []uint32 // by number of a stored series: handle + 1; 0: not known
	stored []bool   // by handle: it is in the above
}

// set notes the store's number of a series.
func (p *places) set(h agg.Handle, r tsdb.Ref) {
	no := int(r.Number())
	for no >= len(p.handle) {
		p.handle = append(p.handle, 0)
	}
	for int(h) >= len(p.stored) {
		p.stored = append(p.stored, false)
	}
	p.handle[no] = uint32(h) + 1
	p.stored[h] = true
}

// drop forgets series that are in the store no more.
func (p *places) drop(gone []tsdb.Ref) {
	for _, r := range gone {
		if no := int(r.Number()); no < len(p.handle) && p.handle[no] != 0 {
			p.stored[p.handle[no]-1] = false
			p.handle[no] = 0
		}
	}
}

// of returns the handle of a stored series, if it has one that is known.
func (p *places) of(r tsdb.Ref) (h agg.Handle, ok bool) {
	if no := int(r.Number()); no < len(p.handle) && p.handle[no] != 0 {
		return agg.Handle(p.handle[no] - 1), true
	}
	return 0, false
}

// others returns those of handles of which no stored series is known.
func (p *places) others(handles []agg.Handle) []agg.Handle {
	var out []agg.Handle
	for _, h := range handles {
		if int(h) >= len(p.stored) || !p.stored[h] {
			out = append(out, h)
		}
	}
	return out
}

// found is what is open of the series that a query selects, ascending by handle.
type found struct {
	handles []agg.Handle
	tags    []metric.Tagset
}

func (f *found) Len() int           { return len(f.handles) }
func (f *found) Less(i, j int) bool { return f.handles[i] < f.handles[j] }
func (f *found) Swap(i, j int) {
	f.handles[i], f.handles[j] = f.handles[j], f.handles[i]
	f.tags[i], f.tags[j] = f.tags[j], f.tags[i]
}
