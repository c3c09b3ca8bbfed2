package chunk

import (
	"encoding/binary"

	"github.com/klauspost/compress/huff0"
)

// How a plane is stored.
const (
	planeRaw = iota
	planeSame
	planeHuff1
	planeHuff4
)

// fourStreams is how many bytes a plane has for its code to be in four streams, which
// decode several times as fast and take some ten bytes more.
const fourStreams = 1024

func allEqual(p []byte) bool {
	for _, b := range p {
		if b != p[0] {
			return false
		}
	}
	return true
}

func (e *encoder) appendPlane(dst, p []byte) []byte {
	if len(p) == 0 {
		return dst
	}
	if allEqual(p) {
		return append(dst, planeSame, p[0])
	}
	mode, compress := byte(planeHuff1), huff0.Compress1X
	if len(p) >= fourStreams {
		mode, compress = planeHuff4, huff0.Compress4X
	}
	if len(p) >= minHuff {
		e.huff.Reuse = huff0.ReusePolicyNone
		out, _, err := compress(p, &e.huff)
		if err == nil && len(out)+2 < len(p) {
			dst = append(dst, mode)
			dst = binary.AppendUvarint(dst, uint64(len(out)))
			return append(dst, out...)
		}
	}
	return append(append(dst, planeRaw), p...)
}

// minHuff is how many bytes a plane has for a code to be tried: its table alone takes some.
const minHuff = 12

// plane decodes a plane of n bytes into dst, which has the room.
func (d *Decoder) plane(r *reader, n int, dst []byte) []byte {
	dst = dst[:n]
	if n == 0 {
		return dst
	}
	begin := r.at
	switch mode := r.byte(); mode {
	case planeRaw:
		copy(dst, r.bytes(n))
	case planeSame:
		b := r.byte()
		for i := range dst {
			dst[i] = b
		}
	case planeHuff1, planeHuff4:
		begin = r.at
		size := r.uvarint()
		if size > uint64(r.left()) {
			r.fail(begin, "a length beyond the end")
			break
		}
		if src := r.bytes(int(size)); r.err == nil && !d.huffman(src, dst, mode) {
			r.fail(begin, "a code that does not decode")
		}
	default:
		r.fail(begin, "an unknown form of a plane")
	}
	return dst
}

// huffman decodes all of dst.
func (d *Decoder) huffman(src, dst []byte, mode byte) bool {
	_, rest, err := huff0.ReadTable(src, &d.huff)
	if err != nil {
		return false
	}
	if d.coder == nil {
		d.coder = d.huff.Decoder()
	}
	*d.coder = *d.huff.Decoder()
	var out []byte
	n := len(dst)
	if mode == planeHuff4 {
		out, err = d.coder.Decompress4X(dst[:n:n], rest)
	} else {
		out, err = d.coder.Decompress1X(dst[:0:n], rest)
	}
	return err == nil && len(out) == n
}
