package engine

import (
	"flag"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
	"cairn/internal/crashdisk"
	"cairn/internal/metric"
)

// image is what a loss of power at one moment leaves, and what must and may be in it.
// All else that was ever taken must not.
type image struct {
	op      errorfs.Op
	mem     *crashdisk.Disk
	at      time.Time
	sure    []event
	units   [][]event
	going   func(event) bool
	gone    int
	batches []*batch
	flying  []*batch
}

// camera takes images of a world at some of its file operations.
type camera struct {
	w      *world
	rng    *rand.Rand // guarded by the world's mu, like those below
	every  int        // about how many operations are between two images
	syncs  int        // and how many syncs
	synced int
	images []image
}

// maxImages is how many of a run are looked at: each costs some four starts, and more
// runs find more than more of one do.
const maxImages = 8

// check looks at the images.
func (c *camera) check(t *testing.T, rng *rand.Rand) {
	require.NotEmpty(t, c.images)
	rng.Shuffle(len(c.images), func(i, j int) { c.images[i], c.images[j] = c.images[j], c.images[i] })
	for _, m := range c.images[:min(len(c.images), maxImages)] {
		m.check(t, c.w.o, rng)
	}
}

// onlyWrites wraps fs so that do sees each operation that changes something, before
// it is done.
func onlyWrites(fs vfs.FS, do func(errorfs.Op)) vfs.FS {
	return errorfs.Wrap(fs, injector(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			do(op)
		}
		return nil
	}))
}

type injector func(errorfs.Op) error

func (i injector) MaybeError(op errorfs.Op) error { return i(op) }
func (i injector) String() string                 { return "test" }

func isSync(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
}

func (c *camera) look(op errorfs.Op) {
	w := c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	take := c.rng.IntN(c.every) == 0
	if isSync(op) {
		c.synced++
		take = take || c.synced%c.syncs == 0
	}
	if !take {
		return
	}
	m := image{
		op: op, mem: lose(w.mem, c.rng), at: w.clock.Now(), sure: slices.Clone(w.sure), units: slices.Clone(w.units), going: w.going, gone: w.gone,
		batches: slices.Clone(w.batches), flying: slices.Clone(w.flying),
	}
	for _, b := range m.flying {
		m.units = append(m.units, b.events)
	}
	c.images = append(c.images, m)
}

// lose returns what a loss of power leaves.
func lose(mem *crashdisk.Disk, rng *rand.Rand) *crashdisk.Disk {
	return loseSome(mem, []int{0, 30, 50, 80, 100}[rng.IntN(5)], rng)
}

// loseSome is lose, of which so many percent of what is not synced stay. Pebble makes a
// manifest, and then the marker that names it, and only then syncs their directory: it
// relies on a file system that does not keep the second and lose the first, as all with
// a journal do. An image of one that does is not taken.
func loseSome(mem *crashdisk.Disk, unsynced int, rng *rand.Rand) *crashdisk.Disk {
	for {
		left := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rng})
		if manifestIsThere(left) {
			return left
		}
	}
}

func manifestIsThere(fs *crashdisk.Disk) bool {
	names, err := fs.List("data/store")
	if err != nil {
		return true // there is no store yet
	}
	newest := ""
	for _, name := range names {
		if strings.HasPrefix(name, "marker.manifest.") {
			newest = max(newest, name)
		}
	}
	_, manifest, ok := strings.Cut(strings.TrimPrefix(newest, "marker.manifest."), ".")
	return !ok || slices.Contains(names, manifest)
}

// crashAll keeps everything that was written, synced or not.
func crashAll(seed uint64) vfs.CrashCloneCfg {
	return vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(seed, 0))}
}

// seeds is how many runs of the workload there are: as many as -rapid.checks says, or 2.
func seeds(t *testing.T) uint64 {
	n, err := strconv.ParseUint(flag.Lookup("rapid.checks").Value.String(), 10, 32)
	require.NoError(t, err)
	return max(2, n/6)
}

// TestPowerLoss loses power at random operations of a workload and at every so many
// syncs, looks at what is left, and loses power again while that is recovered.
func TestPowerLoss(t *testing.T) {
	for seed := range seeds(t) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { powerLoss(t, seed) })
	}
}

func powerLoss(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t, rng.IntN)
	if seed%4 == 0 { // where most goes on: each sum is a record, and each of them a segment, which goes soon
		w.o.segmentBytes, w.o.deltaBody, w.o.bulkRows, w.o.JournalRetention, w.o.JournalSize = 1, 1, 1, 0, 0
	}
	c := &camera{w: w, rng: rand.New(rand.NewPCG(seed, 2)), every: 60, syncs: 13}
	w.fs = onlyWrites(w.mem, c.look)
	w.open()
	w.replay()
	for range 60 {
		w.work()
	}
	w.close()
	c.look(errorfs.Op{})
	c.check(t, rng)
}

// TestPowerLossWhileAllRun is the same while several send at once, and the pump works
// beside them: what they send is synced together, and flushes cut in between.
func TestPowerLossWhileAllRun(t *testing.T) {
	for seed := range seeds(t) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { powerLossWhileAllRun(t, seed) })
	}
}

func powerLossWhileAllRun(t *testing.T, seed uint64) {
	const senders = 3
	rng := rand.New(rand.NewPCG(seed, 3))
	w := newWorld(t, rng.IntN)
	w.steady = true
	var lists [senders][]*batch
	for i := range 30 * senders {
		lists[i%senders] = append(lists[i%senders], w.newBatch())
	}
	c := &camera{w: w, rng: rand.New(rand.NewPCG(seed, 4)), every: 80, syncs: 17}
	w.fs = onlyWrites(w.mem, c.look)
	w.open()
	w.replay()
	var sending sync.WaitGroup
	for _, list := range lists {
		sending.Go(func() {
			for _, b := range list {
				w.send(b)
			}
		})
	}
	done := make(chan struct{})
	go func() { sending.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		w.datagram()
		w.clock.Advance(time.Second)
		w.tick()
		if w.pick(3) == 0 {
			w.flush()
		}
	}
	w.requireExactly(w.all())
	w.close()
	c.check(t, rng)
}

// work does one thing of the workload.
func (w *world) work() {
	switch n := w.pick(20); {
	case n < 6:
		w.datagram()
	case n < 11:
		if !w.ready {
			w.replay()
		}
		w.send(w.newBatch())
	case n < 15:
		w.clock.Advance(time.Second)
		w.tick()
	case n < 17:
		w.clock.Advance(time.Duration(w.pick(15)) * time.Second)
		w.tick()
		w.flush()
	case n < 18:
		if w.ready {
			w.delete()
		}
	default:
		w.close()
		w.restart()
	}
}

// check recovers from an image, and from what a loss of power during that leaves.
func (m *image) check(t *testing.T, o Options, rng *rand.Rand) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the image was taken before operation %v", m.op)
		}
	}()
	if rng.IntN(3) == 0 {
		garbageTail(t, m.mem, rng)
	}
	var mu sync.Mutex // guards those below
	var during *crashdisk.Disk
	countdown := 1 + rng.IntN(50)
	hookRNG := rand.New(rand.NewPCG(rng.Uint64(), 0))
	w := m.world(t, o, m.mem, rng)
	w.fs = onlyWrites(m.mem, func(errorfs.Op) {
		mu.Lock()
		defer mu.Unlock()
		if countdown--; countdown == 0 {
			during = lose(m.mem, hookRNG)
		}
	})
	w.open()
	w.replay()
	w.sure = w.settle(m.sure, m.units)
	w.going = nil
	after := lose(m.mem, rng) // nothing was flushed yet: a replay again gives the same
	w.clock.Advance(time.Duration(rng.IntN(30)) * time.Second)
	w.tick()
	w.flush()
	w.requireExactly(w.sure)
	mu.Lock()
	countdown = 0 // what is recovered is changed from now on
	mu.Unlock()
	for _, left := range []*crashdisk.Disk{during, after, lose(m.mem, rng)} {
		if left != nil {
			again := m.world(t, o, left, rng)
			again.gone = w.gone
			again.sure = w.sure
			again.recovered()
		}
	}
	for _, b := range m.flying {
		w.retry(b)
	}
	w.finish()
}

// world returns one that begins with what an image has.
func (m *image) world(t *testing.T, o Options, mem *crashdisk.Disk, rng *rand.Rand) *world {
	w := newWorld(t, rng.IntN)
	o.bulkRows = w.o.bulkRows
	w.o = o
	step := time.Duration(rng.IntN(60)-30) * time.Second
	w.clock = clock.NewManual(m.at.Add(step))
	w.mem, w.fs, w.batches = mem, mem, slices.Clone(m.batches)
	w.going, w.gone = m.going, m.gone
	return w
}

// recovered recovers a world of which is known what is in it.
func (w *world) recovered() {
	w.open()
	w.replay()
	w.requireExactly(w.sure)
	w.clock.Advance(11 * time.Second)
	w.tick()
	w.flush()
	w.requireExactly(w.sure)
	w.finish()
}

// retry sends the batch again of which nobody knows whether it counts.
func (w *world) retry(b *batch) {
	if b.q.Producer == "" {
		return
	}
	before := w.e.Pump.Stats().Accepted
	a, refusal := w.ingest(b, b.body)
	require.Nil(w.t, refusal)
	if a.Duplicate {
		require.Equal(w.t, before, w.e.Pump.Stats().Accepted)
	} else {
		again := *b
		b = &again
		b.arrive(metric.MilliOf(w.clock.Now()))
		w.sure = append(slices.Clone(w.sure), b.events...)
	}
	w.requireVerdict(b, a)
	w.batches = append(w.batches, b)
}

// garbageTail puts bytes behind the newest segment of the journal: random ones, or
// what stands elsewhere in it.
func garbageTail(t *testing.T, fs *crashdisk.Disk, rng *rand.Rand) {
	t.Helper()
	names, err := fs.List("data/journal")
	if err != nil {
		return // not yet made
	}
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		path := "data/journal/" + name
		if info, err := fs.Stat(path); err != nil || info.IsDir() || !strings.ContainsAny(name[:1], "0123456789") {
			continue
		}
		f, err := fs.Open(path)
		require.NoError(t, err)
		b, err := io.ReadAll(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		if len(b) < 100 {
			return // there is no header
		}
		tail := make([]byte, rng.IntN(3000))
		for i := range tail {
			tail[i] = byte(rng.Uint32())
		}
		if rng.IntN(2) == 0 {
			tail = slices.Clone(b[64:])
		}
		f, err = fs.Create(path, vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = f.Write(append(b, tail...))
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		require.NoError(t, f.Close())
		return
	}
}
