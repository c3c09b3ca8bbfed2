package dedupe

import (
	"encoding/binary"
	"fmt"
	"math"

	"cairn/internal/metric"
)

// Reject is an event of a batch that did not count.
type Reject struct {
	Line   uint32
	Reason metric.Reason
}

// Verdict is what was answered to a batch.
type Verdict struct {
	Hash     uint64           // of the payload
	At       metric.UnixMilli // when it came; from 0 on
	Accepted uint32
	// RejectedTotal is how many events did not count. Rejected lists them, or only
	// the first ones, or none if it is long ago. 0: as many as are listed.
	RejectedTotal uint32
	Rejected      []Reject
}

// MaxVerdict is the length of the longest encoding of a verdict, in bytes. It leaves
// room for what belongs to it in the head of a journal's record, which is 64 KiB at
// most. Over 20,000 rejected events fit in.
const MaxVerdict = 63 << 10

// formatVerdict is the first byte of a verdict:
//
//	byte     format: 01
//	8 bytes  hash, little endian
//	uvarint  Unix ms
//	uvarint  events accepted
//	uvarint  events rejected
//	for each that is listed, until the end:
//	  varint line - line of the one before, or 0
//	  byte   reason
const formatVerdict = 0x01

// headLen is the most that comes before the list.
const headLen = 1 + 8 + 3*binary.MaxVarintLen64

// maxAt bounds times: the year 287396.
const maxAt = 1<<53 - 1

// Append appends the encoding of v, at most MaxVerdict bytes: what is too much of the
// list is left out.
func (v *Verdict) Append(dst []byte) []byte {
	return appendRejects(v.appendHead(dst), v.Rejected)
}

func (v *Verdict) appendHead(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(append(dst, formatVerdict), v.Hash)
	dst = binary.AppendUvarint(dst, uint64(v.At))
	dst = binary.AppendUvarint(dst, uint64(v.Accepted))
	return binary.AppendUvarint(dst, uint64(v.total()))
}

// total is how many events were rejected, for one who has only listed them.
func (v *Verdict) total() uint32 { return max(v.RejectedTotal, uint32(len(v.Rejected))) }

// appendRejects appends those that fit in a verdict.
func appendRejects(dst []byte, list []Reject) []byte {
	begin, line := len(dst), int64(0)
	for _, r := range list {
		if len(dst)-begin > MaxVerdict-headLen-binary.MaxVarintLen64 {
			break
		}
		dst = binary.AppendVarint(dst, int64(r.Line)-line)
		dst = append(dst, byte(r.Reason))
		line = int64(r.Line)
	}
	return dst
}

func decodeRejects(b []byte) (list []Reject, err error) {
	if len(b) == 0 {
		return nil, nil
	}
	list = make([]Reject, 0, len(b)/2)
	line := int64(0)
	for at := 0; at < len(b); {
		d, n := binary.Varint(b[at:])
		if n <= 0 || d < -math.MaxUint32 || d > math.MaxUint32 || at+n == len(b) {
			return nil, fmt.Errorf("a list of %d bytes: bad entry at offset %d", len(b), at)
		}
		if line += d; line < 0 || line > math.MaxUint32 {
			return nil, fmt.Errorf("a list of %d bytes: bad line at offset %d", len(b), at)
		}
		list = append(list, Reject{uint32(line), metric.Reason(b[at+n])})
		at += n + 1
	}
	return list, nil
}

// DecodeVerdict reads the encoding of a verdict.
func DecodeVerdict(b []byte) (v Verdict, err error) {
	if len(b) < 9 || b[0] != formatVerdict {
		return v, fmt.Errorf("a verdict of %d bytes that begins with %.2x; this version reads 0x%02x", len(b), b, formatVerdict)
	}
	if len(b) > MaxVerdict {
		return v, fmt.Errorf("a verdict of %d bytes; at most %d are allowed", len(b), MaxVerdict)
	}
	v.Hash = binary.LittleEndian.Uint64(b[1:])
	at := 9
	var numbers [3]uint64
	for i, limit := range [...]uint64{maxAt, math.MaxUint32, math.MaxUint32} {
		x, n := binary.Uvarint(b[at:])
		if n <= 0 || x > limit {
			return Verdict{}, fmt.Errorf("a verdict of %d bytes: bad number at offset %d", len(b), at)
		}
		numbers[i] = x
		at += n
	}
	v.At, v.Accepted, v.RejectedTotal = metric.UnixMilli(numbers[0]), uint32(numbers[1]), uint32(numbers[2])
	if v.Rejected, err = decodeRejects(b[at:]); err != nil {
		return Verdict{}, fmt.Errorf("a verdict of %d bytes: %w", len(b), err)
	}
	if len(v.Rejected) > int(v.RejectedTotal) {
		return Verdict{}, fmt.Errorf("a verdict of %d bytes: %d events are listed of %d that were rejected", len(b), len(v.Rejected), v.RejectedTotal)
	}
	return v, nil
}
