package journal

import (
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"cairn/internal/crashdisk"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// history is what a run of a log knows at any moment: which records must be there
// after a crash, and which must not. All others may.
type history struct {
	mu    sync.Mutex // guards all
	acked map[int]Pos
	never map[int]bool
	from  Pos // what lies before was released
}

type image struct {
	fs    *crashdisk.Disk
	op    errorfs.Op
	must  []int
	never map[int]bool
	from  Pos
}

// take makes an image of what a power loss at this moment could leave.
func (h *history) take(fs *crashdisk.Disk, op errorfs.Op, rng *rand.Rand) image {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := image{op: op, from: h.from, never: map[int]bool{}}
	for i, p := range h.acked {
		if p >= h.from {
			m.must = append(m.must, i)
		}
	}
	slices.Sort(m.must)
	for i := range h.never {
		m.never[i] = true
	}
	m.fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 30, 50, 80, 100}[rng.IntN(5)], RNG: rng})
	return m
}

// TestCrashAnywhere loses power before every third operation of a log that also has
// errors of the disk, and looks at what is left, with and without a garbage tail.
func TestCrashAnywhere(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(strconv.Itoa(int(seed)), func(t *testing.T) { crashAnywhere(t, seed) })
	}
}

func crashAnywhere(t *testing.T, seed uint64) {
	rng, hookRNG := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
	mem := crashdisk.New()
	h := &history{acked: map[int]Pos{}, never: map[int]bool{}}
	var images []image
	var mu sync.Mutex // guards images and hookRNG
	ops := 0
	o := options(hooked(mem, func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if ops++; ops%3 == 0 {
			images = append(images, h.take(mem, op, hookRNG))
		}
		failing := op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpOpenDir
		if failing && strings.Contains(op.Path, suffix) && hookRNG.IntN(20) == 0 {
			return errDisk
		}
		return nil
	}))
	o.SegmentBytes, o.Retention = 20_000, 0
	l := open(t, o)
	waiting := map[int]*Ticket{}
	settle := func() {
		for i, ticket := range waiting {
			err := ticket.Wait()
			h.mu.Lock()
			if err == nil {
				h.acked[i] = ticket.Pos()
			} else {
				h.never[i] = true
			}
			h.mu.Unlock()
		}
		clear(waiting)
	}
	for i := range 400 {
		waiting[i] = l.Append(sized(i, rng.IntN(6000)))
		switch rng.IntN(12) {
		case 0, 1, 2, 3:
			settle()
		case 4:
			l.Roll()
		case 5:
			settle()
			if p, ok := h.acked[i-rng.IntN(20)]; ok && p > h.from {
				h.mu.Lock()
				h.from = p
				h.mu.Unlock()
				require.NoError(t, l.Release(p))
			}
		}
	}
	settle()
	require.NoError(t, l.Close())
	images = append(images, h.take(mem, errorfs.Op{}, rng))
	require.Greater(t, len(images), 100)
	require.NotEmpty(t, h.never)
	for _, m := range images {
		m.check(t, rng)
	}
}

// sized is a record that says which one it is, of n bytes that do not compress.
func sized(i, n int) *Record {
	rng := rand.New(rand.NewPCG(uint64(i), 9))
	b := make([]byte, n)
	for j := range b {
		b[j] = byte(rng.Uint32())
	}
	return &Record{Kind: 2, Head: []byte(strconv.Itoa(i)), Body: b, Events: uint64(i)}
}

func (m image) check(t *testing.T, rng *rand.Rand) {
	t.Helper()
	if rng.IntN(2) == 0 {
		garbageTail(t, m.fs, rng)
	}
	o := options(m.fs)
	o.After = m.from
	l := open(t, o)
	got := m.replay(t, l)
	set := map[int]bool{}
	for _, i := range got {
		require.False(t, set[i], "record %d came twice", i)
		set[i] = true
		require.False(t, m.never[i], "record %d was refused, and is back after a crash at %v", i, m.op)
	}
	for _, i := range m.must {
		require.True(t, set[i], "record %d was acknowledged, and is gone after a crash at %v", i, m.op)
	}
	require.True(t, slices.IsSorted(got))
	// It goes on from there, and stays.
	p := add(t, l, sized(1000, 10))
	require.Greater(t, p, m.from)
	require.NoError(t, l.Close())
	l = open(t, o)
	require.Equal(t, append(got, 1000), m.replay(t, l), "after a crash at %v", m.op)
	require.NoError(t, l.Close())
}

func (m image) replay(t *testing.T, l *Log) (got []int) {
	t.Helper()
	sum := uint64(0)
	r, err := l.Replay(m.from, func(_ Pos, r *Record) error {
		i, err := strconv.Atoi(string(r.Head))
		require.NoError(t, err)
		require.Equal(t, sized(i, len(r.Body)).Body, slices.Clone(r.Body))
		got = append(got, i)
		sum += uint64(i)
		return nil
	})
	require.NoError(t, err)
	require.Empty(t, r.Damage, "after a crash at %v", m.op)
	require.Equal(t, sum, r.Events)
	if len(got) > 0 {
		require.Equal(t, r.Base+sum, r.Total)
	}
	return got
}

// garbageTail puts bytes behind the newest segment: random ones, or what stands
// elsewhere in it.
func garbageTail(t *testing.T, fs *crashdisk.Disk, rng *rand.Rand) {
	t.Helper()
	names, err := fs.List("data/journal")
	if err != nil {
		return // not yet made
	}
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		if _, ok := parseName(name); !ok {
			continue
		}
		path := "data/journal/" + name
		b := readFile(t, fs, path)
		tail := make([]byte, rng.IntN(3000))
		for i := range tail {
			tail[i] = byte(rng.Uint32())
		}
		if rng.IntN(2) == 0 && len(b) > headerLen {
			tail = b[headerLen:]
		}
		if len(b) >= headerLen {
			writeFile(t, fs, path, append(b, tail...))
		}
		return
	}
}

func readFile(t testing.TB, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	require.NoError(t, err)
	b, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return b
}

func writeFile(t testing.TB, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write(slices.Clone(b)) // it may change what it is given
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
}
