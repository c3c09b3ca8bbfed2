package tsdb

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestArenaGivesBackWhatItGot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a arena
		for round := range byte(3) {
			var places []uint32
			var pieces [][]byte
			for i := range rapid.IntRange(1, 30).Draw(t, "pieces") {
				size := rapid.SampledFrom([]int{1, 100, arenaChunk / 3, arenaChunk, arenaChunk + 1}).Draw(t, "size")
				p := bytes.Repeat([]byte{round<<6 | byte(i)}, size)
				at, ok := a.add(p)
				require.True(t, ok)
				places, pieces = append(places, at), append(pieces, p)
			}
			for i, at := range places {
				require.True(t, bytes.HasPrefix(a.from(at), pieces[i]))
			}
			a = a.empty()
		}
	})
}

// TestArenaNamesAllItsChunks: the last chunk's last piece has a place of its own, and there
// is none behind it.
func TestArenaNamesAllItsChunks(t *testing.T) {
	full := make([]byte, 0, arenaChunk)
	a := arena{chunks: make([][]byte, maxChunks-1)}
	for i := range a.chunks {
		a.chunks[i] = full[:arenaChunk]
	}
	_, ok := a.add(make([]byte, arenaChunk-arenaUnit))
	require.True(t, ok)
	at, ok := a.add([]byte("last"))
	require.True(t, ok)
	require.Equal(t, "last", string(a.from(at)))
	_, ok = a.add([]byte{1})
	require.False(t, ok)
}
