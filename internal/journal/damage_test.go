package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"cairn/internal/crashdisk"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// filled makes a log of n records, of which record i has i+1 events, closes it and
// returns where they are.
func filled(t testing.TB, o Options, n int) (at []Pos) {
	t.Helper()
	l := open(t, o)
	for i := range n {
		at = append(at, add(t, l, numbered(i, uint64(i+1))))
	}
	require.NoError(t, l.Close())
	return at
}

func pathOf(p Pos) string { return "data/journal/" + segmentName(p.segment()) }

// TestDamageIsCountedExactly breaks random bytes of a log that was closed: what is
// lost is counted to the event, everything else is read, the bytes are kept.
func TestDamageIsCountedExactly(t *testing.T) {
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 1))
		fs := vfs.NewMem()
		o := options(fs)
		o.SegmentBytes = 1 + rng.Int64N(3000)
		const n = 40
		at := filled(t, o, n)
		for range 1 + rng.IntN(4) {
			p := at[rng.IntN(n)]
			b := readFile(t, fs, pathOf(p))
			from := p.offset()
			if rng.IntN(6) == 0 {
				from = 0
			}
			for i := range 1 + rng.Int64N(60) {
				if j := from + i; j < int64(len(b)) {
					b[j] ^= byte(1 + rng.IntN(255))
				}
			}
			writeFile(t, fs, pathOf(p), b)
		}
		l := open(t, o)
		got, r := heads(t, l, 0)
		var events uint64
		for _, h := range got {
			var i uint64
			_, err := fmt.Sscan(h, &i)
			require.NoError(t, err)
			events += i + 1
		}
		require.NotEmpty(t, r.Damage)
		exact := true
		for _, d := range r.Damage {
			exact = exact && d.Exact
			require.Len(t, readFile(t, fs, fmt.Sprintf("data/journal/quarantine/%010d-%010d.bad", d.Pos.segment(), d.Pos.offset())), int(d.Bytes))
		}
		if exact {
			require.Equal(t, uint64(n*(n+1)/2), events+r.Lost(), "seed %d: %v", seed, r.Damage)
		}
		require.LessOrEqual(t, events+r.Lost(), uint64(n*(n+1)/2))
		// It goes on, and the loss is the same the next time.
		add(t, l, numbered(77, 1))
		require.NoError(t, l.Close())
		l = open(t, o)
		again, r2 := heads(t, l, 0)
		require.Equal(t, append(got, "77"), again)
		require.Equal(t, len(r.Damage), len(r2.Damage))
		require.NoError(t, l.Close())
	}
}

func TestDamageInTheMiddle(t *testing.T) {
	fs := vfs.NewMem()
	at := filled(t, options(fs), 10)
	b := readFile(t, fs, pathOf(at[4]))
	b[at[4].offset()+frameLen] ^= 1
	b[at[5].offset()] ^= 1
	writeFile(t, fs, pathOf(at[4]), b)
	l := open(t, options(fs))
	got, r := heads(t, l, 0)
	require.Equal(t, []string{"0", "1", "2", "3", "6", "7", "8", "9"}, got)
	require.Len(t, r.Damage, 1)
	require.Equal(t, Damage{
		Path: pathOf(at[4]), Pos: at[4], Bytes: int64(at[6] - at[4]), Events: 5 + 6, Exact: true, What: "records are damaged",
	}, r.Damage[0])
	require.Contains(t, r.Damage[0].String(), "11 events are lost")
	require.Equal(t, uint64(55), r.Total)
	require.Equal(t, uint64(1), l.Stats().Damaged)
	damaged := &DamagedError{}
	require.ErrorAs(t, l.Read(0, 0, func(Pos, *Record) error { return nil }), &damaged)
	require.Equal(t, r.Damage, damaged.Damage)

	// It is not removed, only moved, also when nobody has read it since the start.
	require.NoError(t, l.Close())
	o := options(fs)
	o.Retention = 0
	l = open(t, o)
	add(t, l, numbered(10, 1))
	require.NoError(t, l.Release(l.End()))
	require.Equal(t, b, readFile(t, fs, "data/journal/quarantine/0000000001.wal"))
	require.NoError(t, l.Close())
	require.NoError(t, fs.RemoveAll("data/journal/quarantine"))
	l = open(t, options(fs))
	got, r = heads(t, l, 0)
	require.Equal(t, []string{"10"}, got)
	require.Equal(t, uint64(56), r.Total)
	require.NoError(t, l.Close())
}

func TestMissingSegment(t *testing.T) {
	fs := vfs.NewMem()
	o := options(fs)
	o.SegmentBytes = 1 // a segment for each record
	at := filled(t, o, 6)
	require.NoError(t, fs.Remove(pathOf(at[2])))
	require.NoError(t, fs.Remove(pathOf(at[3])))
	l := open(t, o)
	got, r := heads(t, l, 0)
	require.Equal(t, []string{"0", "1", "4", "5"}, got)
	require.Len(t, r.Damage, 1)
	require.Equal(t, [2]any{uint64(3 + 4), true}, [2]any{r.Damage[0].Events, r.Damage[0].Exact})
	require.NoError(t, l.Close())

	// Before the first one that is there, nobody here knows how many.
	l = open(t, o)
	require.NoError(t, fs.Remove(pathOf(at[0])))
	require.NoError(t, fs.Remove(pathOf(at[1])))
	require.NoError(t, l.Close())
	l = open(t, o)
	_, r = heads(t, l, at[1])
	require.Len(t, r.Damage, 1)
	require.False(t, r.Damage[0].Exact)
	require.Equal(t, uint64(10), r.Base)
	_, r = heads(t, l, at[4])
	require.Empty(t, r.Damage)
	require.NoError(t, l.Close())
}

// TestTornTail cuts the last segment of a log that was not closed at every byte.
func TestTornTail(t *testing.T) {
	mem := crashdisk.New()
	l := open(t, options(mem))
	var at []Pos
	for i := range 4 {
		at = append(at, add(t, l, numbered(i, 1)))
	}
	image := mem.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(t, l.Close())
	whole := readFile(t, image, pathOf(at[0]))
	for cut := range len(whole) {
		for _, fill := range [][]byte{nil, bytes.Repeat([]byte{0xff}, 300)} {
			fs := vfs.NewMem()
			require.NoError(t, fs.MkdirAll("data/journal", 0o700))
			writeFile(t, fs, pathOf(at[0]), append(whole[:cut:cut], fill...))
			if cut < headerLen && fill != nil {
				continue // no crash does that: the header was durable first
			}
			want := 0
			for i := range at {
				if i+1 < len(at) && int(at[i+1].offset()) <= cut {
					want++
				}
			}
			l := open(t, options(fs))
			got, r := heads(t, l, 0)
			require.Len(t, got, want, "cut at %d", cut)
			require.Empty(t, r.Damage)
			require.Equal(t, uint64(want), r.Total)
			clean := cut == headerLen || want > 0 && cut == int(at[want].offset())
			require.Equal(t, !clean || fill != nil, r.Torn == 1, "cut at %d", cut)
			add(t, l, numbered(9, 1))
			require.NoError(t, l.Release(0))
			require.NoError(t, l.Close())
			l = open(t, options(fs))
			got, r = heads(t, l, 0)
			require.Len(t, got, want+1)
			require.Zero(t, r.Torn, "it is counted once")
			require.NoError(t, l.Close())
		}
	}
}

func TestAStrangersSegmentIsNoRecord(t *testing.T) {
	fs := vfs.NewMem()
	o := options(fs)
	at := filled(t, o, 3)
	b := readFile(t, fs, pathOf(at[0]))
	l := open(t, o)
	add(t, l, numbered(3, 1))
	require.NoError(t, l.Close())
	// Records of another segment, at their own offsets.
	c := readFile(t, fs, "data/journal/0000000002.wal")
	writeFile(t, fs, "data/journal/0000000002.wal", append(c, b[len(c):]...))
	l = open(t, o)
	got, r := heads(t, l, 0)
	require.Equal(t, []string{"0", "1", "2", "3"}, got)
	require.Empty(t, r.Damage)
	require.Equal(t, int64(1), r.Torn)
	require.NoError(t, l.Close())
	// A version from the future is refused as it is.
	binary.LittleEndian.PutUint32(b[8:], 2)
	h := header{number: 1}
	copy(b, h.append(nil)[:8])
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	writeFile(t, fs, pathOf(at[0]), b)
	_, err := Open("data/journal", o)
	require.ErrorContains(t, err, "format 2")
}

// FuzzSegment reads any bytes as the only, or the last but one segment.
func FuzzSegment(f *testing.F) {
	fs := vfs.NewMem()
	at := filled(f, options(fs), 5)
	b := readFile(f, fs, pathOf(at[0]))
	f.Add(b, uint16(0))
	f.Add(b[:len(b)-3], uint16(100))
	f.Add([]byte{}, uint16(0))
	o := options(fs)
	l := open(f, o)
	add(f, l, numbered(5, 6))
	require.NoError(f, l.Close())
	second := readFile(f, fs, "data/journal/0000000002.wal")
	f.Fuzz(func(t *testing.T, b []byte, flip uint16) {
		for _, both := range []bool{false, true} {
			fs := vfs.NewMem()
			require.NoError(t, fs.MkdirAll("data/journal", 0o700))
			writeFile(t, fs, "data/journal/0000000001.wal", b)
			if both {
				c := append([]byte(nil), second...)
				if i := int(flip); i < len(c) {
					c[i] ^= 0x10
				}
				writeFile(t, fs, "data/journal/0000000002.wal", c)
			}
			n, last := 0, Pos(0)
			r, err := Read(fs, "data/journal", 0, 0, func(p Pos, r *Record) error {
				require.Greater(t, p, last)
				require.LessOrEqual(t, len(r.Body), MaxBody)
				n, last = n+1, p
				return nil
			})
			if err != nil {
				require.ErrorContains(t, err, "format")
				continue
			}
			require.Equal(t, uint64(n), r.Records)
			l := open(t, options(fs))
			got, r2 := heads(t, l, 0)
			require.Len(t, got, n)
			require.Equal(t, r.Damage, r2.Damage)
			add(t, l, numbered(1, 1))
			require.NoError(t, l.Close())
		}
	})
}
