package ingest

import (
	"encoding/binary"
	"fmt"
	"math"

	"cairn/agg"
	"cairn/internal/metric"
)

// A structured key is that of an event which did not come as a line: its name is
// canonical and its limits are checked. Instead of a line's fields it has
//
//	byte     structuredMark
//	byte     kind; 0x80 is added if a weight follows
//	8 bytes  numerator of the weight, as float64, little endian  } only if it
//	8 bytes  denominator                                         } is not 1
//	...      Tagset, to the end
//
// No line has such a key: split refuses a type that begins with structuredMark.
const (
	structuredMark = 0
	weighted       = 0x80
	// maxKey is the longest name or rest: what fits in the lengths of an agg.Raw.
	maxKey = math.MaxUint16
)

// appendStructured appends the rest of a structured key up to its Tagset.
func appendStructured(dst []byte, k metric.Kind, w agg.Weight) []byte {
	if w == (agg.Weight{Num: 1, Den: 1}) {
		return append(dst, structuredMark, byte(k))
	}
	dst = append(dst, structuredMark, byte(k)|weighted)
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(w.Num))
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(w.Den))
}

// cutStructured reads the rest of a structured key.
func cutStructured(rest []byte) (k metric.Kind, w agg.Weight, tags metric.Tagset, err error) {
	bad := func(what string) (metric.Kind, agg.Weight, metric.Tagset, error) {
		return 0, agg.Weight{}, "", fmt.Errorf("a key of %d bytes has %s", len(rest), what)
	}
	if len(rest) < 2 || rest[0] != structuredMark {
		return bad("no kind")
	}
	k, w = metric.Kind(rest[1]&^weighted), agg.Weight{Num: 1, Den: 1}
	list := rest[2:]
	if rest[1]&weighted != 0 {
		if len(list) < 16 {
			return bad("a weight that is cut off")
		}
		w.Num = math.Float64frombits(binary.LittleEndian.Uint64(list))
		w.Den = math.Float64frombits(binary.LittleEndian.Uint64(list[8:]))
		list = list[16:]
	}
	// A weight is 1 divided by a rate above 0 and up to 1.
	if !k.Valid() || !(w.Den > 0 && w.Num >= w.Den && w.Num <= math.MaxFloat64) {
		return bad("a kind or weight that is none")
	}
	tags, err = metric.DecodeTagset(list)
	return k, w, tags, err
}

func resolveStructured(name, rest []byte) agg.Resolution {
	k, w, tags, err := cutStructured(rest)
	if err != nil {
		panic("BUG: " + err.Error()) // we made it, or checked it when it was read
	}
	return agg.Resolution{Series: metric.Series{ID: metric.ID{Name: string(name), Kind: k}, Tags: tags}, Weight: w}
}
