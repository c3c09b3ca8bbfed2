package chunk

import (
	"encoding/binary"
	"fmt"
)

// reader reads columns. It remembers the first thing that is wrong and returns zeros
// from there on, so that callers check once.
type reader struct {
	src []byte
	at  int
	err error
}

func (r *reader) fail(at int, why string) {
	if r.err == nil {
		r.err = fmt.Errorf("chunk value of %d bytes: %s at offset %d", len(r.src), why, at)
	}
	r.at = len(r.src)
}

func (r *reader) left() int { return len(r.src) - r.at }

func (r *reader) byte() byte {
	if r.left() < 1 {
		r.fail(r.at, "cut short")
		return 0
	}
	r.at++
	return r.src[r.at-1]
}

// bytes returns the next n bytes, or none.
func (r *reader) bytes(n int) []byte {
	if r.left() < n {
		r.fail(r.at, "cut short")
		return nil
	}
	r.at += n
	return r.src[r.at-n : r.at]
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.src[r.at:])
	if n <= 0 {
		r.fail(r.at, "bad uvarint")
		return 0
	}
	r.at += n
	return v
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// end returns what was wrong; bytes that nobody read are wrong too.
func (r *reader) end() error {
	if r.err == nil && r.left() > 0 {
		r.fail(r.at, "trailing bytes")
	}
	return r.err
}
