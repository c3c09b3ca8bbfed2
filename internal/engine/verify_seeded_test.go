package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/journal"
	"cairn/internal/metric"
	"cairn/internal/reconcile"
	"cairn/tsdb"
)

// stoppedWorld is an engine that took a batch and a datagram in each of two seconds,
// and was stopped. Its counter is metric and series number 1.
func stoppedWorld(t *testing.T) *world {
	w := newWorld(t, func(int) int { return 0 })
	w.open()
	w.replay()
	for i := range 2 {
		w.feed(0, "hits:3|c\nlevel:7|g")
		a, refusal := w.ingest(&batch{}, "hits:5|c|#a:b\nsize:4|ms|@0.1\nwho:me|s\nwho:you|s")
		require.Nil(t, refusal)
		require.EqualValues(t, 4, a.Accepted)
		w.clock.Advance(time.Second)
		require.NoError(t, w.e.Pump.Tick(w.now()), i)
	}
	w.close()
	require.True(t, w.verifyDir().Equal)
	return w
}

func (w *world) verifyDir() *reconcile.Report {
	r, err := VerifyDir(context.Background(), w.fs, "data", w.clock, slog.New(slog.DiscardHandler))
	require.NoError(w.t, err)
	return r
}

func TestVerifyCountsWhatItCompares(t *testing.T) {
	w := stoppedWorld(t)
	r := w.verifyDir()
	r.TookMS = 0
	require.Equal(t, &reconcile.Report{
		Equal:       true,
		Checked:     reconcile.Checked{Metrics: 4, Buckets: 4 * (2 + 1 + 1 + 1), Events: 12, From: begin, To: begin + 2},
		Differences: []reconcile.Difference{}, Damaged: []string{}, Notes: []string{},
		Tiers: reconcile.Tiers{Equal: true, Metrics: 4, Hours: 4, Differences: []reconcile.Difference{}},
		Held:  reconcile.Held{Equal: true, Stored: 12, Accounts: 12, Metrics: 1, Partitions: 1, Differences: []reconcile.Difference{}},
	}, r)
}

// only is the merger of a store in which no key has two operands.
var only = &pebble.Merger{Name: "cairn.chunk", Merge: func(_, v []byte) (pebble.ValueMerger, error) {
	return &single{bytes.Clone(v)}, nil
}}

type single struct{ v []byte }

func (s *single) MergeNewer([]byte) error                { panic("two operands") }
func (s *single) MergeOlder([]byte) error                { panic("two operands") }
func (s *single) Finish(bool) ([]byte, io.Closer, error) { return s.v, nil, nil }

// tamper changes the store behind everybody's back.
func (w *world) tamper(change func(*pebble.DB) error) {
	db, err := pebble.Open("data/store", &pebble.Options{FS: w.fs, Merger: only, DisableAutomaticCompactions: true})
	require.NoError(w.t, err)
	require.NoError(w.t, change(db))
	require.NoError(w.t, db.Close())
}

func chunkKey(t metric.Tier, no uint32) []byte {
	p, _ := t.Place(begin)
	key := binary.BigEndian.AppendUint32([]byte{byte(t)}, p)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(key, no), no)
}

func TestVerifyFindsAnOperandTooMany(t *testing.T) {
	for _, tier := range metric.Tiers {
		w := stoppedWorld(t)
		_, slot := tier.Place(begin)
		w.tamper(func(db *pebble.DB) error {
			return db.Merge(chunkKey(tier, 1), binary.AppendVarint(binary.AppendUvarint([]byte{0x11}, uint64(slot)<<1), 2), pebble.Sync)
		})
		r := w.verifyDir()
		require.False(t, r.Equal)
		want, hour := 16.0, reconcile.Difference{Metric: "hits", Kind: "counter", Bucket: int64(metric.UnixSec(begin).Floor(3600)), Figure: "sum", Expected: 16, Stored: 18}
		if tier == metric.Tier1s {
			want = 8
		}
		require.Equal(t, []reconcile.Difference{{
			Metric: "hits", Kind: "counter", Tier: tier.String(), Bucket: int64(metric.UnixSec(begin).Floor(tier.Width())), Figure: "sum", Expected: want, Stored: want + 2,
		}}, r.Differences)
		require.EqualValues(t, 1, r.DifferencesTotal)
		var hours []reconcile.Difference
		for _, other := range metric.Tiers[1:] {
			d := hour
			if d.Tier = other.String(); tier == metric.Tier1s {
				d.Expected, d.Stored = 18, 16
			}
			if tier == metric.Tier1s || tier == other {
				hours = append(hours, d)
			}
		}
		require.Equal(t, hours, r.Tiers.Differences)
		require.EqualValues(t, len(hours), r.Tiers.DifferencesTotal)
	}
}

func TestVerifyFindsAChunkTooFew(t *testing.T) {
	w := stoppedWorld(t)
	w.tamper(func(db *pebble.DB) error {
		// The numbers of metrics go by the order in which the flush met them.
		for no := uint32(1); no <= 5; no++ {
			for s := uint32(1); s <= 5; s++ {
				key := chunkKey(metric.Tier1m, no)
				if err := db.Delete(append(key[:9], 0, 0, 0, byte(s)), nil); err != nil {
					return err
				}
			}
		}
		return db.LogData([]byte("x"), pebble.Sync)
	})
	r := w.verifyDir()
	minute := int64(metric.UnixSec(begin).Floor(60))
	d := func(name, kind, figure string, expected float64) reconcile.Difference {
		return reconcile.Difference{Metric: name, Kind: kind, Tier: "1m", Bucket: minute, Figure: figure, Expected: expected}
	}
	require.ElementsMatch(t, []reconcile.Difference{
		d("hits", "counter", "sum", 16), d("level", "gauge", "count", 2), d("level", "gauge", "sum", 14),
		d("level", "gauge", "min", 7), d("level", "gauge", "max", 7), d("level", "gauge", "last", 7),
		d("size", "distribution", "count", 20), d("size", "distribution", "sum", 80), d("size", "distribution", "min", 4), d("size", "distribution", "max", 4),
		d("who", "set", "members", r.Differences[len(r.Differences)-1].Expected),
	}, r.Differences)
	require.False(t, r.Equal)
	require.False(t, r.Tiers.Equal)
	require.EqualValues(t, 11, r.Tiers.DifferencesTotal)
}

// tampered is a journal that reads "hits:5" as "hits:6", once.
type tampered struct {
	reconcile.Journal
	from, to string
}

func (j *tampered) Read(from, to journal.Pos, visit func(journal.Pos, *journal.Record) error) error {
	done := false
	return j.Journal.Read(from, to, func(p journal.Pos, r *journal.Record) error {
		if changed := strings.Replace(string(r.Body), j.from, j.to, 1); !done && changed != string(r.Body) {
			done = true
			r.Body = []byte(changed)
		}
		return visit(p, r)
	})
}

func TestVerifyFindsAnotherJournal(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     []reconcile.Difference // of tier 1s, without it
	}{
		{"hits:5|c", "hits:6|c", []reconcile.Difference{{Metric: "hits", Kind: "counter", Figure: "sum", Expected: 9, Stored: 8}}},
		{"hits:5|c", "hist:5|c", []reconcile.Difference{
			{Metric: "hits", Kind: "counter", Figure: "sum", Expected: 3, Stored: 8},
			{Metric: "hist", Kind: "counter", Figure: "sum", Expected: 5},
		}},
		{"size:4|ms|@0.1", "size:4|ms|@0.2", []reconcile.Difference{
			{Metric: "size", Kind: "distribution", Figure: "count", Expected: 5, Stored: 10},
			{Metric: "size", Kind: "distribution", Figure: "sum", Expected: 20, Stored: 40},
		}},
	} {
		w := stoppedWorld(t)
		store, err := tsdb.OpenArchive("data", tsdb.Options{FS: w.fs})
		require.NoError(t, err)
		records, err := journal.OpenArchive(w.fs, "data/journal")
		require.NoError(t, err)
		series, err := journal.OpenArchive(w.fs, "data/journal/series")
		require.NoError(t, err)
		snapshot := store.Snapshot()
		r, err := reconcile.Run(context.Background(), reconcile.Options{
			Journal: &tampered{records, c.from, c.to}, Series: series, Snapshot: snapshot, Clock: w.clock,
		})
		require.NoError(t, err)
		var got []reconcile.Difference
		for _, d := range r.Differences {
			if d.Tier == "1s" {
				require.EqualValues(t, begin, d.Bucket)
				d.Tier, d.Bucket = "", 0
				got = append(got, d)
			}
		}
		require.Equal(t, c.want, got)
		require.EqualValues(t, 4*len(c.want), r.DifferencesTotal, "in each tier")
		require.True(t, r.Tiers.Equal)
		require.False(t, r.Equal)
		require.NoError(t, snapshot.Close())
		require.NoError(t, store.Close())
	}
}

func TestOneVerificationAtATime(t *testing.T) {
	w := newWorld(t, func(int) int { return 0 })
	w.open()
	w.replay()
	ctx, err := w.e.verify.begin(context.Background(), time.Minute)
	require.NoError(t, err)
	_, err = w.e.Verify(context.Background())
	require.ErrorIs(t, err, ErrVerifying)
	go func() {
		<-ctx.Done() // as Close says
		w.e.verify.end()
	}()
	require.NoError(t, w.e.Close())
	_, err = w.e.Verify(context.Background())
	require.ErrorIs(t, err, ErrNotNow)
}

func TestACancelledVerificationEnds(t *testing.T) {
	w := newWorld(t, func(int) int { return 0 })
	w.open()
	w.replay()
	w.feed(0, strings.Repeat("a:1|c\n", 10))
	require.NoError(t, w.e.Pump.Flush(w.now()+1))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := w.e.Verify(ctx)
	require.ErrorIs(t, err, ErrNotNow)
	require.NoError(t, w.e.Close())
}

func TestNothingToVerify(t *testing.T) {
	fs := vfs.NewMem()
	_, err := VerifyDir(context.Background(), fs, "nowhere", nil, nil)
	require.ErrorContains(t, err, `data dir "nowhere" has no store`)
}

func TestVerifyWithoutAJournalOfDatagrams(t *testing.T) {
	w := newWorld(t, func(int) int { return 0 })
	w.o.JournalUDP = false
	w.open()
	w.replay()
	w.feed(0, "a:1|c")
	w.clock.Advance(time.Minute)
	require.NoError(t, w.e.Pump.Flush(w.now()))
	r, err := w.e.Verify(context.Background())
	require.NoError(t, err)
	require.True(t, r.Equal)
	require.Zero(t, r.Checked.Buckets)
	require.Equal(t, 1, r.Tiers.Metrics)
	require.Len(t, r.Notes, 1)
	require.NoError(t, w.e.Close())
	r = w.verifyDir()
	require.True(t, r.Equal)
	require.Zero(t, r.Checked.Buckets)
	require.Len(t, r.Notes, 1, "nothing is in the journal")
}
