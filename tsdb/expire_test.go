package tsdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/crashdisk"
	"cairn/internal/matcher"
	"cairn/internal/metric"
)

// TestRetentionClock does with the wall clock whatever can be done to it.
func TestRetentionClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := metric.UnixSec(rapid.Int64Range(1, 2_000_000_000).Draw(t, "begin"))
		clock := nextClock(0, now, 0, usualSpeed)
		require.Equal(t, now, clock, "a new store begins at now")
		for range rapid.IntRange(1, 30).Draw(t, "passes") {
			passed := time.Duration(rapid.Int64Range(0, 1000).Draw(t, "passed")) * time.Second
			now += metric.UnixSec(passed / time.Second)
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				now = max(0, now+metric.UnixSec(rapid.Int64Range(-1e9, 1e9).Draw(t, "jump")))
			case 1:
				passed = 0 // a restart
			}
			speed := rapid.SampledFrom([]int64{usualSpeed, sureSpeed}).Draw(t, "speed")
			next := nextClock(clock, now, passed, speed)
			most := metric.UnixSec(speed * int64(passed/time.Second))
			require.GreaterOrEqual(t, next, clock, "it went back")
			require.LessOrEqual(t, next-clock, most, "it went too fast")
			require.LessOrEqual(t, next, max(now, clock), "it is ahead")
			if clock <= now && passed > 0 && now-clock <= most {
				require.Equal(t, now, next, "it did not catch up")
			}
			clock = next
		}
	})
}

// retentions are short, so that partitions of every tier go in a test.
var testPolicy = metric.Policy{
	Default: metric.Retention{7200, 8 * 3600, 2 * 86400, 40 * 86400},
	Overrides: []metric.Override{
		{Prefix: "m1", Retention: metric.Retention{1: 30 * 3600}},
		{Prefix: "m2", Retention: metric.Retention{3600, 3600, 90 * 86400, 90 * 86400}},
		{Prefix: "m3", Retention: metric.Retention{2: 5 * 86400}},
	},
}

// retained is what a store with a retention must hold.
type retained struct {
	tiers map[metric.Tier]map[metric.Series]map[metric.UnixSec]float64
	held  map[accountKey]uint64 // events that somebody holds: by metric, and partition of its coarsest tier
	total uint64
	units float64
	clock metric.UnixSec
}

type accountKey struct {
	name string
	p    uint32
}

func newRetained() *retained {
	r := &retained{tiers: map[metric.Tier]map[metric.Series]map[metric.UnixSec]float64{}, held: map[accountKey]uint64{}}
	for _, t := range metric.Tiers {
		r.tiers[t] = map[metric.Series]map[metric.UnixSec]float64{}
	}
	return r
}

func (r *retained) add(s metric.Series, sums []metric.Sum) {
	keep := testPolicy.Of(s.ID.Name)
	for _, sum := range sums {
		r.total += uint64(sum.Events)
		r.units += sum.Value
		for _, t := range metric.Tiers {
			since, ok := keep.Since(t, r.clock)
			if !ok || sum.Sec < since {
				continue
			}
			if r.tiers[t][s] == nil {
				r.tiers[t][s] = map[metric.UnixSec]float64{}
			}
			r.tiers[t][s][sum.Sec.Floor(t.Width())] += sum.Value
			if t == keep.Coarsest() {
				p, _ := t.Place(sum.Sec)
				r.held[accountKey{s.ID.Name, p}] += uint64(sum.Events)
			}
		}
	}
}

func (r *retained) expire(clock metric.UnixSec) {
	r.clock = clock
	for t, m := range r.tiers {
		for s, secs := range m {
			since, _ := testPolicy.Of(s.ID.Name).Since(t, clock)
			for sec := range secs {
				if sec < since {
					delete(secs, sec)
				}
			}
			if len(secs) == 0 {
				delete(m, s)
			}
		}
	}
	for k := range r.held {
		keep := testPolicy.Of(k.name)
		if first, _ := keep.First(keep.Coarsest(), clock); k.p < first {
			delete(r.held, k)
		}
	}
}

func (r *retained) check(t require.TestingT, s *Store) {
	snap := s.Snapshot()
	defer func() { require.NoError(t, snap.Close()) }()
	_, clock := snap.Retention()
	require.Equal(t, r.clock, clock)
	for _, tier := range metric.Tiers {
		got := map[metric.Series]map[metric.UnixSec]float64{}
		for _, info := range s.Metrics() {
			sel := s.Select(info.ID, all)
			require.NoError(t, snap.Scan(context.Background(), sel, tier, 0, 2_000_000_000, func(i int, start metric.UnixSec, slots []uint32, sums []float64) error {
				key := metric.Series{ID: info.ID, Tags: sel[i].Tags}
				for j, slot := range slots {
					if got[key] == nil {
						got[key] = map[metric.UnixSec]float64{}
					}
					got[key][start+metric.UnixSec(int64(slot)*tier.Width())] += sums[j]
				}
				return nil
			}))
		}
		require.Equal(t, r.tiers[tier], got, "tier %s", tier)
	}
	held := uint64(0)
	for _, n := range r.held {
		held += n
	}
	events, units, err := snap.Accounts()
	require.NoError(t, err)
	require.Equal(t, held, events, "accounts")
	left, err := snap.Unaccounted()
	require.NoError(t, err)
	require.Zero(t, left)
	totals := s.Totals()
	stored, err := snap.Totals()
	require.NoError(t, err)
	require.Equal(t, totals, stored)
	require.Equal(t, r.total, totals.Events)
	require.Equal(t, totals.Events, events+totals.Expired+totals.Deleted+totals.Before, "identity")
	require.InDelta(t, totals.Units, units+totals.ExpiredUnits+totals.DeletedUnits+totals.BeforeUnits, 1e-6)
	require.InDelta(t, r.units, totals.Units, 1e-6)
}

// delete deletes the series of a metric whose tag is below n.
func (r *retained) delete(t require.TestingT, s *Store, id metric.ID, n int) {
	m, err := matcher.New("i", matcher.Regexp, fmt.Sprintf("[0-%d]", n-1))
	require.NoError(t, err)
	sel := s.Select(id, matcher.List{m})
	if len(sel) == 0 {
		return
	}
	units, coarsest := 0.0, testPolicy.Of(id.Name).Coarsest()
	for _, tier := range metric.Tiers {
		for series, secs := range r.tiers[tier] {
			if series.ID != id || !m.Match(series.Tags) {
				continue
			}
			for _, v := range secs {
				if tier == coarsest {
					units += v
				}
			}
			delete(r.tiers[tier], series)
		}
	}
	before, all := s.Totals(), len(s.Select(id, all))
	b := s.NewBatch()
	got, err := b.Delete(context.Background(), id, sel, r.clock)
	require.NoError(t, err)
	require.NoError(t, b.Commit())
	b.Publish()
	require.Equal(t, len(sel) == all, got.Whole)
	require.Equal(t, got.Whole, !s.Known(id))
	events := uint64(0)
	if got.Whole {
		for k := range r.held {
			if k.name == id.Name {
				events += r.held[k]
				delete(r.held, k)
			}
		}
	}
	require.Equal(t, events, got.Events)
	require.InDelta(t, units, got.Units, 1e-6)
	require.InDelta(t, before.DeletedUnits+units, s.Totals().DeletedUnits, 1e-6)
}

func openRetained(t require.TestingT, fs vfs.FS, p metric.Policy) *Store {
	s, err := Open("data", Options{FS: fs, Cache: 1 << 20, Retention: p})
	require.NoError(t, err)
	return s
}

// TestRetentionAgainstOracle writes in old and new seconds, lets time pass, opens the
// store again, and takes power away: every tier holds what it must and no more.
func TestRetentionAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
		fs := crashdisk.New()
		s, want := openRetained(t, fs, testPolicy), newRetained()
		now := metric.UnixSec(1_700_000_000)
		for range 3 + pick(12) {
			switch pick(7) {
			case 0, 1:
				s.bulkRows = []int{1, 1000}[pick(2)]
				b := s.NewBatch()
				for i := range 1 + pick(6) {
					series := seriesOf(fmt.Sprintf("m%d", pick(5)), metric.Tag{Key: "i", Value: fmt.Sprint(i)})
					r, err := b.Ref(series)
					require.NoError(t, err)
					sec := now - metric.UnixSec([]int{100, 3 * 3600, 40 * 3600, 4 * 86400, 70 * 86400, 200 * 86400}[pick(6)])
					var sums []metric.Sum
					for range 1 + pick(4) {
						sec += metric.UnixSec([]int{1, 60, 3600, 86400}[pick(4)])
						sums = append(sums, metric.Sum{Sec: sec, Events: uint32(1 + pick(3)), Value: float64(pick(9))})
					}
					require.NoError(t, b.Add(r, sums))
					want.add(series, sums)
				}
				require.NoError(t, b.Commit())
				b.Publish()
			case 2, 3:
				passed := []int{0, 60, 3600, 5 * 3600, 86400, 20 * 86400}[pick(6)]
				now += metric.UnixSec(passed)
				got, err := s.Expire(now, time.Duration(passed)*time.Second, false)
				require.NoError(t, err)
				require.False(t, got.More)
				want.expire(nextClock(want.clock, now, time.Duration(passed)*time.Second, usualSpeed))
				require.Equal(t, want.clock, got.Clock)
				again, err := s.Expire(now, 0, false)
				require.NoError(t, err)
				require.Zero(t, again.Ranges, "it deletes again")
			case 4:
				require.NoError(t, s.Close())
				s = openRetained(t, fs, testPolicy)
			case 5:
				left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[pick(3)], RNG: rand.New(rand.NewPCG(uint64(pick(1000)), 0))})
				require.NoError(t, s.Close())
				fs, s = left, openRetained(t, left, testPolicy)
			case 6:
				want.delete(t, s, seriesOf(fmt.Sprintf("m%d", pick(5))).ID, []int{1, 2, 6}[pick(3)])
			}
			want.check(t, s)
		}
		require.NoError(t, s.Close())
	})
}
