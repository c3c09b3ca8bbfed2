package tsdb

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/metric"
)

// How many seconds the retention's clock may move on in one. 30 days are made up for in 30, and
// where it is sure that they have passed, in 30 hours.
const (
	usualSpeed = 2
	sureSpeed  = 24
)

// nextClock returns what the retention's clock shows at a pass, and what it showed at
// the last one, 0: none. passed is how long ago that was in this process, on a clock that does not jump;
// 0 at the first pass. It never goes back, and no faster than speed times the time that passed, so
// that a wall clock that was set ahead deletes nothing; after a long stop it catches up.
func nextClock(last, now metric.UnixSec, passed time.Duration, speed int64) metric.UnixSec {
	if last == 0 {
		return now
	}
	return max(last, min(now, last+metric.UnixSec(speed*int64(max(0, passed)/time.Second))))
}

// stored is the policy as the store keeps it:
//
//	uvarint  what the retention's clock showed when the policy changed; 0: it never did
//	bytes    the policy, as metric.Policy.String writes it
type storedPolicy struct {
	changed metric.UnixSec
	policy  metric.Policy
}

func appendRetention(dst []byte, r storedPolicy) []byte {
	return append(binary.AppendUvarint(dst, uint64(r.changed)), r.policy.String()...)
}

func decodeRetention(b []byte) (r storedPolicy, err error) {
	n := numbers{b: b}
	r.changed = metric.UnixSec(n.uvarint())
	if n.bad || r.changed < 0 {
		return r, fmt.Errorf("%q is no policy: it does not begin with a time", b)
	}
	r.policy, err = metric.ParsePolicy(string(b[n.at:]))
	return r, err
}

func decodeClock(b []byte) (metric.UnixSec, error) {
	n := numbers{b: b}
	v := metric.UnixSec(n.uvarint())
	if v < 0 || v > metric.MaxSec {
		n.bad = true
	}
	return v, n.end("clock")
}

// retentionOf returns which of the retentions a metric has.
func (s *Store) retentionOf(name string) uint8 {
	r := s.policy.Of(name)
	for i := range s.retentions {
		if s.retentions[i] == r {
			return uint8(i)
		}
	}
	panic("BUG: a retention that the policy does not have")
}

// maxRetentions bounds the retentions that differ.
const maxRetentions = 255

// readRetention reads the retention's clock and what policy there was, and warns of
// what the new one deletes as a whole.
func (s *Store) readRetention(log *slog.Logger) (err error) {
	if err := s.readPolicy(); err != nil {
		return err
	}
	if s.ttl, err = get(s.db, keyClock, decodeClock); err != nil {
		return err
	}
	old, err := get(s.db, keyPolicy, decodeRetention)
	if err == nil {
		s.past, err = get(s.db, keyPast, decodePast)
	}
	if err != nil {
		return err
	}
	s.changed, s.policyWritten = old.changed, old.policy.String() == s.policy.String()
	if !s.policyWritten && old.policy.Default != (metric.Retention{}) {
		s.changed = s.ttl
		s.past = addPast(s.past, pastPolicy{old.policy, s.ttl, s.behindAll()})
	}
	for _, t := range metric.Tiers {
		if s.keepsTier(t) {
			continue
		}
		size, err := s.db.EstimateDiskUsage([]byte{byte(t)}, []byte{byte(t) + 1})
		if err != nil {
			return fmt.Errorf("look how large a tier is: %w", err)
		}
		if size > 0 {
			log.Warn("the settings no longer keep a resolution; what is stored of it is deleted within a minute", "resolution", t.String(), "bytes", size)
		}
	}
	return nil
}

// readPolicy sorts the metrics by retention.
func (s *Store) readPolicy() error {
	add := func(r metric.Retention) error {
		if err := r.Check(); err != nil {
			return fmt.Errorf("retention: %w", err)
		}
		for _, known := range s.retentions {
			if known == r {
				return nil
			}
		}
		s.retentions = append(s.retentions, r)
		return nil
	}
	err := add(s.policy.Default)
	for i := 0; err == nil && i < len(s.policy.Overrides); i++ {
		err = add(s.policy.Overrides[i].Retention)
	}
	if err == nil && len(s.retentions) > maxRetentions {
		err = fmt.Errorf("there are %d retentions; at most %d are allowed", len(s.retentions), maxRetentions)
	}
	if err != nil {
		return err
	}
	s.cleared = make([][len(metric.Tiers)]uint32, len(s.retentions))
	for _, m := range s.index.order {
		r := uint8(0)
		if m != nil {
			r = s.retentionOf(m.id.Name)
		}
		s.retained = append(s.retained, r)
	}
	return nil
}

func (s *Store) keepsTier(t metric.Tier) bool {
	for _, r := range s.retentions {
		if r.Keeps(t) {
			return true
		}
	}
	return false
}

// Retention returns by what the store keeps its data, and what the retention's clock
// shows; 0: it does not run yet, and everything is held. The policy must not be changed.
func (s *Store) Retention() (policy *metric.Policy, now metric.UnixSec) {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return &s.policy, s.ttl
}

// writePolicies writes the policies, if they are not in the store.
func (s *Store) writePolicies(w writer) error {
	if s.policyWritten {
		return nil
	}
	var err error
	if len(s.past) > 0 {
		err = w.Set(keyPast, appendPast(nil, s.past))
	}
	if err == nil {
		err = w.Set(keyPolicy, appendRetention(nil, storedPolicy{s.changed, s.policy}))
	}
	return err
}

// Held returns the tiers that hold all that was ever stored of the hour that begins at a
// second, for metrics of a name; the finest first.
func (s *Store) Held(name string, hour metric.UnixSec) (out []metric.Tier) {
	h := s.HeldOf(name)
	for _, t := range metric.Tiers {
		if h.Holds(t, hour) {
			out = append(out, t)
		}
	}
	return out
}

func newSnapshot(db *pebble.DB, policy *metric.Policy, past []pastPolicy, now metric.UnixSec, damage *damage) *Snapshot {
	sn := &Snapshot{snap: db.NewSnapshot(), policy: policy, past: past, ttl: now, damage: damage}
	// A pass may have ended since now was read. Who cannot read this cannot read the
	// chunks either, and is told then.
	if ttl, err := get(sn.snap, keyClock, decodeClock); err == nil {
		sn.ttl = ttl
	}
	return sn
}

// Retention is Store.Retention at the snapshot's instant. That of an Archive is what the
// server kept the data by at last.
func (sn *Snapshot) Retention() (policy *metric.Policy, now metric.UnixSec) { return sn.policy, sn.ttl }
