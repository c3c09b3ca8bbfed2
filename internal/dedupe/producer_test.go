package dedupe

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestProducerText(t *testing.T) {
	p, err := ParseProducer("6BA7b810-9dad-11d1-80b4-00c04fd430c8")
	require.NoError(t, err)
	require.Equal(t, Producer{0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}, p)
	require.Equal(t, "6ba7b810-9dad-11d1-80b4-00c04fd430c8", p.String())
	for _, bad := range []string{
		"", "6ba7b810", "6ba7b8109dad11d180b400c04fd430c8", "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}", "6ba7b810-9dad-11d1-80b4-00c04fd430c",
		"6ba7b810-9dad-11d1-80b4-00c04fd430c88", "6ba7b8109-dad-11d1-80b4-00c04fd430c8", "6ba7b810-9dad-11d1-80b4-00c04fd430cg",
		"6ba7b810-9dad-11d1-80b4_00c04fd430c8", "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8", strings.Repeat("é", 18),
	} {
		_, err := ParseProducer(bad)
		require.ErrorContains(t, err, "must be a UUID like", "%q", bad)
	}
	_, err = ParseProducer("00000000-0000-0000-0000-000000000000")
	require.ErrorContains(t, err, "nil UUID")
	rapid.Check(t, func(t *rapid.T) {
		p := Producer(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))
		p[3] |= 1
		for _, s := range []string{p.String(), strings.ToUpper(p.String())} {
			again, err := ParseProducer(s)
			require.NoError(t, err)
			require.Equal(t, p, again)
		}
	})
}

func TestSequenceText(t *testing.T) {
	for s, want := range map[string]uint64{"1": 1, "007": 7, "9223372036854775807": MaxSequence} {
		got, err := ParseSequence(s)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, bad := range []string{"", "0", "-1", "+1", "1.0", "0x1", " 1", "1_000", "9223372036854775808"} {
		_, err := ParseSequence(bad)
		require.ErrorContains(t, err, "is not a sequence; it must be a whole number from 1 to 9223372036854775807", "%q", bad)
	}
}
