package tsdb

import (
	"context"
	"fmt"

	"cairn/internal/matcher"
)

// nowSteps is how many steps of regular expressions SelectNow takes at most, times bytes: some 20
// ms of the slowest, or 5,000 values of a usual one.
const nowSteps = 2 << 20

// Undecided is an error of SelectNow: a regular expression has to be tried on more values than
// can be while others wait.
type Undecided struct {
	x     *index
	f     *matcher.Matcher
	era   *era
	pairs []uint32 // without a verdict; one may come several times
}

// Error implements error.
func (u *Undecided) Error() string {
	return fmt.Sprintf("the regular expression for the tag %q has yet to be tried on %d values", u.f.Key, len(u.pairs))
}

// decideAtOnce is how many values are copied under the index's lock at a time.
const decideAtOnce = 256

// Decide tries the regular expression on them, while nobody waits: the matcher remembers, and the
// same SelectNow gets further. It ends early with ctx's error; and without one if series were
// removed, which SelectNow sees then.
func (u *Undecided) Decide(ctx context.Context) error {
	var text []byte
	for rest := u.pairs; len(rest) > 0; {
		some := rest[:min(len(rest), decideAtOnce)]
		rest = rest[len(some):]
		text = text[:0]
		ends := make([]int, len(some))
		u.x.mu.RLock()
		same := u.era == u.x.era
		for i, pair := range some {
			if same {
				text = append(text, u.x.dict.value(pair)...)
			}
			ends[i] = len(text)
		}
		u.x.mu.RUnlock()
		if !same {
			return nil
		}
		begin := 0
		for i, pair := range some {
			if err := ctx.Err(); err != nil {
				return err
			}
			v := text[begin:ends[i]]
			begin = ends[i]
			if _, known := u.f.Verdicts().Get(u.era, pair); !known {
				u.f.Verdicts().Set(u.era, pair, u.f.MatchValue(asString(v)))
			}
		}
	}
	return nil
}

// An era is how long no number of a pair is given out again.
type era struct{ _ byte }

// decider tells which values match, within bounds.
type decider struct {
	ctx       context.Context
	asked     int  // how often ended was
	over      bool // it has ended
	x         *index
	left      int              // steps, times bytes
	f         *matcher.Matcher // of undecided
	undecided []uint32         // pairs
}

// ended reports whether what comes of it is of no use any more. It is cheap to ask.
func (d *decider) ended() bool {
	if d.asked++; d.asked%1024 == 0 {
		d.over = d.over || d.ctx.Err() != nil
	}
	return d.over
}

// matches reports whether the value of a pair does; false as well if that is to be decided.
func (d *decider) matches(f *matcher.Matcher, pair uint32) bool {
	if f.Steps() == 0 {
		return f.MatchValue(asString(d.x.dict.value(pair)))
	}
	if match, known := f.Verdicts().Get(d.x.era, pair); known {
		return match
	}
	v := d.x.dict.value(pair)
	cost := f.Steps() * (len(v) + 1)
	if d.left < cost {
		d.left, d.f = 0, f
		d.undecided = append(d.undecided, pair)
		return false
	}
	if d.over = d.over || d.ctx.Err() != nil; d.over { // one value may take milliseconds
		return false
	}
	d.left -= cost
	match := f.MatchValue(asString(v))
	f.Verdicts().Set(d.x.era, pair, match)
	return match
}
