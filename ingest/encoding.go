package ingest

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

const (
	// MaxWire is how large a batch may be as it is sent: at the rates that one host
	// can count, more would be seconds of events, and a batch is lost or kept as one.
	MaxWire = 4 << 20
	// MaxDecoded is how large it may be once it is decoded: lines compress to an
	// eighth or less, so that the limit on the wire is the one that is met first.
	MaxDecoded = 32 << 20
	// zstdAtOnce bounds the zstd frames being decoded: each may take MaxDecoded before
	// anybody knows how much it needs.
	zstdAtOnce = 2
	// maxKept is the largest buffer that is kept for the next batch; larger ones are
	// rare, and would stay in memory for ever.
	maxKept = 1 << 20
	// firstRead is how much room a body gets before anything of it has come.
	firstRead = 64 << 10
)

// framedSnappy begins a body in snappy's framing format, and cannot begin one in
// its block format that is worth sending: it would be a block of 895 bytes.
// https://github.com/google/snappy/blob/main/framing_format.txt
const framedSnappy = "\xff\x06\x00\x00sNaPpY"

// encoding is one of the encodings that a body may have.
type encoding uint8

const (
	identity encoding = iota
	snappyBlock
	gzipStream
	zstdFrames
	deflateStream
)

const encodings = "snappy, gzip, zstd, deflate or identity"

// parseEncoding reads a Content-Encoding header.
func parseEncoding(header string) (encoding, *Refusal) {
	switch strings.ToLower(strings.TrimSpace(header)) {
	case "", "identity":
		return identity, nil
	case "snappy", "x-snappy":
		return snappyBlock, nil
	case "gzip", "x-gzip":
		return gzipStream, nil
	case "zstd":
		return zstdFrames, nil
	case "deflate":
		return deflateStream, nil
	}
	return 0, refuse(statusUnknownType, "Content-Encoding %q is not one of %s", cutSample(header), encodings)
}

// decoders decodes bodies. What it keeps for the next body is given back by
// the garbage collector. It is safe for concurrent use.
type decoders struct {
	gzips, zlibs, flates sync.Pool
	zstd                 *zstd.Decoder // its DecodeAll may be called by several
}

func newDecoders() *decoders {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(zstdAtOnce), zstd.WithDecoderMaxMemory(MaxDecoded), zstd.WithDecoderLowmem(true))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return &decoders{zstd: d}
}

func (d *decoders) close() { d.zstd.Close() }

// decode appends what wire holds to dst, which is empty. take is asked before
// memory is taken, for how many bytes more; what it refuses ends the decoding.
func (d *decoders) decode(dst []byte, as encoding, wire []byte, take func(int) *Refusal) ([]byte, *Refusal) {
	switch as {
	case snappyBlock:
		if isFramed(wire) {
			return drainStream(dst, snappy.NewReader(bytes.NewReader(wire)), "snappy (framing format)", take)
		}
		return decodeSnappy(dst, wire, take)
	case zstdFrames:
		return d.decodeZstd(dst, wire, take)
	case gzipStream:
		r, err := pooled(&d.gzips, func() *gzip.Reader { return new(gzip.Reader) }, func(r *gzip.Reader) error { return r.Reset(bytes.NewReader(wire)) })
		if err != nil {
			return dst, unreadable("gzip", err)
		}
		defer d.gzips.Put(r)
		return drainStream(dst, r, "gzip", take)
	case deflateStream:
		return d.decodeDeflate(dst, wire, take)
	}
	panic("BUG: a body without an encoding is not decoded")
}

func decodeSnappy(dst, wire []byte, take func(int) *Refusal) ([]byte, *Refusal) {
	n, err := snappy.DecodedLen(wire)
	if err != nil {
		return dst, unreadable("snappy", err)
	}
	if n > MaxDecoded {
		return dst, tooLarge()
	}
	// A copy of 64 bytes takes 3: no honest block claims more.
	if n > 64*len(wire) {
		return dst, unreadable("snappy", snappy.ErrCorrupt)
	}
	if r := take(n); r != nil {
		return dst, r
	}
	if cap(dst) < n {
		dst = make([]byte, n)
	}
	out, err := snappy.Decode(dst[:cap(dst)], wire)
	if err != nil {
		return dst[:0], unreadable("snappy", err)
	}
	return out, nil
}

func (d *decoders) decodeZstd(dst, wire []byte, take func(int) *Refusal) ([]byte, *Refusal) {
	var h zstd.Header
	if err := h.Decode(wire); err != nil {
		return dst, unreadable("zstd", err)
	}
	claimed := 0
	if h.HasFCS {
		if h.FrameContentSize > MaxDecoded {
			return dst, tooLarge()
		}
		claimed = int(h.FrameContentSize)
		if r := take(claimed); r != nil {
			return dst, r
		}
	}
	out, err := d.zstd.DecodeAll(wire, dst[:0])
	if err != nil {
		switch {
		case errors.Is(err, zstd.ErrDecoderSizeExceeded):
			return dst, tooLarge()
		case errors.Is(err, zstd.ErrWindowSizeExceeded):
			return dst, refuse(statusTooLarge, "the zstd data needs a window of more than %d bytes; compress it with a smaller one", MaxDecoded)
		}
		return dst, unreadable("zstd", err)
	}
	if len(out) > claimed {
		if r := take(len(out) - claimed); r != nil {
			return out, r
		}
	}
	return out, nil
}

// decodeDeflate reads zlib's format, which the name stands for, and the bare one
// that some clients send.
// https://www.rfc-editor.org/rfc/rfc9110.html#name-deflate-coding
func (d *decoders) decodeDeflate(dst, wire []byte, take func(int) *Refusal) ([]byte, *Refusal) {
	const method, divisor = 8, 31 // RFC 1950, 2.2
	src := bytes.NewReader(wire)
	if len(wire) >= 2 && wire[0]&15 == method && (int(wire[0])<<8|int(wire[1]))%divisor == 0 {
		r, ok := d.zlibs.Get().(io.ReadCloser)
		var err error
		if ok {
			err = r.(zlib.Resetter).Reset(src, nil)
		} else {
			r, err = zlib.NewReader(src)
		}
		if err != nil {
			return dst, unreadable("deflate", err)
		}
		defer d.zlibs.Put(r)
		return drainAll(dst, r, src, take)
	}
	r, err := pooled(&d.flates, func() io.ReadCloser { return flate.NewReader(nil) }, func(r io.ReadCloser) error {
		return r.(flate.Resetter).Reset(src, nil)
	})
	if err != nil {
		return dst, unreadable("deflate", err)
	}
	defer d.flates.Put(r)
	return drainAll(dst, r, src, take)
}

// drainAll is drainStream for deflate, of which src must hold nothing more: what a
// sender put behind it would be lost, and nobody told.
func drainAll(dst []byte, r io.Reader, src *bytes.Reader, take func(int) *Refusal) ([]byte, *Refusal) {
	dst, refusal := drainStream(dst, r, "deflate", take)
	if refusal == nil && src.Len() > 0 {
		refusal = refuse(statusBad, "the body goes on for %d bytes after its deflate data", src.Len())
	}
	return dst, refusal
}

// pooled takes a reader out of a pool, or makes one, and resets it.
func pooled[R any](p *sync.Pool, make func() R, reset func(R) error) (R, error) {
	r, ok := p.Get().(R)
	if !ok {
		r = make()
	}
	return r, reset(r)
}

// drainStream appends what r gives to dst, MaxDecoded bytes at most.
func drainStream(dst []byte, r io.Reader, what string, take func(int) *Refusal) ([]byte, *Refusal) {
	if r := take(cap(dst)); r != nil {
		return dst, r
	}
	for {
		if len(dst) == cap(dst) {
			more := min(max(cap(dst), firstRead), MaxDecoded+1-len(dst))
			if r := take(more); r != nil {
				return dst, r
			}
			bigger := make([]byte, len(dst), len(dst)+more)
			copy(bigger, dst)
			dst = bigger
		}
		n, err := r.Read(dst[len(dst):min(cap(dst), MaxDecoded+1)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > MaxDecoded:
			return dst, tooLarge()
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, unreadable(what, err)
		}
	}
}

func tooLarge() *Refusal {
	return refuse(statusTooLarge, "the decoded body is larger than %d bytes; send smaller batches", MaxDecoded)
}

func unreadable(what string, err error) *Refusal {
	if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
		return refuse(statusBad, "the body ends in the middle of its %s data", what)
	}
	return refuse(statusBad, "the body is not %s, as its Content-Encoding says: %v", what, err)
}
