package tsdb

import (
	"fmt"
	"log/slog"
	"sync"

	"cairn/internal/chunk"
)

// damage remembers the keys whose values were found damaged, by mergers and readers: the
// same one is met by each merge and each query.
type damage struct {
	mu   sync.Mutex
	log  *slog.Logger
	seen map[string]struct{}
	more uint64 // beyond maxDamaged, each time
}

// maxDamaged bounds the keys that are remembered: of so many the disk is to be replaced, and
// their number does not matter.
const maxDamaged = 4096

// see counts a key and logs it once.
func (d *damage) see(key []byte, err error) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.seen[string(key)]; ok {
		return
	}
	if len(d.seen) == maxDamaged {
		d.more++
		return
	}
	if d.seen == nil {
		d.seen = map[string]struct{}{}
	}
	d.seen[string(key)] = struct{}{}
	d.log.Error(fmt.Sprintf("the value of key %x is damaged (%s); what is good of it is served, and the rest kept beside it: run cairn verify, check the disk, and restore a backup if it matters", key, err))
}

// check sees a chunk that holds damage.
func (d *damage) check(key, v []byte) {
	if len(v) == 0 || v[0] != chunk.FormatDamaged {
		return
	}
	c, err := chunk.DamageOf(v)
	if err == nil {
		err = fmt.Errorf("%d operands are isolated", c.Operands)
	}
	d.see(key, err)
}

// Damaged returns how many keys were found with damaged values since the store was opened.
// Readers get what is good of them; a query whose time saw it grow may lack events.
func (s *Store) Damaged() uint64 {
	s.damage.mu.Lock()
	defer s.damage.mu.Unlock()
	return uint64(len(s.damage.seen)) + s.damage.more
}
