package tsdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/metric"
)

// maxDeletions bounds what one pass deletes, in ranges and in accounts; the next one goes
// on. A pass is a minute apart from the next, holds up flushes meanwhile, and is one batch
// in memory: of some 300 KiB.
const maxDeletions = 10_000

// Expired is what a pass did.
type Expired struct {
	Clock    metric.UnixSec // what the retention's clock shows now
	Ranges   int            // that were deleted: partitions, or parts of some
	Coarsest bool           // there were some of a tier that is the coarsest of a metric
	Events   uint64         // that no tier holds any more
	Units    float64        // of them, the counters'
	More     bool           // the next pass goes on
}

// Expire moves the retention's clock on and deletes the partitions that are no longer
// held. passed is the time since the last pass in this process, on a clock that does
// not jump; 0: there was none. sure says that now has been confirmed by other clocks, all that time:
// what is missing is then made up for faster. Like a batch, it must not run beside one. After an error nothing has changed.
func (s *Store) Expire(now metric.UnixSec, passed time.Duration, sure bool) (Expired, error) {
	speed := int64(usualSpeed)
	if sure {
		speed = sureSpeed
	}
	e := expiry{s: s, b: s.db.NewBatch()}
	e.Clock = nextClock(s.ttl, max(0, min(now, metric.MaxSec)), passed, speed)
	err := e.run()
	if err == nil {
		err = e.b.Commit(pebble.Sync)
	}
	if err = errors.Join(err, e.b.Close()); err != nil {
		return Expired{}, fmt.Errorf("delete what has expired: %w", err)
	}
	s.index.mu.Lock()
	s.ttl, s.totals, s.policyWritten = e.Clock, e.totals, true
	s.index.mu.Unlock()
	if !e.More {
		s.cleared = e.targets
	}
	if e.Ranges > 0 {
		// Pebble sees what it may drop once the deletions are in a table.
		if _, err := s.db.AsyncFlush(); err != nil {
			return e.Expired, fmt.Errorf("write deletions to a table: %w", err)
		}
	}
	return e.Expired, nil
}

// expiry is one pass.
type expiry struct {
	Expired
	s        *Store
	b        *pebble.Batch
	totals   Totals
	targets  [][len(metric.Tiers)]uint32 // by retention and tier: the first partition that is held
	holdings []holding
	used     []bool // by retention: there are metrics
	left     int    // deletions
}

func (e *expiry) run() (err error) {
	s := e.s
	e.totals, e.left = s.totals, maxDeletions
	e.holdings, e.used = holdingsOf(s.retentions, e.Clock), make([]bool, len(s.retentions))
	for _, r := range s.retained {
		e.used[r] = true
	}
	moved := false
	for i, r := range s.retentions {
		var target [len(metric.Tiers)]uint32
		for _, t := range metric.Tiers {
			first, ok := r.First(t, e.Clock)
			if !ok {
				first = math.MaxUint32
			}
			target[t-1] = first
			moved = moved || first > s.cleared[i][t-1]
		}
		e.targets = append(e.targets, target)
	}
	for _, t := range metric.Tiers {
		if !moved {
			break
		}
		if err = e.chunks(t); err == nil {
			err = e.accounts(t)
		}
		if err != nil {
			return err
		}
	}
	e.totals.Expired += e.Events
	e.totals.ExpiredUnits += e.Units
	return e.state()
}

// state writes the clock, the totals and the policy.
func (e *expiry) state() error {
	err := e.b.Set(keyClock, binary.AppendUvarint(nil, uint64(e.Clock)), nil)
	if err == nil {
		err = e.b.Set(keyTotals, appendTotals(nil, e.totals), nil)
	}
	if err == nil {
		err = e.s.writePolicies(pebbleBatch{e.b})
	}
	return err
}

// bounds returns the partitions of a tier in which there may be something to delete.
func (e *expiry) bounds(t metric.Tier) (from, to uint32) {
	from = math.MaxUint32
	for i := range e.targets {
		if e.used[i] && e.s.cleared[i][t-1] < e.targets[i][t-1] {
			from, to = min(from, e.s.cleared[i][t-1]), max(to, e.targets[i][t-1])
		}
	}
	return from, to
}

// expired reports whether a partition of a tier is not held for a retention.
func (e *expiry) expired(retention int, t metric.Tier, p uint32) bool {
	return p < e.targets[retention][t-1]
}

// chunks deletes those of a tier.
func (e *expiry) chunks(t metric.Tier) error {
	p, to := e.bounds(t)
	if p >= to {
		return nil
	}
	iter, err := e.s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{byte(t)}, UpperBound: []byte{byte(t) + 1}})
	if err != nil {
		return err
	}
	for p < to && iter.SeekGE(appendChunkKey(nil, t, p, 0, 0)) {
		if p = partitionOfKey(iter.Key()); p >= to {
			break
		}
		if err := e.partition(iter, t, p); err != nil || e.More {
			return errors.Join(err, iter.Close())
		}
		p++
	}
	return errors.Join(iter.Error(), iter.Close())
}

// partition deletes what has expired of one: all of it, or the metrics whose time has
// come, a range for those whose numbers follow each other.
func (e *expiry) partition(iter *pebble.Iterator, t metric.Tier, p uint32) error {
	whole := true
	for i := range e.targets {
		whole = whole && (!e.used[i] || e.expired(i, t, p))
	}
	if whole {
		return e.deleteRange(t, appendChunkKey(nil, t, p, 0, 0), appendPartitionEnd(nil, byte(t), p))
	}
	due := func(m int) bool { return e.expired(int(e.s.retained[m]), t, p) }
	for m := 0; m < len(e.s.retained) && !e.More; m++ {
		if !due(m) {
			continue
		}
		from := appendChunkKey(nil, t, p, uint32(m+1), 0)
		for m < len(e.s.retained) && due(m) {
			m++
		}
		to := appendChunkKey(nil, t, p, uint32(m+1), 0)
		if !iter.SeekGE(from) {
			return iter.Error()
		}
		if string(iter.Key()) >= string(to) {
			next := int(metricOfKey(iter.Key()))
			if partitionOfKey(iter.Key()) != p {
				return nil
			}
			m = max(m, next-2) // the loop adds one, and numbers begin at 1
			continue
		}
		if err := e.deleteRange(t, from, to); err != nil {
			return err
		}
	}
	return nil
}

// appendPartitionEnd appends the first key behind a partition, of chunks or accounts,
// whose keys begin with prefix.
func appendPartitionEnd(prefix []byte, t byte, p uint32) []byte {
	if p == math.MaxUint32 {
		return append(prefix, t+1)
	}
	return binary.BigEndian.AppendUint32(append(prefix, t), p+1)
}

func (e *expiry) deleteRange(t metric.Tier, from, to []byte) error {
	if e.left == 0 {
		e.More = true
		return nil
	}
	e.left--
	e.Ranges++
	for i, r := range e.s.retentions {
		e.Coarsest = e.Coarsest || e.used[i] && (t >= r.Coarsest())
	}
	return e.b.DeleteRange(from, to, nil)
}

// accounts adds up the accounts of a tier in which nothing is held any more, and deletes
// them. They may be of a tier that was the coarsest one under another policy: then finer ones
// may still hold what they count.
func (e *expiry) accounts(t metric.Tier) error {
	to := uint32(0)
	for i := range e.targets {
		to = max(to, e.targets[i][t-1])
	}
	if e.More || to == 0 {
		return nil
	}
	iter, err := e.s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixAccount, byte(t)}, UpperBound: appendPartitionEnd([]byte{prefixAccount}, byte(t), to-1)})
	if err != nil {
		return err
	}
	for ok := iter.First(); ok && !e.More; ok = iter.Next() {
		if err := e.account(t, iter); err != nil {
			return errors.Join(err, iter.Close())
		}
	}
	return errors.Join(iter.Error(), iter.Close())
}

func (e *expiry) account(t metric.Tier, iter *pebble.Iterator) error {
	key := iter.Key()
	if len(key) != accountKeyLen {
		return fmt.Errorf("key %x is no account's", key)
	}
	p, no := binary.BigEndian.Uint32(key[2:]), binary.BigEndian.Uint32(key[6:])
	if no == 0 || int(no) > len(e.s.retained) {
		return fmt.Errorf("account %x: there is no metric %d", key, no)
	}
	retention := int(e.s.retained[no-1])
	end := t.Start(p) + metric.UnixSec(t.Span())
	gone := e.expired(retention, t, p)
	for _, finer := range metric.Tiers[:t-1] {
		gone = gone && (!e.s.retentions[retention].Keeps(finer) || end <= e.holdings[retention].since[finer-1])
	}
	if !gone {
		return nil
	}
	if e.left == 0 {
		e.More = true
		return nil
	}
	e.left--
	v, err := iter.ValueAndErr()
	if err != nil {
		return err
	}
	a, err := decodeAccount(v)
	if err != nil {
		return fmt.Errorf("account %x: %w", key, err)
	}
	e.Events += a.events
	e.Units += a.units
	return e.b.Delete(key, nil)
}

// Unaccounted returns how many events were stored that are neither held, by the accounts,
// nor expired nor deleted, nor older than accounts; it is 0.
func (sn *Snapshot) Unaccounted() (events int64, err error) {
	held, _, err := sn.Accounts()
	if err != nil {
		return 0, err
	}
	t, err := sn.Totals()
	return int64(t.Events - held - t.Expired - t.Deleted - t.Before), err
}

// Accounts adds up what the accounts say: what is held.
func (sn *Snapshot) Accounts() (events uint64, units float64, err error) {
	iter, err := sn.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixAccount}, UpperBound: []byte{prefixAccount + 1}})
	if err != nil {
		return 0, 0, fmt.Errorf("read the accounts: %w", err)
	}
	var sum account
	for ok := iter.First(); ok; ok = iter.Next() {
		v, err := iter.ValueAndErr()
		if err == nil {
			var a account
			a, err = decodeAccount(v)
			sum.add(a)
		}
		if err != nil {
			return 0, 0, errors.Join(fmt.Errorf("account %x: %w", iter.Key(), err), iter.Close())
		}
	}
	if err := errors.Join(iter.Error(), iter.Close()); err != nil {
		return 0, 0, fmt.Errorf("read the accounts: %w", err)
	}
	return sum.events, sum.units, nil
}
