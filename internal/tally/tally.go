// Package tally keeps counters in a mapped file, so that they outlive the process
// that counts, however it ends.
//
// In come stores to memory, a few an incoming batch; out goes, at the next start,
// how many events each stripe of the run before had accepted, and how many of them
// were in the journal. The difference is what a crash has lost. Nothing durable
// depends on the file: a power cut may set it back, and then the loss is told as
// "at least". It is the one file that does not go through vfs.FS, because it must
// be mapped.
//
//	offset 0   8 bytes   magic "cairntly"
//	8          8 bytes   run: the number of the process's run
//	16         16 bytes  boot: the kernel's boot id, 0 if it has none
//	32         8 bytes   cells
//	64         64 bytes  for each cell: accepted, kept (8 bytes each), zeros
//
// All numbers are little endian. A cell is a cache line, so that two readers do
// not write to the same one.
package tally

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unsafe"
)

const (
	magic    = "cairntly"
	headSize = 64
	cellSize = 64
	maxCells = 1 << 16
	suffix   = ".tally"
	prefix   = "run-"
)

// Cell is what one stripe counts. It is written with atomic stores.
type Cell struct{ Accepted, Kept uint64 }

// Run is what a run of the process left.
type Run struct {
	Run   uint64
	Cells []Cell
	// SameBoot says that the machine has not been restarted since, so that the
	// figures are those of the last instant.
	SameBoot bool
	path     string
}

// File is the one of the present run.
type File struct {
	mem  []byte
	n    int
	path string
}

// Create makes the file of a run with n cells in dir.
func Create(dir string, run uint64, n int) (*File, error) {
	if n < 0 || n > maxCells {
		panic(fmt.Sprintf("BUG: %d cells", n))
	}
	f := &File{n: n, path: filepath.Join(dir, prefix+strconv.FormatUint(run, 10)+suffix)}
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a tally: %w", err)
	}
	defer file.Close()
	head := make([]byte, headSize+n*cellSize) // written, not only extended: a store to a hole can find the disk full
	copy(head, magic)
	binary.LittleEndian.PutUint64(head[8:], run)
	boot := bootID()
	copy(head[16:], boot[:])
	binary.LittleEndian.PutUint64(head[32:], uint64(n))
	_, err = file.Write(head)
	if err == nil {
		f.mem, err = mapFile(file, len(head))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a tally: %w", err), os.Remove(f.path))
	}
	return f, nil
}

// Cell returns cell i. It is good until Close.
func (f *File) Cell(i int) *Cell {
	if i < 0 || i >= f.n {
		panic(fmt.Sprintf("BUG: cell %d of %d", i, f.n))
	}
	return (*Cell)(unsafe.Pointer(&f.mem[headSize+i*cellSize])) // mapped at a page, so aligned
}

// Close gives up the cells and removes the file: a run that ends in order has lost
// nothing.
func (f *File) Close() error {
	return errors.Join(unmap(f.mem), os.Remove(f.path))
}

// Runs reads what earlier runs left in dir, the oldest first. What is no tally any
// more is left out: it tells nothing.
func Runs(dir string) ([]Run, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for tallies: %w", err)
	}
	var out []Run
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read a tally: %w", err)
		}
		r := decode(b)
		r.path = path
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Run) int { return cmp.Compare(a.Run, b.Run) })
	return out, nil
}

func decode(b []byte) (r Run) {
	if len(b) < headSize || string(b[:8]) != magic {
		return r
	}
	n := binary.LittleEndian.Uint64(b[32:])
	if n > maxCells || uint64(len(b)) < headSize+n*cellSize {
		return r
	}
	r.Run = binary.LittleEndian.Uint64(b[8:])
	boot := bootID()
	r.SameBoot = boot != [16]byte{} && string(boot[:]) == string(b[16:32])
	for i := range n {
		c := b[headSize+i*cellSize:]
		r.Cells = append(r.Cells, Cell{binary.LittleEndian.Uint64(c), binary.LittleEndian.Uint64(c[8:])})
	}
	return r
}

// Remove removes the file of a run, once its loss is accounted for.
func (r *Run) Remove() error {
	if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a tally: %w", err)
	}
	return nil
}
