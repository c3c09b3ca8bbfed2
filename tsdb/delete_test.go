package tsdb

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/bucket"
	"cairn/internal/crashdisk"
	"cairn/internal/matcher"
	"cairn/internal/metric"
)

// kept is what a store must hold, of all kinds.
type kept struct {
	t        *rapid.T
	rng      *rand.Rand
	fs       *crashdisk.Disk
	s        *Store
	sums     map[slot]float64       // of counters
	buckets  map[slot]bucket.Bucket // of the others
	events   map[metric.ID]uint64   // in accounts
	units    map[metric.ID]float64
	stored   Totals // as far as it is about events and what was deleted
	deletion map[metric.ID]uint64
	cut      uint64
}

type slot struct {
	series metric.Series
	tier   metric.Tier
	sec    metric.UnixSec
}

var deleteSecs = []int64{1_700_000_000, 1_700_003_000, 1_700_090_000, 1_710_000_000}

func (k *kept) flush() {
	b := k.s.NewBatch()
	pending := map[metric.Series]bool{}
	for range 1 + k.rng.IntN(15) {
		id := metric.ID{Name: fmt.Sprint("m", k.rng.IntN(2)), Kind: metric.Kind(1 + k.rng.IntN(4))}
		series := metric.Series{ID: id, Tags: metric.NewTagset([]metric.Tag{{Key: "host", Value: fmt.Sprint(k.rng.IntN(3))}, {Key: "zone", Value: fmt.Sprint(k.rng.IntN(2))}})}
		if pending[series] {
			continue
		}
		pending[series] = true
		r, err := b.Ref(series)
		require.NoError(k.t, err)
		sec := metric.UnixSec(deleteSecs[k.rng.IntN(len(deleteSecs))] + k.rng.Int64N(3))
		n := uint32(1 + k.rng.IntN(3))
		k.events[id] += uint64(n)
		k.stored.Events += uint64(n)
		if id.Kind == metric.Counter {
			v := float64(k.rng.IntN(7) - 2)
			k.units[id] += v
			k.stored.Units += v
			require.NoError(k.t, b.Add(r, []metric.Sum{{Sec: sec, Events: n, Value: v}}))
			for _, t := range metric.Tiers {
				k.sums[slot{series, t, sec.Floor(t.Width())}] += v
			}
			continue
		}
		v := randomBucket(k.rng, id.Kind, sec)
		require.NoError(k.t, b.AddBuckets(r, []bucket.Dated{{Sec: sec, Events: n, Bucket: v}}))
		for _, t := range metric.Tiers {
			at := slot{series, t, sec.Floor(t.Width())}
			if k.buckets[at] == nil {
				k.buckets[at] = bucket.New(id.Kind)
			}
			k.buckets[at].Merge(v)
		}
	}
	k.cut += 10
	b.SetCursor(Cursor{Cut: k.cut})
	require.NoError(k.t, b.Commit())
	b.Publish()
}

// slots returns those of a metric that match.
func (k *kept) slots(id metric.ID, match matcher.List) (out []slot, series, others int) {
	names, rest := map[metric.Series]bool{}, map[metric.Series]bool{}
	take := func(at slot) {
		switch {
		case at.series.ID != id:
		case match.Match(at.series.Tags):
			out = append(out, at)
			names[at.series] = true
		default:
			rest[at.series] = true
		}
	}
	for at := range k.sums {
		take(at)
	}
	for at := range k.buckets {
		take(at)
	}
	return out, len(names), len(rest)
}

func (k *kept) delete() {
	id := metric.ID{Name: fmt.Sprint("m", k.rng.IntN(2)), Kind: metric.Kind(1 + k.rng.IntN(4))}
	match := all
	if k.rng.IntN(3) > 0 {
		m, err := matcher.New([]string{"host", "zone"}[k.rng.IntN(2)], []matcher.Op{matcher.Equal, matcher.NotEqual}[k.rng.IntN(2)], "1")
		require.NoError(k.t, err)
		match = matcher.List{m}
	}
	slots, series, others := k.slots(id, match)
	selected := k.s.Select(id, match)
	require.Len(k.t, selected, series)
	if series == 0 {
		return
	}
	want := Deleted{Series: series, Whole: others == 0}
	places := map[place]bool{}
	for _, at := range slots {
		p, _ := at.tier.Place(at.sec)
		if !places[place{at.tier, p}] {
			places[place{at.tier, p}] = true
			want.Partitions[at.tier-1]++
		}
		if at.tier == metric.Tier1h {
			want.Units += k.sums[at]
		}
	}
	if want.Whole {
		want.Events = k.events[id]
	}
	b := k.s.NewBatch()
	got, err := b.Delete(context.Background(), id, selected, 7)
	require.NoError(k.t, err)
	require.Equal(k.t, want, got)
	if k.rng.IntN(4) == 0 {
		b.Discard() // only asked
		return
	}
	require.NoError(k.t, b.Commit())
	b.Publish()
	for _, at := range slots {
		delete(k.sums, at)
		delete(k.buckets, at)
	}
	k.events[id] -= want.Events
	k.units[id] -= want.Units
	k.stored.Deleted += want.Events
	k.stored.DeletedUnits += want.Units
	k.stored.DeletedSeries += uint64(series)
	k.deletion[id] = k.cut
}

func (k *kept) reopen(fs *crashdisk.Disk) {
	if k.s != nil {
		require.NoError(k.t, k.s.Close())
	}
	k.fs, k.s = fs, openRetained(k.t, fs, metric.Policy{Default: metric.Retention{1e9, 1e9, 1e9, 1e9}})
}

func (k *kept) crash() {
	k.reopen(k.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * k.rng.IntN(3), RNG: k.rng}))
}

func (k *kept) compact() {
	require.NoError(k.t, k.s.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false))
}

func (k *kept) check() {
	snap := k.s.Snapshot()
	defer func() { require.NoError(k.t, snap.Close()) }()
	sums, buckets := map[slot]float64{}, map[slot][]byte{}
	want := map[slot][]byte{}
	for at, b := range k.buckets {
		want[at] = b.Append(nil, at.sec)
	}
	numbers := map[uint32]metric.ID{}
	require.NoError(k.t, snap.WalkMetrics(context.Background(), func(no uint32, id metric.ID) error {
		numbers[no] = id
		_, series, _ := k.slots(id, all)
		require.Positive(k.t, series, "%s %s", id.Kind, id.Name)
		sel := k.s.Select(id, all)
		require.Len(k.t, sel, series)
		for _, t := range metric.Tiers {
			err := error(nil)
			if id.Kind == metric.Counter {
				err = snap.Scan(context.Background(), sel, t, 0, metric.MaxSec, func(i int, start metric.UnixSec, slots []uint32, v []float64) error {
					for j, s := range slots {
						sums[slot{metric.Series{ID: id, Tags: sel[i].Tags}, t, start + metric.UnixSec(int64(s)*t.Width())}] = v[j]
					}
					return nil
				})
			} else {
				err = snap.ScanBuckets(context.Background(), sel, id.Kind, t, 0, metric.MaxSec, func(i int, sec metric.UnixSec, b bucket.Bucket) error {
					buckets[slot{metric.Series{ID: id, Tags: sel[i].Tags}, t, sec}] = b.Append(nil, sec)
					return nil
				})
			}
			require.NoError(k.t, err)
		}
		return nil
	}))
	require.Equal(k.t, k.sums, sums)
	require.Equal(k.t, want, buckets)
	k.checkKeys(snap)
	events, units := map[metric.ID]uint64{}, map[metric.ID]float64{}
	require.NoError(k.t, snap.WalkAccounts(context.Background(), func(a Account) error {
		require.Contains(k.t, numbers, a.Metric, "an account of a metric that is gone")
		events[numbers[a.Metric]] += a.Events
		units[numbers[a.Metric]] += a.Units
		return nil
	}))
	for id, n := range k.events {
		require.Equal(k.t, n, events[id], "events of %v", id)
		require.Equal(k.t, k.units[id], units[id], "units of %v", id)
	}
	got := k.s.Totals()
	require.Equal(k.t, k.stored, got)
	left, err := snap.Unaccounted()
	require.NoError(k.t, err)
	require.Zero(k.t, left)
	below, err := snap.DeletedBelow(context.Background())
	require.NoError(k.t, err)
	for id := range k.events {
		cut, ok := below(id)
		require.Equal(k.t, k.deletion[id], cut)
		require.Equal(k.t, k.deletion[id] > 0, ok)
	}
}

// checkKeys compares the chunks that there are, read by any key.
func (k *kept) checkKeys(snap *Snapshot) {
	type chunk struct {
		series metric.Series
		place  place
	}
	want := map[chunk]bool{}
	add := func(at slot) {
		p, _ := at.tier.Place(at.sec)
		want[chunk{at.series, place{at.tier, p}}] = true
	}
	for at := range maps.Keys(k.sums) {
		add(at)
	}
	for at := range maps.Keys(k.buckets) {
		add(at)
	}
	n := 0
	require.NoError(k.t, snap.walk(context.Background(), []byte{1}, []byte{5}, func(iter *pebble.Iterator) error {
		require.True(k.t, k.s.index.has(refOf(iter.Key())), "chunk %x is of no series", iter.Key())
		n++
		return nil
	}))
	require.Equal(k.t, len(want), n, "chunks")
}

// TestDeleteAgainstMaps deletes by filters, of all kinds, between flushes, compactions,
// restarts and power cuts: what matched is gone in every tier, in the accounts and in the
// index, and nothing else is.
func TestDeleteAgainstMaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := &kept{
			t: t, rng: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)), cut: 100,
			sums: map[slot]float64{}, buckets: map[slot]bucket.Bucket{}, events: map[metric.ID]uint64{}, units: map[metric.ID]float64{}, deletion: map[metric.ID]uint64{},
		}
		k.reopen(crashdisk.New())
		defer func() { require.NoError(t, k.s.Close()) }()
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			rapid.SampledFrom([]func(){k.flush, k.flush, k.delete, k.delete, k.compact, k.crash, func() { k.reopen(k.fs) }}).Draw(t, "step")()
			k.check()
		}
	})
}

// TestDeletedBelowForgets keeps 1,000 records, and says of what it forgot what is safe.
func TestDeletedBelowForgets(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	defer func() { require.NoError(t, s.Close()) }()
	record := func(i int) { // a deletion without a flush before it
		id := metric.ID{Name: fmt.Sprint("m", i), Kind: metric.Gauge}
		d := deletion{record: deletedBelow{id, uint64(i), 5}}
		sn := s.Snapshot()
		var err error
		d.forgotten, err = sn.crowdedOut(context.Background(), id)
		require.NoError(t, err)
		require.NoError(t, sn.Close())
		require.NoError(t, s.apply(d.writeRecord))
	}
	cut := func(i int) (uint64, bool) {
		sn := s.Snapshot()
		defer func() { require.NoError(t, sn.Close()) }()
		below, err := sn.DeletedBelow(context.Background())
		require.NoError(t, err)
		return below(metric.ID{Name: fmt.Sprint("m", i), Kind: metric.Gauge})
	}
	for i := 1; i <= maxRecords; i++ {
		record(i)
	}
	record(maxRecords) // the same once more
	_, ok := cut(0)
	require.False(t, ok, "nothing of it was deleted, and nothing was forgotten")
	record(maxRecords + 1)
	record(maxRecords + 2)
	for i, want := range map[int]uint64{0: 2, 1: 2, 2: 2, 3: 3, maxRecords: maxRecords, maxRecords + 2: maxRecords + 2} {
		got, ok := cut(i)
		require.True(t, ok)
		require.Equal(t, want, got, "metric %d", i)
	}
}

// TestGoldenDeleted holds the bytes of a deletion's record.
func TestGoldenDeleted(t *testing.T) {
	d := deletedBelow{metric.ID{Name: "disk", Kind: metric.Gauge}, 3<<32 | 4096, 1_700_000_000}
	key, value := []byte("\x16\x02disk"), []byte("\x80\xa0\x80\x80\x30\x80\xe2\xcf\xaa\x06")
	require.Equal(t, key, recordKey(d.id))
	require.Equal(t, value, d.value())
	got, err := decodeRecord(key, value)
	require.NoError(t, err)
	require.Equal(t, d, got)
	got, err = decodeRecord(recordKey(metric.ID{}), value)
	require.NoError(t, err)
	require.Equal(t, deletedBelow{cut: d.cut, at: d.at}, got)
	for _, bad := range []string{"\x16\x02", "\x16\x09disk"} {
		_, err := decodeRecord([]byte(bad), value)
		require.Error(t, err)
	}
}
