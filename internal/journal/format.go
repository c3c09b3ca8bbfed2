package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/golang/snappy"

	"cairn/internal/metric"
)

const (
	magic     = "cairnwal"
	version   = 1
	headerLen = 64
	frameLen  = 56 // of a record, before its head
	suffix    = ".wal"

	// MaxHead bounds what a record stores uncompressed.
	MaxHead = 64 << 10
	// MaxBody bounds a record's body, decoded: twice the largest batch that HTTP
	// takes.
	MaxBody = 64 << 20
)

// kindSeal is the kind of the journal's own record.
const kindSeal Kind = 0

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	// maxStored bounds a body as it is stored.
	maxStored = snappy.MaxEncodedLen(MaxBody)
)

// Pos is the position of a record: of its first byte. Positions are ordered.
type Pos uint64

func posOf(segment uint32, offset int64) Pos { return Pos(segment)<<32 | Pos(offset) }

func (p Pos) segment() uint32 { return uint32(p >> 32) }
func (p Pos) offset() int64   { return int64(uint32(p)) }

// String names segment and offset.
func (p Pos) String() string { return fmt.Sprintf("%d:%d", p.segment(), p.offset()) }

// Kind says what a record is; the caller chooses, from 1 on.
type Kind uint8

// Record is what is appended and read. A reader may use it until its visit returns.
type Record struct {
	Kind   Kind
	Head   []byte         // at most MaxHead; stored as it is
	Body   []byte         // at most MaxBody; stored compressed
	Packed bool           // to Append: Body is compressed already, and known to be valid; readers get it decoded
	Events uint64         // accepted events in it
	Last   metric.UnixSec // the latest second of any of them; 0: none
}

type salt [8]byte

// header is that of a segment.
type header struct {
	number  uint32
	salt    salt
	epoch   uint64
	created metric.UnixSec
	prev    Pos // where the segment before it ends; 0: none
	base    uint64
}

func (h *header) append(b []byte) []byte {
	at := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, h.number)
	b = append(b, h.salt[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.epoch)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.created))
	b = binary.LittleEndian.AppendUint32(b, h.prev.segment())
	b = binary.LittleEndian.AppendUint32(b, uint32(h.prev.offset()))
	b = binary.LittleEndian.AppendUint64(b, h.base)
	b = append(b, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// decodeHeader returns false if b is no header of the segment number. A version that
// is too new is an error.
func decodeHeader(b []byte, number uint32) (h header, ok bool, err error) {
	if len(b) < headerLen || string(b[:8]) != magic {
		return header{number: number}, false, nil
	}
	le := binary.LittleEndian
	if le.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli) || le.Uint32(b[12:]) != number {
		return header{number: number}, false, nil
	}
	if v := le.Uint32(b[8:]); v != version {
		return header{}, false, fmt.Errorf("it has format %d and this version of cairn reads format %d; use the version that wrote it, or a newer one", v, version)
	}
	h = header{
		number: number, salt: salt(b[16:24]), epoch: le.Uint64(b[24:]), created: metric.UnixSec(le.Uint64(b[32:])),
		prev: posOf(le.Uint32(b[40:]), int64(le.Uint32(b[44:]))), base: le.Uint64(b[48:]),
	}
	return h, h.prev.segment() < number, nil
}

// frame is what stands before a record's head.
type frame struct {
	body   uint32 // CRC of head and body
	kind   Kind
	heads  int // lengths
	bodies int
	synced int64
	events uint64
	last   metric.UnixSec
	total  uint64
}

func (f *frame) size() int64 { return frameLen + int64(f.heads) + int64(f.bodies) }

// put writes the frame of the record at offset into b.
func (f *frame) put(b []byte, s salt, segment uint32, offset int64) {
	_ = b[frameLen-1]
	le := binary.LittleEndian
	copy(b, s[:])
	le.PutUint32(b[12:], f.body)
	le.PutUint32(b[16:], uint32(f.kind))
	le.PutUint32(b[20:], uint32(f.heads))
	le.PutUint32(b[24:], uint32(f.bodies))
	le.PutUint32(b[28:], uint32(f.synced))
	le.PutUint64(b[32:], f.events)
	le.PutUint64(b[40:], uint64(f.last))
	le.PutUint64(b[48:], f.total)
	le.PutUint32(b[8:], frameCRC(b, segment, offset))
}

func frameCRC(b []byte, segment uint32, offset int64) uint32 {
	var place [8]byte
	binary.LittleEndian.PutUint32(place[:], segment)
	binary.LittleEndian.PutUint32(place[4:], uint32(offset))
	c := crc32.Update(0, castagnoli, place[:])
	c = crc32.Update(c, castagnoli, b[:8])
	return crc32.Update(c, castagnoli, b[12:frameLen])
}

// decodeFrame returns false if b does not begin with the frame of a record at offset.
func decodeFrame(b []byte, s salt, segment uint32, offset int64) (f frame, ok bool) {
	le := binary.LittleEndian
	if len(b) < frameLen || salt(b[:8]) != s || le.Uint32(b[8:]) != frameCRC(b, segment, offset) {
		return f, false
	}
	kind, heads, bodies := le.Uint32(b[16:]), le.Uint32(b[20:]), le.Uint32(b[24:])
	if kind > 255 || heads > MaxHead || int64(bodies) > int64(maxStored) {
		return f, false
	}
	f = frame{
		body: le.Uint32(b[12:]), kind: Kind(kind), heads: int(heads), bodies: int(bodies),
		synced: int64(le.Uint32(b[28:])), events: le.Uint64(b[32:]), last: metric.UnixSec(le.Uint64(b[40:])), total: le.Uint64(b[48:]),
	}
	return f, f.events <= f.total
}

// encode returns the record behind a gap for its frame. What it costs is paid
// outside of any lock.
func encode(dst []byte, r *Record) ([]byte, frame, error) {
	f := frame{kind: r.Kind, heads: len(r.Head), events: r.Events, last: r.Last}
	if r.Kind == kindSeal {
		panic("BUG: kind 0 is the journal's own")
	}
	n := len(r.Body)
	if r.Packed {
		var err error
		if n, err = snappy.DecodedLen(r.Body); err != nil {
			return nil, f, fmt.Errorf("append to the journal: a body that is said to be compressed is not: %w", err)
		}
	}
	if len(r.Head) > MaxHead || n > MaxBody {
		return nil, f, fmt.Errorf("append to the journal: a record has a head of %d bytes and a body of %d; %d and %d are allowed", len(r.Head), n, MaxHead, MaxBody)
	}
	dst = append(dst[:0], make([]byte, frameLen)...)
	dst = append(dst, r.Head...)
	if r.Packed {
		dst = append(dst, r.Body...)
	} else {
		at := len(dst)
		dst = append(dst, make([]byte, snappy.MaxEncodedLen(len(r.Body)))...)
		dst = dst[:at+len(snappy.Encode(dst[at:], r.Body))]
	}
	f.bodies = len(dst) - frameLen - f.heads
	f.body = crc32.Checksum(dst[frameLen:], castagnoli)
	return dst, f, nil
}

func segmentName(number uint32) string { return fmt.Sprintf("%010d%s", number, suffix) }

// parseName returns false if name is not that of a segment.
func parseName(name string) (number uint32, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 10 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err == nil && n > 0
}
