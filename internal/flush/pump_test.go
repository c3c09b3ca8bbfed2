package flush

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"cairn/agg"
	"cairn/internal/clock"
	"cairn/internal/metric"
	"cairn/query"
	"cairn/tsdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const begin = 1_700_000_000

// rig is a pump with what it pumps from and to.
type rig struct {
	t     testing.TB
	agg   *agg.Aggregator
	store *tsdb.Store
	pump  *Pump
	clock *clock.Manual
	dir   string // "": data
	limit int    // of series; 0: 65,536
}

func resolve(name, rest []byte, _ metric.UnixSec) (agg.Resolution, metric.Reason) {
	_, tag, _ := strings.Cut(string(rest), "#")
	s := metric.Series{ID: metric.ID{Name: string(name), Kind: metric.Counter}, Tags: metric.NewTagset([]metric.Tag{{Key: "k", Value: tag}})}
	return agg.Resolution{Series: s, Weight: agg.Weight{Num: 1, Den: 1}}, metric.OK
}

func newRig(t testing.TB, fs vfs.FS, stripes int) *rig {
	t.Helper()
	r := &rig{t: t, clock: clock.NewManual(time.Unix(begin, 0))}
	r.open(fs, stripes)
	return r
}

func newStripes(n, series int) *agg.Aggregator {
	return agg.New(agg.Limits{Series: series, SeriesPerMetric: 1 << 16, Metrics: 1 << 10}, slices.Repeat([]agg.Resolver{resolve}, n), rand.New(rand.NewPCG(1, 1)))
}

// open starts anew on what fs holds, as a process does.
func (r *rig) open(fs vfs.FS, stripes int) {
	r.t.Helper()
	r.agg = newStripes(stripes, cmp.Or(r.limit, 1<<16))
	var err error
	r.store, err = tsdb.Open(cmp.Or(r.dir, "data"), tsdb.Options{FS: fs, Cache: 1 << 20, Fatal: func(s string) { panic(s) }})
	require.NoError(r.t, err)
	r.pump = New(r.agg, r.store, Options{Clock: r.clock, Grace: 10 * time.Second, Interval: 10 * time.Second, Log: slog.New(slog.DiscardHandler)})
}

func (r *rig) close() {
	r.t.Helper()
	require.NoError(r.t, r.pump.Close())
	require.NoError(r.t, r.store.Close())
}

// add counts 1 for the metric m in each of n series, at the clock's second.
func (r *rig) add(stripe, n int, sec metric.UnixSec) {
	var buf []byte
	events := make([]agg.Raw, n)
	for i := range events {
		rest := fmt.Sprintf("c#%d", i)
		events[i] = agg.Raw{Bits: math.Float64bits(1), Sec: sec, Name: uint32(len(buf)), NameLen: 1, Rest: uint32(len(buf) + 1), RestLen: uint16(len(rest))}
		buf = append(append(buf, 'm'), rest...)
	}
	s := r.agg.Stripe(stripe)
	s.Lock()
	s.Add(buf, events, metric.MilliOf(r.clock.Now()))
	s.Unlock()
}

func (r *rig) total(step int64) float64 {
	r.t.Helper()
	x := query.Executor{Acquire: r.pump.View}
	from := metric.UnixSec(begin - 7200).Floor(step)
	res, err := x.Run(context.Background(), query.Request{Operand: query.Operand{Metric: "m", Fn: query.Count}, From: from, To: metric.UnixSec(begin + 72000).Ceil(step), Step: step, Limit: 10})
	require.NoError(r.t, err)
	return res.Total
}

func (r *rig) requireTotals(want float64) {
	r.t.Helper()
	for _, t := range metric.Tiers {
		require.Equal(r.t, want, r.total(t.Width()), "tier %s", t)
	}
	require.Zero(r.t, r.pump.Stats().Imbalance())
}

func TestFlushMovesAndKeepsTotals(t *testing.T) {
	fs := vfs.NewMem()
	r := newRig(t, fs, 2)
	r.add(0, 5, 0)
	r.add(1, 5, 0)
	r.requireTotals(10)
	require.NoError(t, r.pump.Flush(begin), "nothing is before the watermark")
	require.EqualValues(t, 0, r.pump.Stats().Stored)
	r.clock.Advance(time.Second)
	r.add(0, 3, 0)
	r.add(0, 2, begin-3600) // late: it amends
	require.NoError(t, r.pump.Flush(begin+1))
	s := r.pump.Stats()
	require.EqualValues(t, 12, s.Stored)
	require.EqualValues(t, 3, s.Open)
	require.EqualValues(t, 5, s.Series)
	r.requireTotals(15)
	r.close()

	r.open(fs, 2)
	r.requireTotals(15)
	require.EqualValues(t, 15, r.store.Totals().Events)
	require.Equal(t, metric.UnixSec(begin+1), r.store.Cursor().Watermark)
	r.close()
	_, err := r.pump.View()
	require.ErrorIs(t, err, ErrClosed)
}

// TestQueriesDuringFlushes hammers all at once: a query never sees less than was
// added before it began, nor more than was added when it ended.
func TestQueriesDuringFlushes(t *testing.T) {
	r := newRig(t, vfs.NewMem(), 2)
	var added, adding atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for stripe := range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				adding.Add(50)
				r.add(stripe, 50, 0)
				added.Add(50)
				r.clock.Advance(20 * time.Millisecond)
			}
		})
	}
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := r.pump.Flush(metric.SecOf(r.clock.Now()) - metric.UnixSec(i%3)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 60 {
		low := added.Load()
		got := int64(math.Round(r.total(metric.Tiers[i%4].Width())))
		high := adding.Load()
		if got < low || got > high {
			t.Errorf("total %d is not between %d and %d", got, low, high)
			break
		}
		if n := r.pump.Stats().Imbalance(); n != 0 {
			t.Errorf("%d events are nowhere", n)
		}
	}
	close(stop)
	wg.Wait()
	require.NoError(t, r.pump.Flush(metric.MaxSec))
	r.requireTotals(float64(added.Load()))
	r.close()
}

// TestViewIsStable: a query that has its view sees the same store whatever is
// flushed meanwhile.
func TestViewIsStable(t *testing.T) {
	r := newRig(t, vfs.NewMem(), 1)
	r.add(0, 4, 0)
	require.NoError(t, r.pump.Flush(metric.MaxSec))
	v, err := r.pump.View()
	require.NoError(t, err)
	v.OpenDone()
	for range 3 {
		r.add(0, 4, 0)
		require.NoError(t, r.pump.Flush(metric.MaxSec))
	}
	sum := 0.0
	sel, err := v.Store.Select(context.Background(), metric.ID{Name: "m", Kind: metric.Counter}, nil)
	require.NoError(t, err)
	require.NoError(t, sel.Scan(context.Background(), metric.Tier1h, 0, 2_000_001_600, func(_ int, _ metric.UnixSec, _ int64, _ []uint32, sums []float64) error {
		for _, s := range sums {
			sum += s
		}
		return nil
	}))
	require.Equal(t, 4.0, sum)
	v.Close()
	v.Close() // once more does no harm
	r.requireTotals(16)
	r.close()
}

func TestCatalogCountsEachSeriesOnce(t *testing.T) {
	fs := vfs.NewMem()
	r := newRig(t, fs, 2)
	x := query.Executor{Acquire: func() (*query.View, error) { return r.pump.View() }}
	check := func(series int) {
		t.Helper()
		m, err := x.Metrics()
		require.NoError(t, err)
		require.Equal(t, []query.MetricInfo{{ID: metric.ID{Name: "m", Kind: metric.Counter}, Series: series, LastSeen: metric.SecOf(r.clock.Now())}}, m)
		tags, err := x.Tags("m", 0)
		require.NoError(t, err)
		require.Len(t, tags[0].Values, series)
	}
	r.add(0, 3, 0)
	check(3)
	require.NoError(t, r.pump.Flush(metric.MaxSec))
	check(3)
	r.add(1, 5, 0)
	check(5)
	r.close()
	// The store knows them, and the registry learns of some again.
	r.open(fs, 2)
	check(5)
	r.add(0, 6, 0)
	check(6)
	r.close()
}

var errDisk = errors.New("the disk says no")

func TestFailedFlushKeepsEverything(t *testing.T) {
	r := newRig(t, vfs.NewMem(), 1)
	defer r.close()
	r.add(0, 5, 0)
	r.pump.commitHook = func() error { return errDisk }
	require.ErrorIs(t, r.pump.Flush(metric.MaxSec), errDisk)
	require.EqualValues(t, 1, r.pump.Stats().Failed)
	r.requireTotals(5)
	r.add(0, 7, 0)
	require.ErrorIs(t, r.pump.Flush(metric.MaxSec), errDisk)
	r.requireTotals(12)
	require.EqualValues(t, 5, r.pump.Stats().Frozen)
	require.EqualValues(t, 7, r.pump.Stats().Open, "where memory for it is bounded")
	r.pump.commitHook = nil
	require.NoError(t, r.pump.Flush(metric.MaxSec))
	r.requireTotals(12)
	require.EqualValues(t, 12, r.store.Totals().Events)
}

// TestLoopFollowsTheClock runs the loop in a bubble with a clock of its own.
func TestLoopFollowsTheClock(t *testing.T) {
	fs := vfs.NewMem()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fs, 1)
		require.NoError(t, r.pump.Close())
		sys := clock.NewSystem()
		r.pump = New(r.agg, r.store, Options{Clock: sys, Grace: 3 * time.Second, Interval: 10 * time.Second, Log: slog.New(slog.DiscardHandler)})
		now := sys.Now()
		r.clock = clock.NewManual(now)
		r.pump.Start()
		sec := metric.SecOf(now)
		r.add(0, 1, sec)
		r.add(0, 1, sec+8)
		time.Sleep(time.Duration((sec+1).Ceil(10)-sec)*time.Second + 100*time.Millisecond)
		synctest.Wait()
		require.EqualValues(t, 1, r.pump.Stats().Stored, "one is past its grace at the first full ten seconds")
		time.Sleep(9 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 1, r.pump.Stats().Stored, "none is flushed in between")
		time.Sleep(1 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 2, r.pump.Stats().Stored)
		r.close()
	})
}
