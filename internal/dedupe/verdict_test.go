package dedupe

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/metric"
)

// TestGoldenVerdict holds the bytes that docs/format.md draws.
func TestGoldenVerdict(t *testing.T) {
	v := Verdict{
		Hash: 0x0807060504030201, At: 1_700_000_000_000, Accepted: 500, RejectedTotal: 2,
		Rejected: []Reject{{3, metric.BadValue}, {300, metric.NoType}},
	}
	b := []byte("\x01\x01\x02\x03\x04\x05\x06\x07\x08\x80\xd0\x95\xff\xbc\x31\xf4\x03\x02\x06\x06\xd2\x04\x02")
	require.Equal(t, b, v.Append(nil))
	got, err := DecodeVerdict(b)
	require.NoError(t, err)
	require.Equal(t, v, got)
}

func TestVerdictRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawVerdict(t, rapid.Uint64().Draw(t, "hash"), metric.UnixMilli(rapid.Int64Range(0, maxAt).Draw(t, "at")))
		v.RejectedTotal += rapid.SampledFrom([]uint32{0, 1, math.MaxUint32 - 10}).Draw(t, "not listed")
		b := v.Append([]byte("before"))
		require.Equal(t, "before", string(b[:6]))
		got, err := DecodeVerdict(b[6:])
		require.NoError(t, err)
		require.Equal(t, v, got)
	})
}

// TestLongVerdictIsCut keeps the first ones, and how many there were.
func TestLongVerdictIsCut(t *testing.T) {
	for name, line := range map[string]func(i uint32) uint32{
		"in order": func(i uint32) uint32 { return i },
		"wild":     func(i uint32) uint32 { return i % 2 * math.MaxUint32 },
	} {
		v := Verdict{Hash: math.MaxUint64, At: maxAt, Accepted: math.MaxUint32}
		for i := range uint32(500_000) {
			v.Rejected = append(v.Rejected, Reject{line(i), metric.BadValue})
		}
		b := v.Append(nil)
		require.LessOrEqual(t, len(b), MaxVerdict, name)
		require.Greater(t, len(b), MaxVerdict-64, name)
		got, err := DecodeVerdict(b)
		require.NoError(t, err, name)
		require.EqualValues(t, 500_000, got.RejectedTotal)
		require.Greater(t, len(got.Rejected), 9_000)
		require.Equal(t, v.Rejected[:len(got.Rejected)], got.Rejected)
		require.Equal(t, b, got.Append(nil), "what was cut stays as it is")
	}
}

func FuzzVerdict(f *testing.F) {
	v := Verdict{Hash: 7, At: 1_700_000_000_000, Accepted: 5, Rejected: []Reject{{1, metric.BadTag}, {1, metric.Future}, {0, metric.NoType}}}
	f.Add(v.Append(nil))
	f.Add((&Verdict{RejectedTotal: 9}).Append(nil))
	f.Add([]byte{formatVerdict, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := DecodeVerdict(b)
		if err != nil {
			return
		}
		again, err := DecodeVerdict(v.Append(nil))
		require.NoError(t, err)
		require.Equal(t, v, again)
	})
}

func TestBadVerdicts(t *testing.T) {
	good := (&Verdict{Hash: 1, At: 1, Accepted: 1, Rejected: []Reject{{1, metric.BadTag}}}).Append(nil)
	for n := range len(good) {
		if _, err := DecodeVerdict(good[:n]); n != 12 { // there the list is empty, and the total is not
			require.Error(t, err, "%d bytes", n)
		}
	}
	for sentence, b := range map[string][]byte{
		"begins with 02":               append([]byte{2}, good[1:]...),
		"bad number at offset 9":       append(append([]byte{}, good[:9]...), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0),
		"2 events are listed of 1":     append(append([]byte{}, good...), 0, 1),
		"bad line at offset 2":         append(append([]byte{}, good...), 3, 1),
		"bad entry at offset 2":        append(append([]byte{}, good...), 0),
		"at most 64512 are allowed":    append(append([]byte{}, good...), make([]byte, MaxVerdict)...),
		"a verdict of 0 bytes that be": nil,
	} {
		_, err := DecodeVerdict(b)
		require.ErrorContains(t, err, sentence)
	}
}
