package journal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/golang/snappy"

	"cairn/internal/mutant"
)

// readAhead is how much of a segment is read at a time.
const readAhead = 1 << 20

// maxSegment is where the offsets of a position end.
const maxSegment = 1<<32 - 1

// window reads a file from front to back.
type window struct {
	file vfs.File
	path string
	size int64
	at   int64 // of buf in the file
	buf  []byte
}

// bytes returns n bytes at off, or what there is of them.
func (w *window) bytes(off, n int64) ([]byte, error) {
	n = max(0, min(n, w.size-off))
	if n == 0 {
		return nil, nil
	}
	if off < w.at || off+n > w.at+int64(len(w.buf)) {
		want := min(max(n, readAhead), w.size-off)
		if int64(cap(w.buf)) < want {
			w.buf = make([]byte, want) // not more than the file has
		}
		w.buf, w.at = w.buf[:want], off
		got, err := w.file.ReadAt(w.buf, off)
		if err != nil && !(errors.Is(err, io.EOF) && int64(got) == want) {
			w.buf = w.buf[:0]
			return nil, fmt.Errorf("read %s at offset %d: %w; if the disk is failing, copy the file elsewhere before anything else", w.path, off, err)
		}
	}
	return w.buf[off-w.at:][:n], nil
}

// scanner reads one segment.
type scanner struct {
	window
	header
	readable bool // the header is
	salted   bool // salt is known: from the header, or else from the first record
	synced   int64
	plain    []byte // decoded body
}

// scan opens the segment number for reading and reads its header.
func scan(fsys vfs.FS, dir string, number uint32) (*scanner, error) {
	path := fsys.PathJoin(dir, segmentName(number))
	f, err := fsys.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return nil, fmt.Errorf("open a segment of the journal: %w", err)
	}
	s := &scanner{window: window{file: f, path: path}}
	if err := s.readHeader(number); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

func (s *scanner) readHeader(number uint32) error {
	info, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("read a segment of the journal: %w", err)
	}
	s.size = min(info.Size(), maxSegment)
	b, err := s.bytes(0, headerLen+frameLen)
	if err != nil {
		return err
	}
	if s.header, s.readable, err = decodeHeader(b, number); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	if s.salted = s.readable; !s.salted && len(b) == headerLen+frameLen {
		first := salt(b[headerLen:])
		if _, ok := decodeFrame(b[headerLen:], first, number, headerLen); ok {
			s.header.salt, s.salted = first, true
		}
	}
	return nil
}

func (s *scanner) close() error { return s.file.Close() }

// frame reads the one at off; false: there is none, or it does not end before limit.
func (s *scanner) frame(off, limit int64) (frame, bool, error) {
	b, err := s.bytes(off, frameLen)
	if err != nil || !s.salted {
		return frame{}, false, err
	}
	f, ok := decodeFrame(b, s.salt, s.number, off)
	if ok {
		s.synced = max(s.synced, min(f.synced, off))
	}
	return f, ok && off+f.size() <= min(limit, s.size), nil
}

// content reads head and stored body of the record at off; false: they are damaged.
func (s *scanner) content(off int64, f frame) (head, body []byte, ok bool, err error) {
	b, err := s.bytes(off+frameLen, f.size()-frameLen)
	if err != nil || crc32.Checksum(b, castagnoli) != f.body && !mutant.On("body-not-checked") {
		return nil, nil, false, err
	}
	return b[:f.heads], b[f.heads:], true, nil
}

// decode returns the body; false: it is damaged, although its checksum is right.
func (s *scanner) decode(stored []byte) ([]byte, bool) {
	n, err := snappy.DecodedLen(stored)
	if err != nil || n > MaxBody {
		return nil, false
	}
	if cap(s.plain) < n {
		s.plain = make([]byte, n)
	}
	plain, err := snappy.Decode(s.plain[:n], stored)
	return plain, err == nil
}

// next looks for a frame from off on, and returns limit if there is none.
func (s *scanner) next(off, limit int64) (int64, error) {
	limit = max(off, limit)
	end := min(limit, s.size)
	for s.salted && off+frameLen <= end {
		b, err := s.bytes(off, min(readAhead, end-off))
		if err != nil {
			return 0, err
		}
		i := bytes.Index(b, s.salt[:])
		if i < 0 {
			off += int64(len(b)) - int64(len(s.salt)) + 1
			continue
		}
		off += int64(i)
		if _, ok, err := s.frame(off, end); ok || err != nil {
			return off, err
		}
		off++
	}
	return limit, nil
}

// walk calls record for each readable record of the segment before limit, and bad for
// each stretch between them that is not.
func (s *scanner) walk(limit int64, record func(off int64, f frame, head, stored []byte) (ok bool, err error), bad func(off, end int64) error) error {
	off, begin := int64(headerLen), int64(-1) // begin: of the bad stretch
	for off < limit {
		f, ok, err := s.frame(off, limit)
		var head, stored []byte
		if ok {
			head, stored, ok, err = s.content(off, f)
		}
		if err != nil {
			return err
		}
		if ok && begin >= 0 {
			if err := bad(begin, off); err != nil {
				return err
			}
			begin = -1
		}
		if ok {
			if ok, err = record(off, f, head, stored); err != nil {
				return err
			}
		}
		if ok {
			off += f.size()
			continue
		}
		if begin < 0 {
			begin = off
		}
		if off, err = s.next(off+1, limit); err != nil {
			return err
		}
	}
	if begin >= 0 {
		return bad(begin, limit)
	}
	return nil
}
