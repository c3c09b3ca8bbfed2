package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/journal"
	"cairn/internal/matcher"
	"cairn/internal/metric"
	"cairn/internal/reconcile"
	"cairn/tsdb"
)

// aged does with a world what makes things expire.
type aged struct {
	*world
}

func (a *aged) policy() (p metric.Policy) {
	draw := func() (r metric.Retention) {
		longest := int64(0)
		for i, t := range metric.Tiers {
			if a.pick(4) > 0 {
				longest = max(longest, t.Width()) + []int64{0, 600, 4 * 3600, 2 * 86400, 40 * 86400}[a.pick(5)]
				r[i] = longest
			}
		}
		if longest == 0 {
			r[0] = 3600
		}
		return r
	}
	p.Default = draw()
	if a.pick(2) == 0 {
		p.Overrides = []metric.Override{{Prefix: "b", Retention: draw()}}
	}
	return p
}

func (a *aged) reopen() {
	require.NoError(a.t, a.e.Close())
	if a.pick(2) == 0 {
		a.o.Retention = a.policy()
	}
	a.open()
	a.replay()
}

func (a *aged) send() {
	var lines []string
	for range 1 + a.pick(5) {
		name := []string{"a", "b"}[a.pick(2)]
		sec := a.now() - metric.UnixSec([]int{0, 5, 4000, 5 * 3600, 3 * 86400, 50 * 86400}[a.pick(6)])
		lines = append(lines, []string{
			fmt.Sprintf("%s.count:%d.5|c|T%d", name, a.pick(9), sec), fmt.Sprintf("%s.whole:%d|c|#k:%d|T%d", name, a.pick(9), a.pick(3), sec),
			fmt.Sprintf("%s.level:%d|g|T%d", name, a.pick(9), sec), name + ".size:4|ms",
		}[a.pick(4)])
	}
	text := strings.Join(lines, "\n")
	if a.pick(2) == 0 {
		a.feed(a.pick(2), text)
		return
	}
	_, refusal := a.ingest(&batch{}, text)
	require.Nil(a.t, refusal)
}

func (a *aged) pass() {
	jump := []time.Duration{time.Second, time.Minute, 3 * time.Hour, 30 * time.Hour, 20 * 24 * time.Hour}[a.pick(5)]
	a.clock.Advance(jump)
	require.NoError(a.t, a.e.Pump.Tick(a.now()))
	if a.pick(3) > 0 {
		require.NoError(a.t, a.e.Pump.Flush(a.now()-10))
	}
	if a.pick(3) > 0 {
		require.NoError(a.t, a.e.Pump.Expire())
	}
}

// delete deletes a counter, or one series of it.
func (a *aged) delete() {
	name := []string{"a", "b"}[a.pick(2)] + []string{".count", ".whole"}[a.pick(2)]
	var match matcher.List
	if a.pick(2) == 0 {
		m, err := matcher.New("k", matcher.Equal, "1")
		require.NoError(a.t, err)
		match = matcher.List{m}
	}
	_, err := a.e.Delete(context.Background(), metric.ID{Name: name}, match, false)
	require.NoError(a.t, err)
}

// TestWhatExpiresVerifiesAsEqual sends old and new events, under policies that change,
// and lets time pass: what is gone is no difference.
func TestWhatExpiresVerifiesAsEqual(t *testing.T) {
	var sum reconcile.Report
	rapid.Check(t, func(t *rapid.T) {
		a := &aged{world: newWorld(t, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") })}
		a.o.JournalRetention, a.o.JournalSize = 1000*24*time.Hour, 1<<30
		a.o.Retention = a.policy()
		a.open()
		a.replay()
		for range 10 + a.pick(30) {
			switch a.pick(7) {
			case 0, 1, 2:
				a.send()
			case 3, 4:
				a.pass()
			case 5:
				a.reopen()
			case 6:
				a.delete()
			}
		}
		r := a.requireEqualReport()
		require.Equal(t, r.Held.Stored, r.Held.Accounts+r.Held.Expired+r.Held.Deleted)
		sum.Checked.Buckets += r.Checked.Buckets
		sum.Checked.Expired += r.Checked.Expired
		sum.Tiers.Hours += r.Tiers.Hours
		sum.Tiers.Skipped += r.Tiers.Skipped
		sum.Held.Partitions += r.Held.Partitions
		sum.Held.Expired += r.Held.Expired
		require.NoError(t, a.e.Close())
		r, err := VerifyDir(context.Background(), a.fs, "data", a.clock, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		require.True(t, r.Equal, "%+v", r)
	})
	t.Logf("%d buckets, %d expired; %d hours, %d skipped; %d partitions, %d events expired",
		sum.Checked.Buckets, sum.Checked.Expired, sum.Tiers.Hours, sum.Tiers.Skipped, sum.Held.Partitions, sum.Held.Expired)
	for _, n := range []uint64{sum.Checked.Buckets, sum.Checked.Expired, sum.Tiers.Hours, sum.Tiers.Skipped, sum.Held.Partitions, sum.Held.Expired} {
		require.NotZero(t, n, "something never came up")
	}
}

// accountKey is that of a metric's account in the partition of the tier 1h that holds begin.
func accountKey(no uint32) []byte {
	p, _ := metric.Tier1h.Place(begin)
	key := binary.BigEndian.AppendUint32([]byte{0x15, byte(metric.Tier1h)}, p)
	return binary.BigEndian.AppendUint32(key, no)
}

func TestVerifyFindsWrongAccounts(t *testing.T) {
	p, _ := metric.Tier1h.Place(begin)
	sum := func(expected, stored float64) reconcile.Difference {
		return reconcile.Difference{Metric: "hits", Kind: "counter", Tier: "1h", Bucket: int64(metric.Tier1h.Start(p)), Figure: "sum", Expected: expected, Stored: stored}
	}
	events := func(stored float64) reconcile.Difference {
		return reconcile.Difference{Metric: "all metrics", Figure: "events", Expected: 12, Stored: stored}
	}
	account := func(events uint64, units float64) []byte {
		return binary.LittleEndian.AppendUint64(binary.AppendUvarint(nil, events), math.Float64bits(units))
	}
	for name, c := range map[string]struct {
		change func(*pebble.DB) error
		want   []reconcile.Difference
	}{
		"account without its chunks": {func(db *pebble.DB) error {
			key := chunkKey(metric.Tier1h, 1)[:9]
			return db.DeleteRange(key, append(key[:8:8], 2), pebble.Sync)
		}, []reconcile.Difference{sum(16, 0)}},
		"chunks without their account": {func(db *pebble.DB) error { return db.Delete(accountKey(1), pebble.Sync) }, []reconcile.Difference{sum(0, 16), events(8)}},
		"no accounts":                  {func(db *pebble.DB) error { return db.DeleteRange([]byte{0x15}, []byte{0x16}, pebble.Sync) }, []reconcile.Difference{sum(0, 16), events(0)}},
		"an event too many":            {func(db *pebble.DB) error { return db.Set(accountKey(1), account(5, 16), pebble.Sync) }, []reconcile.Difference{events(13)}},
		"a unit too many":              {func(db *pebble.DB) error { return db.Set(accountKey(1), account(4, 17), pebble.Sync) }, []reconcile.Difference{sum(17, 16)}},
		"a bit of a unit":              {func(db *pebble.DB) error { return db.Set(accountKey(1), account(4, 16.001), pebble.Sync) }, []reconcile.Difference{sum(16.001, 16)}},
		"account of nothing":           {func(db *pebble.DB) error { return db.Set(accountKey(77), account(1, 0), pebble.Sync) }, []reconcile.Difference{events(13)}},
	} {
		w := stoppedWorld(t)
		w.tamper(c.change)
		r := w.verifyDir()
		require.Equal(t, c.want, r.Held.Differences, name)
		require.False(t, r.Held.Equal, name)
		require.False(t, r.Equal, name)
	}
}

// TestVerifyLeavesOutWhatWasDeleted takes the chunks of one of a counter's series away: that
// is a difference, unless somebody deleted them.
func TestVerifyLeavesOutWhatWasDeleted(t *testing.T) {
	w := stoppedWorld(t)
	store, err := tsdb.OpenArchive("data", tsdb.Options{FS: w.fs})
	require.NoError(t, err)
	snapshot := store.Snapshot()
	cursor, err := snapshot.Cursor()
	require.NoError(t, err)
	require.NoError(t, snapshot.Close())
	require.NoError(t, store.Close())
	// Another series of it counts after the deletion, in the same hour.
	w.open()
	w.replay()
	w.clock.Advance(time.Minute)
	w.feed(0, "hits:2|c|#new:1")
	w.close()
	w.tamper(func(db *pebble.DB) error {
		for _, tier := range metric.Tiers {
			if err := db.Delete(chunkKey(tier, 1), pebble.Sync); err != nil {
				return err
			}
		}
		return nil
	})
	hits := metric.ID{Name: "hits", Kind: metric.Counter}
	verify := func(cut uint64) *reconcile.Report {
		store, err := tsdb.OpenArchive("data", tsdb.Options{FS: w.fs})
		require.NoError(t, err)
		records, err := journal.OpenArchive(w.fs, "data/journal")
		require.NoError(t, err)
		series, err := journal.OpenArchive(w.fs, "data/journal/series")
		require.NoError(t, err)
		snapshot := store.Snapshot()
		r, err := reconcile.Run(context.Background(), reconcile.Options{
			Journal: records, Series: series, Snapshot: snapshot, Clock: w.clock,
			Deleted: func(id metric.ID) (uint64, bool) { return cut, id == hits && cut > 0 },
		})
		require.NoError(t, err)
		require.NoError(t, snapshot.Close())
		require.NoError(t, store.Close())
		return r
	}
	require.NotZero(t, verify(0).DifferencesTotal)
	r := verify(cursor.Cut)
	require.True(t, r.Equal, "%+v", r)
	require.NotZero(t, r.Checked.Buckets, "the others were compared")
	require.EqualValues(t, 2+1+1+1, r.Checked.Deleted)
	require.NotZero(t, verify(cursor.Cut+1<<20).Checked.Deleted)
	for _, d := range verify(1).Differences {
		require.Equal(t, "hits", d.Metric, "a cut before everything hides nothing")
	}
	require.NotZero(t, verify(1).DifferencesTotal)
}

// TestVerifyOfAnOldStore: where no accounts were kept, nothing is compared with them.
func TestVerifyOfAnOldStore(t *testing.T) {
	w := stoppedWorld(t)
	w.tamper(func(db *pebble.DB) error {
		v, closer, err := db.Get([]byte("\x00totals"))
		if err != nil {
			return err
		}
		old := append([]byte(nil), v[:1+8+4]...) // as format 2 had them
		if err := closer.Close(); err != nil {
			return err
		}
		for _, key := range []string{"\x00retention", "\x00ttl"} {
			if err := db.Delete([]byte(key), nil); err != nil {
				return err
			}
		}
		if err := db.DeleteRange([]byte{0x15}, []byte{0x16}, nil); err != nil {
			return err
		}
		return db.Set([]byte("\x00totals"), old, pebble.Sync)
	})
	r := w.verifyDir()
	require.True(t, r.Equal, "%+v", r)
	require.EqualValues(t, 12, r.Held.Before)
	require.Zero(t, r.Held.Partitions)
	require.NotZero(t, r.Checked.Buckets)
	require.Zero(t, r.Checked.Expired)
	require.Len(t, r.Notes, 1)
	require.Contains(t, r.Notes[0], "12 events were stored by a version that kept no accounts")
}

// TestVerifyWithNumbersThatAreFree: numbers of metrics need not follow one another. A chunk
// of a metric that is not there is told, and nothing breaks.
func TestVerifyWithNumbersThatAreFree(t *testing.T) {
	w := stoppedWorld(t)
	w.tamper(func(db *pebble.DB) error {
		return db.Set([]byte("\x10\x00\x00\x00\x09"), []byte("\x01another"), pebble.Sync)
	})
	require.True(t, w.verifyDir().Equal)
	w.tamper(func(db *pebble.DB) error {
		return db.Set(chunkKey(metric.Tier1s, 7), []byte("\x11\x00\x02"), pebble.Sync)
	})
	r := w.verifyDir()
	require.False(t, r.Equal)
	require.False(t, r.Tiers.Equal)
	w.tamper(func(db *pebble.DB) error {
		return db.Set([]byte("\x10\xff\x00\x00\x09"), []byte("\x01far"), pebble.Sync)
	})
	_, err := VerifyDir(context.Background(), w.fs, "data", w.clock, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "comes after number 9")
}
