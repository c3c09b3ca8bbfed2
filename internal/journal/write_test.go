package journal

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"cairn/internal/crashdisk"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

var errDisk = errors.New("the disk says no")

// hook is called before each operation on the journal's files.
type hook func(errorfs.Op) error

func (h hook) String() string                           { return "a test" }
func (h hook) MaybeError(op errorfs.Op) error           { return h(op) }
func hooked(fs vfs.FS, h func(errorfs.Op) error) vfs.FS { return errorfs.Wrap(fs, hook(h)) }

func isSync(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
}

// TestWaitersShareASync holds a sync back: what is appended meanwhile goes together
// with the next one, and nobody is told too early.
func TestWaitersShareASync(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	var hold atomic.Bool
	l := open(t, options(hooked(vfs.NewMem(), func(op errorfs.Op) error {
		if isSync(op) && hold.Load() {
			entered <- struct{}{}
			<-leave
		}
		return nil
	})))
	add(t, l, numbered(0, 1))
	syncs := l.Stats().Syncs
	hold.Store(true)
	first := l.Append(numbered(1, 1))
	<-entered
	var tickets []*Ticket
	for i := range 10 {
		tickets = append(tickets, l.Append(numbered(2+i, 1)))
	}
	for _, ticket := range append(tickets, first) {
		select {
		case <-ticket.group.done:
			t.Fatal("acknowledged before it was durable")
		default:
		}
	}
	require.Positive(t, l.Stats().Pending)
	leave <- struct{}{}
	require.NoError(t, first.Wait())
	<-entered
	hold.Store(false)
	leave <- struct{}{}
	for _, ticket := range tickets {
		require.NoError(t, ticket.Wait())
	}
	require.Equal(t, syncs+2, l.Stats().Syncs)
	require.Zero(t, l.Stats().Pending)
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Append(numbered(0, 1)).Wait(), ErrClosed)
}

func TestWithoutSyncNothingIsSynced(t *testing.T) {
	o := options(hooked(vfs.NewMem(), func(op errorfs.Op) error {
		if isSync(op) && strings.Contains(op.Path, suffix) {
			return errDisk
		}
		return nil
	}))
	o.Sync = false
	l := open(t, o)
	add(t, l, numbered(0, 1))
	require.NoError(t, l.Close())
	require.Zero(t, l.Stats().Syncs)
}

func TestTooMuchIsRefused(t *testing.T) {
	entered, leave := make(chan struct{}, 100), make(chan struct{})
	l := open(t, options(hooked(vfs.NewMem(), func(op errorfs.Op) error {
		if isSync(op) && strings.Contains(op.Path, suffix) {
			entered <- struct{}{}
			<-leave
		}
		return nil
	})))
	held := l.Append(numbered(1, 1))
	<-entered
	l.mu.Lock()
	l.pending += MaxPending // as if so much was appended
	l.mu.Unlock()
	require.ErrorIs(t, l.Append(numbered(2, 1)).Wait(), ErrFull)
	l.mu.Lock()
	l.pending -= MaxPending
	l.mu.Unlock()
	close(leave)
	require.NoError(t, held.Wait())
	add(t, l, numbered(3, 1))
	require.ErrorContains(t, l.Append(&Record{Kind: 1, Head: make([]byte, MaxHead+1)}).Wait(), "65536")
	require.ErrorContains(t, l.Append(&Record{Kind: 1, Packed: true, Body: []byte{0xff}}).Wait(), "is not")
	require.Panics(t, func() { l.Append(&Record{}) })
	require.NoError(t, l.Close())
}

// TestFailedSyncIsFinal fails each sync in turn, and again never.
func TestFailedSyncIsFinal(t *testing.T) {
	for at := int64(0); ; at++ {
		mem := vfs.NewMem()
		var left, syncs atomic.Int64
		left.Store(1 << 40)
		o := options(hooked(mem, func(op errorfs.Op) error {
			if !isSync(op) {
				return nil
			}
			syncs.Add(1)
			if left.Add(-1) == -1 {
				return errDisk
			}
			return nil
		}))
		o.SegmentBytes = 500
		var called []error
		o.Failed = func(err error) { called = append(called, err) }
		l := open(t, o)
		left.Store(at)
		var failed error
		acked := 0
		for i := 0; i < 10 && failed == nil; i++ {
			if failed = l.Append(numbered(i, 1)).Wait(); failed == nil {
				acked++
			}
		}
		n := syncs.Load()
		if failed == nil {
			if err := l.Close(); err == nil {
				require.Greater(t, at, int64(10))
				return
			}
			continue // that of the last record, which says that all is durable
		}
		require.ErrorIs(t, failed, ErrFailed)
		require.ErrorIs(t, failed, errDisk)
		require.ErrorIs(t, l.Append(numbered(99, 1)).Wait(), ErrFailed)
		require.True(t, l.Stats().Failed)
		require.ErrorIs(t, l.Close(), ErrFailed)
		require.Len(t, called, 1)
		require.Equal(t, n, syncs.Load(), "never again")
		l = open(t, options(mem))
		got, _ := heads(t, l, 0)
		require.GreaterOrEqual(t, len(got), acked)
		require.NoError(t, l.Close())
	}
}

// shortFS writes only a part of a write, and then has no space.
type shortFS struct {
	vfs.FS
	left *atomic.Int64 // bytes that can still be written
}

type shortFile struct {
	vfs.File
	left *atomic.Int64
}

func (s shortFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if s.left.Load() <= 0 {
		return nil, syscall.ENOSPC
	}
	f, err := s.FS.Create(name, c)
	return shortFile{f, s.left}, err
}

func (s shortFile) Write(b []byte) (int, error) {
	left := s.left.Add(-int64(len(b)))
	if left >= 0 {
		return s.File.Write(b)
	}
	n := max(0, int64(len(b))+left)
	if _, err := s.File.Write(b[:n]); err != nil {
		return 0, err
	}
	return int(n), syscall.ENOSPC
}

// TestFullDisk lets the disk be full after any number of bytes, also in the middle of
// a group of which a part would be readable.
func TestFullDisk(t *testing.T) {
	for room := int64(0); room < 1200; room += 7 {
		mem := crashdisk.New()
		var left atomic.Int64
		o := options(shortFS{mem, &left})
		o.SegmentBytes = 400
		l := open(t, o)
		left.Store(1 << 40)
		var want []string
		for i := range 2 {
			add(t, l, numbered(i, 1))
			want = append(want, fmt.Sprint(i))
		}
		left.Store(room)
		// Without the writer looking, so that they are one group or two.
		l.mu.Lock()
		var tickets []*Ticket
		for i := range 7 {
			b, f, err := encode(nil, numbered(10+i, 1))
			require.NoError(t, err)
			tickets = append(tickets, l.append(b, f))
		}
		l.mu.Unlock()
		refused := 0
		for i, ticket := range tickets {
			if err := ticket.Wait(); err != nil {
				require.ErrorIs(t, err, ErrNoSpace)
				refused++
			} else {
				require.Zero(t, refused, "a record behind a refused one was taken")
				want = append(want, fmt.Sprint(10+i))
			}
		}
		if refused > 0 {
			require.ErrorIs(t, l.Append(numbered(50, 1)).Wait(), ErrNoSpace)
		}
		// A crash now brings nothing back that was refused.
		image := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
		crashed := open(t, options(image))
		got, r := heads(t, crashed, 0)
		require.Equal(t, want, got, "room %d", room)
		require.Empty(t, r.Damage)
		require.NoError(t, crashed.Close())

		left.Store(1 << 40)
		add(t, l, numbered(90, 1))
		want = append(want, "90")
		require.NoError(t, l.Close())
		l = open(t, options(mem))
		got, r = heads(t, l, 0)
		require.Equal(t, want, got)
		require.Equal(t, uint64(len(want)), r.Total)
		require.Empty(t, r.Damage)
		require.NoError(t, l.Close())
	}
}

// TestEachOperationFails fails every operation in turn: no record is acknowledged
// that is not there later, and none is there that was refused.
func TestEachOperationFails(t *testing.T) {
	for at := int64(0); ; at++ {
		mem := vfs.NewMem()
		var left atomic.Int64
		left.Store(1 << 40)
		var failed errorfs.Op
		fs := hooked(mem, func(op errorfs.Op) error {
			if left.Add(-1) == -1 {
				failed = op
				return errDisk
			}
			return nil
		})
		o := options(fs)
		o.SegmentBytes, o.Retention = 400, 0
		left.Store(at)
		l, err := Open("data/journal", o)
		if err != nil {
			require.ErrorIs(t, err, errDisk)
			continue
		}
		var want, never []string
		begin := Pos(0)
		for i := range 12 {
			ticket := l.Append(numbered(i, 1))
			if err := ticket.Wait(); err != nil {
				require.ErrorIs(t, err, errDisk, "%v", failed)
				never = append(never, fmt.Sprint(i))
			} else {
				want = append(want, fmt.Sprint(i))
			}
			if i == 5 {
				begin = ticket.Pos()
				if err := l.Release(begin); err != nil {
					require.ErrorIs(t, err, errDisk)
				}
				want, never = nil, nil
			}
		}
		final := l.Close()
		more := left.Load() > 0
		left.Store(1 << 40)
		l = open(t, o)
		got, r := heads(t, l, begin+1)
		if final == nil {
			require.Equal(t, want, got, "operation %d: %v", at, failed)
		}
		require.Subset(t, got, want)
		for _, n := range never {
			if final == nil {
				require.NotContains(t, got, n, "operation %d: %v", at, failed)
			}
		}
		require.Empty(t, r.Damage, "operation %d: %v", at, failed)
		require.NoError(t, l.Release(begin))
		require.NoError(t, l.Close())
		if more {
			require.Greater(t, at, int64(40))
			return
		}
	}
}
