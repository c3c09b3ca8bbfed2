package flush

import (
	"context"

	"cairn/tsdb"
)

// Collect removes from the index the series of which the store has no bucket any more,
// in any tier, and returns how many they were. It looks for them beside flushes, and
// keeps them from beginning only while it removes what it found. A series that gets an
// event again is a new one to the store. One Collect at a time.
func (p *Pump) Collect(ctx context.Context) (removed int, err error) {
	c, err := p.store.Collect(ctx)
	if err != nil {
		return 0, err
	}
	if p.collectHook != nil {
		if err := p.collectHook(); err != nil {
			c.Discard()
			return 0, err
		}
	}
	p.flushing.Lock()
	defer p.flushing.Unlock()
	dead, err := c.Commit(func(dead []tsdb.Ref, remove func()) {
		p.view.Lock()
		defer p.view.Unlock()
		remove()
		p.places.drop(dead)
	})
	if err != nil {
		return 0, err
	}
	p.forget(dead)
	return len(dead), nil
}

// forget drops the refs of series that are not in the store any more. inStore stays:
// until their next event is flushed they are no series that is merely not there yet.
// The caller holds flushing.
func (p *Pump) forget(dead []tsdb.Ref) {
	if len(dead) == 0 {
		return
	}
	gone := make(map[tsdb.Ref]struct{}, len(dead))
	for _, r := range dead {
		gone[r] = struct{}{}
	}
	for h, r := range p.refs {
		if _, ok := gone[r]; ok {
			p.refs[h] = tsdb.Ref{}
		}
	}
}
