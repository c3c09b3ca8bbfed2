package flush

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
	"cairn/internal/metric"
)

// lockedLog is what is logged by one goroutine and read by another.
type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestFailingFlushesComplainOnce: while flushes fail, ticks that go well do not say that all is
// well again, and each failing flush says no more than the first one did.
func TestFailingFlushesComplainOnce(t *testing.T) {
	fs := vfs.NewMem()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fs, 1)
		require.NoError(t, r.pump.Close())
		var log lockedLog
		r.pump = New(r.agg, r.store, Options{Clock: clock.NewSystem(), Interval: 10 * time.Second, Log: slog.New(slog.NewTextHandler(&log, nil))})
		var fails atomic.Bool
		fails.Store(true)
		r.pump.commitHook = func() error {
			if fails.Load() {
				return errors.New("no flush today")
			}
			return nil
		}
		r.add(0, 1, metric.SecOf(time.Now()))
		r.pump.Start()
		time.Sleep(35 * time.Second)
		synctest.Wait()
		require.GreaterOrEqual(t, r.pump.Stats().Failed, uint64(3))
		require.Equal(t, 1, strings.Count(log.String(), "no flush today"), log.String())
		require.NotContains(t, log.String(), "again\"", "nothing is well yet")
		fails.Store(false)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.Equal(t, 1, strings.Count(log.String(), "what came lately is stored again"))
		r.close()
	})
}

// TestAFailedCollectIsTriedAgain: series without data are looked for until that went well.
func TestAFailedCollectIsTriedAgain(t *testing.T) {
	r := newRig(t, vfs.NewMem(), 1)
	r.add(0, 1, 0)
	r.hollow(0)
	r.pump.expiry.emptied = true
	r.pump.collectHook = func() error { return errors.New("not now") }
	r.pump.collect(context.Background())
	r.pump.expiry.collects.Wait()
	require.True(t, r.pump.expiry.emptied)
	r.pump.collectHook = nil
	r.pump.collect(context.Background())
	r.pump.expiry.collects.Wait()
	_, known := r.store.Lookup(r.agg.Registry.Series(0))
	require.False(t, known)
	require.False(t, r.pump.expiry.emptied)
	r.close()
}
