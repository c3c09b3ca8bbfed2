package tsdb

// cells finds a number by the hash of what it stands for: 4 bytes a number and some
// room. What numbers stand for is their owner's affair.
type cells struct {
	of []uint32 // number + 1, in or behind the cell of its hash; 0: empty
	n  int
}

// find returns the number with a hash that is the one looked for.
func (c *cells) find(hash uint64, is func(no uint32) bool) (no uint32, ok bool) {
	if len(c.of) == 0 {
		return 0, false
	}
	mask := uint64(len(c.of) - 1)
	for at := hash & mask; c.of[at] != 0; at = (at + 1) & mask {
		if is(c.of[at] - 1) {
			return c.of[at] - 1, true
		}
	}
	return 0, false
}

// put adds a number that is not there. hashOf knows those that are.
func (c *cells) put(hash uint64, no uint32, hashOf func(no uint32) uint64) {
	if 4*c.n >= 3*len(c.of) {
		old := c.of
		c.of = make([]uint32, max(16, 2*len(old)))
		for _, cell := range old {
			if cell != 0 {
				c.place(hashOf(cell-1), cell)
			}
		}
	}
	c.place(hash, no+1)
	c.n++
}

func (c *cells) place(hash uint64, cell uint32) {
	mask := uint64(len(c.of) - 1)
	at := hash & mask
	for c.of[at] != 0 {
		at = (at + 1) & mask
	}
	c.of[at] = cell
}

// remove removes a number that is there. What follows moves up, so that no search
// ends at the hole.
func (c *cells) remove(hash uint64, no uint32, hashOf func(no uint32) uint64) {
	mask := uint64(len(c.of) - 1)
	at := hash & mask
	for c.of[at] != no+1 {
		at = (at + 1) & mask
	}
	hole := at
	for at = (at + 1) & mask; c.of[at] != 0; at = (at + 1) & mask {
		home := hashOf(c.of[at]-1) & mask
		if (at-home)&mask >= (at-hole)&mask { // its search passes the hole
			c.of[hole] = c.of[at]
			hole = at
		}
	}
	c.of[hole] = 0
	c.n--
}
