package tsdb

// arena keeps pieces of bytes in chunks, so that it grows without copying. A
// piece's place is a number.
type arena struct {
	chunks [][]byte
	free   [][]byte // chunks that are empty
}

// A place is a chunk's number and an offset in it, in units of arenaUnit bytes, at which
// pieces begin: so 32 bits name 16 GiB. A piece that is larger than a chunk has a chunk of
// its own.
const (
	arenaBits  = 20
	arenaChunk = 1 << arenaBits
	arenaUnit  = 1 << unitBits
	unitBits   = 2
	offsetBits = arenaBits - unitBits
	maxChunks  = 1 << (32 - offsetBits)
)

// add copies a piece; ok is false if the arena is full.
func (a *arena) add(piece []byte) (at uint32, ok bool) {
	last := len(a.chunks) - 1
	begin := 0
	if last >= 0 {
		begin = (len(a.chunks[last]) + arenaUnit - 1) &^ (arenaUnit - 1)
	}
	if last < 0 || begin+len(piece) > arenaChunk {
		if len(a.chunks) == maxChunks {
			return 0, false
		}
		a.chunks = append(a.chunks, a.chunk(len(piece)))
		last, begin = last+1, 0
	}
	a.chunks[last] = append(a.chunks[last][:begin], piece...)
	return uint32(last)<<offsetBits | uint32(begin)>>unitBits, true
}

func (a *arena) chunk(size int) []byte {
	if n := len(a.free); n > 0 && size <= arenaChunk {
		c := a.free[n-1]
		a.free = a.free[:n-1]
		return c
	}
	return make([]byte, 0, max(arenaChunk, size))
}

// from returns the bytes from a place to the end of its chunk.
func (a *arena) from(at uint32) []byte {
	return a.chunks[at>>offsetBits][at<<unitBits&(arenaChunk-1):]
}

// used is roughly how many bytes its pieces have.
func (a *arena) used() (n int) {
	for _, c := range a.chunks {
		n += len(c)
	}
	return n
}

// size is how many bytes the arena takes.
func (a *arena) size() (n int) {
	for _, c := range a.chunks {
		n += cap(c)
	}
	return n + len(a.free)*arenaChunk
}

// empty returns an arena that uses the chunks of a, which must not be used again.
func (a *arena) empty() (out arena) {
	out.free = a.free
	for _, c := range a.chunks {
		if cap(c) == arenaChunk {
			out.free = append(out.free, c[:0])
		}
	}
	return out
}
