package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"cairn/ingest"
	"cairn/internal/clock"
	"cairn/internal/metric"
)

var errDisk = errors.New("the disk says no")

// ofJournal reports whether an operation is one on the journal, not on that of series.
func ofJournal(op errorfs.Op) bool {
	return strings.HasPrefix(op.Path, "data/journal") && !strings.Contains(op.Path, "series")
}

// waitFor spins until another goroutine has done something that nothing else tells of.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); runtime.Gosched() {
		require.True(t, time.Now().Before(end), "it never happens")
	}
}

// held is a file system of which some operations wait until they are let go.
type held struct {
	on      atomic.Bool
	which   func(errorfs.Op) bool
	entered chan struct{}
	leave   chan error
}

func newHeld(which func(errorfs.Op) bool) *held {
	return &held{which: which, entered: make(chan struct{}), leave: make(chan error)}
}

func (h *held) wrap(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, injector(func(op errorfs.Op) error {
		if !h.on.Load() || !h.which(op) {
			return nil
		}
		h.entered <- struct{}{}
		return <-h.leave
	}))
}

// sent is what became of a batch.
type sent struct {
	b       *batch
	answer  ingest.Answer
	refusal *ingest.Refusal
}

// sendAll sends n new batches at once; results come as they are answered.
func (w *world) sendAll(n int) (batches []*batch, out chan sent) {
	out = make(chan sent, n)
	for range n {
		batches = append(batches, w.newBatch())
	}
	for _, b := range batches {
		b.arrive(metric.MilliOf(w.clock.Now()))
		go func() {
			a, refusal := w.ingest(b, b.body)
			out <- sent{b, a, refusal}
		}()
	}
	return batches, out
}

// TestFailedSyncIsTheEnd lets a sync of the journal fail while batches wait for it and
// for the next one.
func TestFailedSyncIsTheEnd(t *testing.T) {
	for _, kept := range []int{0, 100} {
		t.Run(fmt.Sprint(kept), func(t *testing.T) { failedSync(t, kept) })
	}
}

func failedSync(t *testing.T, kept int) {
	w := newWorld(t, rand.New(rand.NewPCG(1, 1)).IntN)
	w.o.segmentBytes = 0
	h := newHeld(func(op errorfs.Op) bool { return isSync(op) && ofJournal(op) })
	w.fs = h.wrap(w.mem)
	var fatal []string
	told := make(chan struct{})
	w.o.Fatal = func(sentence string) {
		fatal = append(fatal, sentence)
		close(told) // twice is a panic
	}
	w.open()
	w.replay()
	w.datagram()
	for range 5 {
		w.send(w.newBatch())
		w.clock.Advance(time.Second)
		w.tick()
	}
	h.on.Store(true)
	before := w.e.Journal.Stats().Appended
	batches, out := w.sendAll(5)
	<-h.entered
	waitFor(t, func() bool { return w.e.Journal.Stats().Appended == before+5 })
	h.on.Store(false)
	h.leave <- errDisk
	for range 5 {
		s := <-out
		require.NotNil(t, s.refusal, "it was acknowledged")
		require.Equal(t, 503, s.refusal.Status)
		require.Positive(t, s.refusal.Wait)
	}
	<-told
	w.datagram()
	w.clock.Advance(2 * time.Second)
	for range 3 {
		_, out = w.sendAll(1)
		s := <-out
		require.NotNil(t, s.refusal, "it was acknowledged after a failed sync")
		require.Equal(t, 503, s.refusal.Status)
		require.Error(t, w.e.Pump.Tick(w.now()))
		require.Error(t, w.e.Pump.Flush(w.now()))
	}
	left := loseSome(w.mem, kept, rand.New(rand.NewPCG(1, 2)))
	require.Error(t, w.e.Close())
	require.Len(t, fatal, 1)
	require.Contains(t, fatal[0], "fsync")

	w.o.Fatal = func(s string) { panic(s) }
	w.mem, w.fs, w.fed = left, left, [2][]event{}
	w.open()
	w.replay()
	var units [][]event
	for _, b := range batches {
		units = append(units, b.events)
	}
	w.sure = w.settle(w.sure, units)
	for _, b := range batches {
		w.retry(b)
	}
	w.finish()
}

// TestStalledSync holds a sync of the journal back: nobody is told anything before
// it is done, all else goes on, and afterwards everything does.
func TestStalledSync(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(1, 3)).IntN)
	w.o.segmentBytes = 0
	h := newHeld(func(op errorfs.Op) bool { return isSync(op) && ofJournal(op) })
	w.fs = h.wrap(w.mem)
	w.open()
	w.replay()
	w.datagram()
	w.send(w.newBatch())
	w.clock.Advance(time.Second)
	w.tick()
	w.flush()
	h.on.Store(true)
	before := w.e.Journal.Stats().Appended
	batches, out := w.sendAll(8)
	<-h.entered
	waitFor(t, func() bool { return w.e.Journal.Stats().Appended == before+8 })
	require.Empty(t, w.e.beside().Sequences, "a flush would keep the sequence of a batch that does not count yet")
	w.datagram()
	w.requireExactly(w.all())
	// The gate does not wait for the disk.
	filler := &batch{body: strings.Repeat("c0:1|c\n", 500_000)}
	var held []chan struct{}
	refused := false
	for range 64 {
		done := make(chan struct{})
		result := make(chan *ingest.Refusal, 1)
		go func() {
			defer close(done)
			_, refusal := w.ingest(filler, filler.body)
			result <- refusal
		}()
		appended := w.e.Journal.Stats().Appended
		waitFor(t, func() bool { return len(result) > 0 || w.e.Journal.Stats().Appended > appended })
		if len(result) == 0 {
			held = append(held, done)
			continue
		}
		refusal := <-result
		require.NotNil(t, refusal, "a batch was acknowledged during the stall")
		require.Contains(t, []int{429, 503}, refusal.Status)
		refused = true
		break
	}
	require.True(t, refused, "the gate lets everything in")
	select {
	case s := <-out:
		require.Fail(t, "a batch was answered during the stall", "%+v", s)
	default:
	}
	h.on.Store(false)
	h.leave <- nil
	for range batches {
		s := <-out
		require.Nil(t, s.refusal)
		w.sure = append(w.sure, s.b.events...)
		if s.b.q.Producer != "" {
			w.batches = append(w.batches, s.b)
		}
	}
	for _, done := range held {
		<-done
		w.sure = append(w.sure, event{kind: kinds["c0"], name: "c0", sec: w.now(), value: 500_000, weight: 1, more: 499_999})
	}
	w.requireExactly(w.all())
	w.clock.Advance(time.Second)
	w.tick()
	w.flush()
	require.NoError(t, w.e.Close())
	w.end()
	w.fed = [2][]event{}
	w.clock = clock.NewManual(w.clock.Now())
	w.open()
	w.replay()
	w.requireExactly(w.sure)
	require.NoError(t, w.e.Close())
}

// trial is a workload in which one operation on the disk fails, once or from then on.
type trial struct {
	*world
	fail    int64 // number of the operation, from 1
	forever bool
	ops     atomic.Int64
	op      atomic.Value // errorfs.Op that failed
	dead    chan struct{}
	mu      sync.Mutex // guards those below, and what is in the world of what was sent
	over    bool       // the engine has ended: what a step that goes on learns comes too late
	tried   [2][]event // of fed, that were in the delta that failed, or is being written
	said    []string
	refused []*batch
}

func (f *trial) inject(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
		return nil
	}
	if n := f.ops.Add(1); n == f.fail || f.forever && f.fail > 0 && n > f.fail {
		f.op.CompareAndSwap(nil, op)
		return errDisk
	}
	return nil
}

// fatal ends the process: here, whoever calls it never goes on.
func (f *trial) fatal(sentence string) {
	f.mu.Lock()
	if f.said = append(f.said, sentence); len(f.said) == 1 {
		close(f.dead)
	}
	f.mu.Unlock()
	select {} // with all the locks that it holds
}

// do runs a step, and returns false if the engine has ended.
func (f *trial) do(step func()) bool {
	done := make(chan struct{})
	go func() { defer close(done); step() }()
	select {
	case <-done:
	case <-f.dead:
		select { // who waits for the journal is told; who works on the store stays there
		case <-done:
		case <-time.After(5 * time.Millisecond):
		}
	}
	select {
	case <-f.dead:
		f.mu.Lock()
		defer f.mu.Unlock()
		f.over = true
		return false
	default:
		return true
	}
}

// note writes down what a step does or has learned, unless it is over.
func (f *trial) note(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.over {
		what()
	}
}

func (f *trial) datagram() {
	var i int
	var text string
	f.note(func() { i, text = f.newDatagram() })
	f.feed(i, text)
}

// run does the workload until the end, or until the engine ends.
func (f *trial) run() {
	opened := false
	open := func() {
		o := f.o
		o.FS, o.Clock, o.Fatal = f.fs, f.clock, f.fatal
		opened = false
		for range 2 {
			e, err := Open(o)
			if err == nil {
				f.e, opened = e, true
				break
			}
		}
		if !opened {
			return
		}
		f.feeders = nil
		for i := range f.fed {
			f.feeders = append(f.feeders, ingest.NewFeeder(f.e.Stripe(i), f.parser))
		}
		f.ready = f.e.Replay() == nil
	}
	steps := []func(){open, f.datagram, f.post, f.tickOrNot, f.post, f.flushOrNot, f.datagram, f.tickOrNot, f.flushOrNot, f.post, f.closeOrNot, open, f.datagram, f.post, f.flushOrNot, f.flushOrNot, f.post, f.datagram, f.tickOrNot}
	for i, step := range steps {
		if i > 0 && !opened {
			return
		}
		if i > 0 {
			f.clock.Advance([]time.Duration{time.Second, 0, 12 * time.Second}[i%3])
		}
		if !f.do(step) || f.e != nil && !f.ready {
			return
		}
	}
}

// post sends a new batch.
func (f *trial) post() {
	b := f.newBatch()
	f.note(func() { f.refused = append(f.refused, b) }) // as long as nobody has told
	a, refusal := f.ingest(b, b.body)
	if refusal != nil {
		require.Equal(f.t, 503, refusal.Status, refusal.Sentence)
		return
	}
	f.requireVerdict(b, a)
	f.note(func() {
		f.refused = f.refused[:len(f.refused)-1]
		f.sure = append(f.sure, b.events...)
		if b.q.Producer != "" {
			f.batches = append(f.batches, b)
		}
	})
}

func (f *trial) tickOrNot() {
	now := f.now()
	f.orNot(func(e event) bool { return e.at.Sec() == e.sec && e.sec >= now }, func() error { return f.e.Pump.Tick(now) })
}

func (f *trial) flushOrNot() {
	f.tickOrNot()
	until := f.now() - 10
	sealed := max(until, f.e.Store.Cursor().Watermark)
	f.orNot(func(e event) bool { return e.sec >= sealed }, func() error { return f.e.Pump.Flush(until) })
}

// closeOrNot ends the engine. What it could not write is lost if it says so.
func (f *trial) closeOrNot() {
	err := f.e.Close()
	f.e = nil
	if err == nil {
		f.note(func() {
			f.sure = append(append(f.sure, f.fed[0]...), f.fed[1]...)
			f.fed = [2][]event{}
		})
	}
}

// orNot does what journals datagrams: if it succeeds, they are safe. What failed once is
// tried again as it was.
func (f *trial) orNot(stays func(event) bool, do func() error) {
	f.note(func() {
		for i, list := range f.fed {
			if f.tried[i] == nil {
				f.tried[i] = slices.DeleteFunc(slices.Clone(list), stays)
			}
		}
	})
	if do() != nil {
		return
	}
	f.note(func() {
		f.tried = [2][]event{}
		for i, list := range f.fed {
			f.fed[i] = nil
			for _, e := range list {
				if stays(e) {
					f.fed[i] = append(f.fed[i], e)
				} else {
					f.sure = append(f.sure, e)
				}
			}
		}
	})
}

// TestEveryErrorOfTheDisk lets operations that change something fail in turn: every
// fifth, or each with -rapid.checks=100.
func TestEveryErrorOfTheDisk(t *testing.T) {
	count := newTrial(t, 0, false)
	count.run()
	total := count.ops.Load()
	require.Greater(t, total, int64(100))
	require.NoError(t, count.e.Close())
	every := int64(5) // the name of what fails is its number: it fails again
	if seeds(t) > 2 {
		every = 1
	}
	t.Run("all", func(t *testing.T) {
		for _, forever := range []bool{false, true} {
			for i := rand.Int64N(every); i < total; i += every {
				t.Run(fmt.Sprintf("%d-%t", i+1, forever), func(t *testing.T) {
					t.Parallel()
					newTrial(t, i+1, forever).check(t)
				})
			}
		}
	})
	leakBehindFatal()
}

func newTrial(t *testing.T, fail int64, forever bool) *trial {
	f := &trial{world: newWorld(t, rand.New(rand.NewPCG(7, 7)).IntN), fail: fail, forever: forever, dead: make(chan struct{})}
	f.o.segmentBytes, f.o.bulkRows, f.o.failGrace = 400, int(fail%2), 1
	f.fs = errorfs.Wrap(f.mem, injector(f.inject))
	return f
}

func (f *trial) check(t *testing.T) {
	defer func() {
		if t.Failed() {
			t.Logf("operation %v failed; the engine said %q", f.op.Load(), f.said)
		}
	}()
	f.run()
	percent := []int{0, 100, 50}[f.fail%3]
	left := loseSome(f.mem, percent, rand.New(rand.NewPCG(uint64(f.fail), 0)))
	if ended := !f.do(func() {}); !ended && f.e != nil {
		f.do(func() { _ = f.e.Close() }) // nobody sees what it still writes
	}
	f.mu.Lock()
	for _, s := range f.said {
		require.Greater(t, len(s), 20, "that is no sentence: %q", s)
		require.NotContains(t, s, "BUG")
	}
	refused := slices.Clone(f.refused)
	f.mu.Unlock()
	var units [][]event
	for _, b := range refused {
		units = append(units, b.events)
	}
	for i, list := range f.fed {
		tried := f.tried[i]
		rest := slices.DeleteFunc(slices.Clone(list), func(e event) bool { return slices.Contains(tried, e) })
		for _, unit := range [][]event{tried, rest} {
			if len(unit) > 0 {
				units = append(units, unit)
			}
		}
	}
	w := newWorld(t, rand.New(rand.NewPCG(8, uint64(f.fail))).IntN)
	w.mem, w.fs, w.clock = left, left, clock.NewManual(f.clock.Now().Add(time.Second))
	w.batches = f.batches
	w.open()
	w.replay()
	w.sure = w.settle(f.sure, units)
	for _, b := range refused {
		w.retry(b)
	}
	w.finish()
}
