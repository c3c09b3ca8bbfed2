package ledger

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"cairn/ingest"
	"cairn/internal/clock"
	"cairn/internal/dedupe"
	"cairn/internal/flush"
	"cairn/internal/matcher"
	"cairn/internal/metric"
	"cairn/query"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is what the sources of a test say. Its parts agree until a test breaks one.
type world struct {
	listeners []ingest.Counts
	batches   ingest.BatchCounts
	producers map[dedupe.Producer]ingest.ProducerCounts
	pump      flush.Stats
	recovered uint64
	replaying bool
	before    uint64 // stored before the start
	ever      uint64
	lost      uint64
	journaled []Journaled
	reads     int
}

func (w *world) sources() Sources {
	return Sources{
		Entries: func() (out []Entry) {
			w.reads++
			for _, c := range w.listeners {
				e := OfListener(c)
				e.Kind, e.Addr = "UDP", "127.0.0.1:8125"
				out = append(out, e)
			}
			b := OfBatches(w.batches)
			b.Kind = "HTTP"
			return append(out, b)
		},
		Producers: func(visit func(dedupe.Producer, ingest.ProducerCounts)) {
			for p, c := range w.producers {
				visit(p, c)
			}
		},
		Pump: func() flush.Stats { return w.pump }, Recovered: func() (uint64, bool) { return w.recovered, !w.replaying },
		Stored: func() uint64 { return w.ever }, Lost: func() uint64 { return w.lost },
		Journaled: func() []Journaled { return w.journaled },
	}
}

func drawCounts(t *rapid.T) (c ingest.Counts) {
	n := rapid.Uint64Range(0, 1<<40)
	c.Accepted, c.Noted = n.Draw(t, "accepted"), n.Draw(t, "noted")
	c.Received = c.Accepted + c.Noted
	for i := 1; i < len(c.Rejected); i++ {
		c.Rejected[i] = rapid.Uint64Range(0, 3).Draw(t, "rejected")
		c.Received += c.Rejected[i]
	}
	return c
}

// drawWorld draws one in which every event is accounted for.
func drawWorld(t *rapid.T) *world {
	w := &world{producers: map[dedupe.Producer]ingest.ProducerCounts{}}
	n := rapid.Uint64Range(0, 1<<40)
	for range rapid.IntRange(0, 3).Draw(t, "listeners") {
		c := drawCounts(t)
		w.listeners = append(w.listeners, c)
		w.pump.Accepted += c.Accepted
	}
	w.batches.Counts = drawCounts(t)
	w.batches.Duplicate = n.Draw(t, "duplicate")
	w.batches.Received += w.batches.Duplicate
	for i := 1; i < len(w.batches.Shed); i++ {
		w.batches.Shed[i] = rapid.Uint64Range(0, 3).Draw(t, "shed")
		w.batches.Received += w.batches.Shed[i]
	}
	w.producers[dedupe.Producer{1}] = ingest.ProducerCounts{Received: 21, Accepted: 1, Noted: 2, Rejected: 3, Duplicate: 4, Shed: 11}
	w.recovered = n.Draw(t, "recovered")
	w.pump.Accepted += w.batches.Accepted + w.recovered
	w.pump.Open = rapid.Uint64Range(0, w.pump.Accepted).Draw(t, "open")
	w.pump.Frozen = rapid.Uint64Range(0, w.pump.Accepted-w.pump.Open).Draw(t, "frozen")
	w.pump.Stored = w.pump.Accepted - w.pump.Open - w.pump.Frozen
	w.before = n.Draw(t, "before")
	w.ever = w.before + w.pump.Stored
	u := rapid.Float64Range(-1e12, 1e12)
	w.pump.OpenUnits, w.pump.FrozenUnits, w.pump.StoredUnits = u.Draw(t, "units"), u.Draw(t, "units"), u.Draw(t, "units")
	w.pump.AcceptedUnits = w.pump.OpenUnits + w.pump.FrozenUnits + w.pump.StoredUnits
	return w
}

// breakages each make one event appear or vanish.
var breakages = map[string]func(w *world, by uint64){
	"received":  func(w *world, by uint64) { w.batches.Received += by },
	"rejected":  func(w *world, by uint64) { w.batches.Rejected[metric.BadValue] += by },
	"overload":  func(w *world, by uint64) { w.batches.Rejected[metric.Overload] += by },
	"shed":      func(w *world, by uint64) { w.batches.Shed[ingest.ShedFull] += by },
	"duplicate": func(w *world, by uint64) { w.batches.Duplicate += by },
	"noted":     func(w *world, by uint64) { w.batches.Noted += by },
	"producer": func(w *world, by uint64) {
		w.producers[dedupe.Producer{2}] = ingest.ProducerCounts{Received: by}
	},
	"open":    func(w *world, by uint64) { w.pump.Open += by },
	"frozen":  func(w *world, by uint64) { w.pump.Frozen += by },
	"stored":  func(w *world, by uint64) { w.pump.Stored += by; w.ever += by },
	"stripes": func(w *world, by uint64) { w.pump.Accepted += by; w.pump.Open += by },
	"edges":   func(w *world, by uint64) { w.batches.Accepted += by; w.batches.Received += by },
	"replay":  func(w *world, by uint64) { w.recovered += by },
	"ever":    func(w *world, by uint64) { w.ever += by },
}

// ledgerOf returns a ledger of w, which did not store anything yet when it was made.
func ledgerOf(w *world, c clock.Clock, log *slog.Logger) *Ledger {
	now := *w
	w.pump, w.ever = flush.Stats{}, w.before
	l := New(w.sources(), c, log)
	*w = now
	l.pause = time.Microsecond
	return l
}

func TestWhatIsBrokenIsTold(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w, log := drawWorld(rt), new(bytes.Buffer)
		l := ledgerOf(w, clock.NewManual(time.Unix(1_700_000_000, 0)), slog.New(slog.NewTextHandler(log, nil)))
		c := l.CheckNow()
		require.True(rt, c.Balanced(), "%v", c.Faults)
		require.Empty(rt, log.String())

		name := rapid.SampledFrom(slices.Sorted(maps.Keys(breakages))).Draw(rt, "what")
		by := rapid.Uint64Range(1, 1<<30).Draw(rt, "by")
		if rapid.Bool().Draw(rt, "less") {
			by = -by // all are unsigned, and what is added wraps around
		}
		breakages[name](w, by)
		c = l.CheckNow()
		require.Contains(rt, []int64{int64(by), -int64(by)}, c.Imbalance, "%s: %v", name, c.Faults)
		require.NotEmpty(rt, c.Faults)
		require.Equal(rt, 1, strings.Count(log.String(), "BUG:"))
		l.CheckNow()
		require.Equal(rt, 1, strings.Count(log.String(), "BUG:"), "it is told once")
	})
}

func TestUnitsMayRound(t *testing.T) {
	w := &world{pump: flush.Stats{AcceptedUnits: 1e6, OpenUnits: 4e5, FrozenUnits: 1e5, StoredUnits: 5e5 + 1e-5}}
	l := ledgerOf(w, clock.NewManual(time.Unix(1, 0)), slog.New(slog.DiscardHandler))
	c := l.CheckNow()
	require.True(t, c.Balanced(), "%v", c.Faults)
	w.pump.StoredUnits -= 1
	c = l.CheckNow()
	require.InDelta(t, 1, c.Units, 1e-3)
	require.Zero(t, c.Imbalance, "no event is missing")
	require.False(t, c.Balanced())
}

func TestAShedLineIsNoRejectedOne(t *testing.T) {
	var c ingest.Counts
	c.Received, c.Rejected[metric.Overload], c.Rejected[metric.BadTag] = 12, 10, 2
	e := OfListener(c)
	require.EqualValues(t, 10, e.Shed[ingest.ShedMemory])
	require.EqualValues(t, 10, e.Sheddings())
	require.EqualValues(t, 2, e.Rejections())
	require.Zero(t, e.Imbalance())
}

// TestWhatIsUnderWayIsNotMissing: a batch is applied, and counted a little later.
func TestWhatIsUnderWayIsNotMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		s := w.sources()
		entries := s.Entries
		s.Entries = func() []Entry {
			if w.reads == 20 {
				w.batches.Received, w.batches.Accepted = 5, 5
			}
			return entries()
		}
		l := New(s, clock.NewManual(time.Unix(1, 0)), slog.New(slog.DiscardHandler))
		w.pump.Accepted, w.pump.Open = 5, 5
		c := l.CheckNow()
		require.True(t, c.Balanced(), "%v", c.Faults)
		require.Greater(t, w.reads, 20)

		w.recovered, w.replaying = 3, true // some of which are applied
		c = l.CheckNow()
		require.True(t, c.Balanced(), "nobody knows yet how many will be: %v", c.Faults)
	})
}

func TestItChecksByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := &world{}, new(bytes.Buffer)
		l := New(w.sources(), clock.NewSystem(), slog.New(slog.NewTextHandler(log, nil)))
		l.Start()
		synctest.Wait()
		first := l.Check()
		require.True(t, first.Balanced())
		w.pump.Open++
		require.True(t, func() bool { c := l.Check(); return c.Balanced() }(), "that was a moment ago")
		timer := time.NewTimer(checkEvery + lookEvery)
		<-timer.C
		synctest.Wait()
		require.Contains(t, log.String(), "BUG: the ledger does not balance")
		c := l.Check()
		require.EqualValues(t, -1, c.Imbalance)
		l.Close()
		l.Close()
	})
}

func TestTheLagIsThatOfTheOldest(t *testing.T) {
	w, c := &world{journaled: make([]Journaled, 2)}, clock.NewManual(time.Unix(1_700_000_000, 0))
	l := New(w.sources(), c, slog.New(slog.DiscardHandler))
	lag := func() time.Duration {
		got := l.Lag()
		require.True(t, got.AnyJournaled)
		require.Zero(t, got.Stored)
		return got.Journaled
	}
	require.Zero(t, lag())
	for _, step := range []struct {
		accepted, kept uint64
		want           time.Duration
	}{
		{10, 0, time.Second}, {20, 0, 2 * time.Second}, {30, 5, 3 * time.Second},
		{30, 10, 3 * time.Second}, // that is what had come after the first
		{40, 29, 4 * time.Second}, {40, 30, 2 * time.Second}, {40, 40, 0},
	} {
		c.Advance(time.Second)
		w.journaled[1] = Journaled{step.accepted, step.kept}
		require.Equal(t, step.want, lag(), "%v", step)
	}
	w.pump.Accepted, w.pump.Open = 1, 1
	c.Advance(time.Minute)
	require.Equal(t, time.Minute, l.Lag().Stored)

	w.journaled = nil
	require.False(t, New(w.sources(), c, slog.New(slog.DiscardHandler)).Lag().AnyJournaled)
}

// shelf is a store with one counter, whose tiers hold what a test says.
type shelf struct {
	sums   map[metric.Tier][]float64
	series int
	chosen int
}

func (s *shelf) Kinds(string) []metric.Kind { return nil }

func (s *shelf) Metrics() []query.MetricInfo {
	return []query.MetricInfo{
		{ID: metric.ID{Name: "load", Kind: metric.Gauge}, Series: 1},
		{ID: metric.ID{Name: "hits", Kind: metric.Counter}, Series: s.series, LastSeen: 7300},
	}
}

func (s *shelf) IDs() []metric.ID { return nil }

func (s *shelf) TagCounts(metric.ID, func(metric.Tag, int)) {}

func (s *shelf) Slice(int, int) query.Selection { return s }

func (s *shelf) Last() metric.UnixSec { return metric.Never }

func (s *shelf) Select(context.Context, metric.ID, matcher.List) (query.Selection, error) {
	panic("BUG: a check takes a sample")
}

func (s *shelf) Part(_ metric.ID, from, n int) query.Selection {
	s.chosen = max(0, min(n, s.series-from))
	return s
}

func (s *shelf) Tags() []metric.Tagset { return nil }

func (s *shelf) Scan(_ context.Context, t metric.Tier, from, to metric.UnixSec, yield query.Yield) error {
	if from != 7200 || to != 10800 {
		return errors.New("another hour")
	}
	return yield(0, from, t.Width(), nil, s.sums[t])
}

func (s *shelf) ScanBuckets(context.Context, metric.Tier, metric.UnixSec, metric.UnixSec, query.YieldBucket) error {
	return errors.New("a counter has none")
}

func TestTiersAreCompared(t *testing.T) {
	store := &shelf{series: 1000, sums: map[metric.Tier][]float64{
		metric.Tier1s: {1, 2, 3.25}, metric.Tier10s: {3, 3.25}, metric.Tier1m: {6.25}, metric.Tier1h: {6.25 + 1e-12},
	}}
	s := (&world{}).sources()
	s.View = func() (*query.View, error) {
		return &query.View{Store: store, OpenDone: func() {}, Close: func() {}}, nil
	}
	l := New(s, clock.NewManual(time.Unix(1, 0)), slog.New(slog.DiscardHandler))
	c := l.CheckNow()
	require.True(t, c.Balanced(), "%v", c.Faults)
	require.Positive(t, store.chosen)
	require.LessOrEqual(t, store.chosen, sampleSeries)
	for tier, want := range map[metric.Tier]float64{metric.Tier10s: 1, metric.Tier1m: 1, metric.Tier1h: 1} {
		store.sums[tier][0]++
		c = l.CheckNow()
		require.InDelta(t, want, c.Units, 1e-9, tier)
		require.Contains(t, c.Faults[0], "hits in the hour from 7200 on")
		store.sums[tier][0]--
	}
}
