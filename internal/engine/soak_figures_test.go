package engine

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// figuresOfHour are what must not grow.
type figuresOfHour struct {
	hour           int
	store, journal int64 // bytes
	storeFiles     int
	journalFiles   int
	index          int // series in the store's index
	held           int // series that some tier is to hold something of

	goroutines  int
	descriptors int // 0: not known
	handles     int // series that the process knows; it forgets none until it ends

	heap int64 // bytes of the engine that ended in this hour, in order; 0: none did
}

// take looks after the pass of a full hour.
func (s *soak) take(hour int) {
	f := figuresOfHour{hour: hour, held: s.oracle.numberHeld()}
	fs := s.fs
	if fs == nil {
		fs = vfs.Default
	}
	f.store, f.storeFiles = measure(s.t, fs, fs.PathJoin(s.dir, "store"))
	f.journal, f.journalFiles = measure(s.t, fs, fs.PathJoin(s.dir, "journal"))
	f.goroutines, f.handles = runtime.NumGoroutine(), s.e.Agg.Registry.Len()
	if list, err := os.ReadDir("/proc/self/fd"); err == nil {
		f.descriptors = len(list)
	}
	series, files := measure(s.t, fs, fs.PathJoin(s.dir, "journal", "series"))
	f.journal, f.journalFiles = f.journal+series, f.journalFiles+files
	f.index = s.indexed()
	s.taken = append(s.taken, f)
}

// indexed is how many series the store's index has.
func (s *soak) indexed() (n int) {
	for _, m := range s.e.Store.Metrics() {
		n += m.Series
	}
	return n
}

// closeAndWeigh ends the engine in order, and finds out how much memory that gives back:
// what the test itself keeps is not the engine's.
func (s *soak) closeAndWeigh() {
	before := heapInUse()
	require.NoError(s.t, s.e.Close())
	s.e, s.feeders = nil, nil
	if len(s.taken) > 0 {
		s.taken[len(s.taken)-1].heap = before - heapInUse()
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func (f *figuresOfHour) String() string {
	return fmt.Sprintf("store %d KiB in %d files, journal %d KiB in %d, series %d in the index and %d held; goroutines %d, descriptors %d, handles %d",
		f.store>>10, f.storeFiles, f.journal>>10, f.journalFiles, f.index, f.held, f.goroutines, f.descriptors, f.handles)
}

// measure adds up the files of one directory. Pebble may remove some meanwhile.
func measure(t require.TestingT, fs vfs.FS, dir string) (bytes int64, files int) {
	names, err := fs.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		info, err := fs.Stat(fs.PathJoin(dir, name))
		if err == nil && !info.IsDir() {
			bytes, files = bytes+info.Size(), files+1
		}
	}
	return bytes, files
}

// requireFlat compares the last third of the run with the third before it: by then
// every tier but the coarsest has reached its retention.
func (s *soak) requireFlat() {
	third := len(s.taken) / 3
	before, last := s.taken[third:2*third], s.taken[2*third:]
	flat := func(what string, grow float64, slack int64, of func(f *figuresOfHour) int64) {
		was, is := most(before, of), most(last, of)
		require.LessOrEqual(s.t, float64(is), float64(was)*grow+float64(slack), "%s grew from %d to %d; seed %d", what, was, is, s.shape.seed)
	}
	// The coarsest tier is one partition of a month, which grows until it goes; it is
	// a few per cent of the whole.
	flat("the store", 1.25, 64<<10, func(f *figuresOfHour) int64 { return f.store })
	flat("the journal", 1.25, 64<<10, func(f *figuresOfHour) int64 { return f.journal })
	flat("the number of the store's files", 1.25, 8, func(f *figuresOfHour) int64 { return int64(f.storeFiles) })
	flat("the number of the journal's files", 1, 2, func(f *figuresOfHour) int64 { return int64(f.journalFiles) })
	// Some buffers are pooled or not as it happens: 1 MiB of keys for each of four stripes,
	// and the store's of 1 MiB and more.
	heap := func(f *figuresOfHour) int64 { return f.heap }
	require.NotZero(s.t, most(before, heap), "no restart weighed an engine in the middle third: there is nothing to compare with")
	flat("the heap of an engine", 1.25, 8<<20, heap)
	flat("the number of goroutines", 1, 4, func(f *figuresOfHour) int64 { return int64(f.goroutines) })
	flat("the number of descriptors", 1.25, 8, func(f *figuresOfHour) int64 { return int64(f.descriptors) })
}

func most(list []figuresOfHour, of func(f *figuresOfHour) int64) (n int64) {
	for i := range list {
		n = max(n, of(&list[i]))
	}
	return n
}

// table prints the curve: of each day the least and the most.
func (s *soak) table(took time.Duration) {
	var b strings.Builder
	fmt.Fprintf(&b, "%d days with seed %d in %s: %d events, %d restarts (%d of them crashes), %d buckets compared, %d events expired\n",
		s.shape.days, s.shape.seed, took.Round(time.Second), s.sent, s.restarts, s.crashes, s.agreed, s.oracle.expired)
	fmt.Fprintf(&b, "%4s %19s %12s %6s %13s %9s %11s %12s\n", "day", "store KiB", "journal KiB", "files", "index (held)", "heap KiB", "goroutines", "descriptors")
	heap := int64(0)
	for day := range slices.Chunk(s.taken, 24) {
		low, high := day[0].store, day[0].store
		for i := range day {
			low, high = min(low, day[i].store), max(high, day[i].store)
			heap = cmp.Or(day[i].heap, heap) // the last that was weighed
		}
		f := day[len(day)-1]
		fmt.Fprintf(&b, "%4d %8d - %8d %12d %6d %6d (%4d) %9d %11d %12d\n", f.hour/24, low>>10, high>>10,
			f.journal>>10, f.storeFiles+f.journalFiles, f.index, f.held, heap>>10, f.goroutines, f.descriptors)
	}
	s.t.Log(b.String())
}
