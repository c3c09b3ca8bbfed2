package tsdb

// arena keeps pieces of bytes in chunks, so that it grows without copying. A
// piece's place is a number.
type arena struct {
	chunks [][]byte
	free   [][]byte // chunks that are empty
}

// A place is a chunk's number and an offset in it. A larger piece than a chunk has a
// chunk of its own.
const (
	arenaBits  = 20
	arenaChunk = 1 << arenaBits
	arenaPiece = 16 << 20 // the largest one
)

// add copies a piece; ok is false if it is too large, or the arena is full.
func (a *arena) add(piece []byte) (at uint32, ok bool) {
	last := len(a.chunks) - 1
	if last < 0 || len(a.chunks[last])+len(piece) > arenaChunk {
		if len(piece) > arenaPiece || len(a.chunks) == 1<<(32-arenaBits) {
			return 0, false
		}
		a.chunks = append(a.chunks, a.chunk(len(piece)))
		last++
	}
	at = uint32(last)<<arenaBits | uint32(len(a.chunks[last]))
	a.chunks[last] = append(a.chunks[last], piece...)
	return at, true
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
	return a.chunks[at>>arenaBits][at&(arenaChunk-1):]
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
