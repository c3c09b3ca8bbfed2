package metric

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func tags(t *rapid.T) []Tag {
	text := rapid.SampledFrom([]string{"", "a", "b", "a,b", "a:b", "\x00", "\x01a", "é", string(make([]byte, 200))})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Tag {
		return Tag{text.Draw(t, "key"), text.Draw(t, "value")}
	}), 0, 6).Draw(t, "tags")
}

func setOf(ts []Tag) map[Tag]bool {
	m := map[Tag]bool{}
	for _, t := range ts {
		m[t] = true
	}
	return m
}

// TestTagsetIsCanonical: two lists of tags give equal Tagsets exactly if they
// are equal as sets.
func TestTagsetIsCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := tags(t), tags(t)
		setA, setB := setOf(a), setOf(b)
		x, y := NewTagset(a), NewTagset(b)
		equal := len(setA) == len(setB)
		for k := range setA {
			equal = equal && setB[k]
		}
		require.Equal(t, equal, x == y)
		require.Equal(t, setA, setOf(x.Tags()))
		back, err := DecodeTagset([]byte(x))
		require.NoError(t, err)
		require.Equal(t, x, back)
	})
}

func FuzzDecodeTagset(f *testing.F) {
	f.Add([]byte(NewTagset([]Tag{{"env", "prod"}, {"canary", ""}})))
	f.Add([]byte{1, 'a', 0x80, 0x00})
	f.Add([]byte{1, 'b', 0, 1, 'a', 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		ts, err := DecodeTagset(b)
		if err != nil {
			return
		}
		if got := NewTagset(ts.Tags()); got != ts {
			t.Fatalf("accepted %x, whose canonical form is %x", b, got)
		}
	})
}

func TestTagsetText(t *testing.T) {
	ts := NewTagset([]Tag{{"env", "prod"}, {"canary", ""}, {"env", "prod"}, {"env", "dev"}})
	require.Equal(t, "canary,env:dev,env:prod", ts.String())
	require.Equal(t, Tagset(""), NewTagset(nil))
}

// TestTierPlaces checks that partitions and slots tile the time of every tier,
// and that each tier divides the next: that is why the tiers' sums agree.
func TestTierPlaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := UnixSec(rapid.Int64Range(0, int64(MaxSec)).Draw(t, "sec"))
		for i, tier := range Tiers {
			p, slot := tier.Place(s)
			require.Less(t, slot, tier.Slots())
			begin := tier.Start(p) + UnixSec(int64(slot)*tier.Width())
			require.Equal(t, s.Floor(tier.Width()), begin)
			if i > 0 {
				require.Zero(t, tier.Width()%Tiers[i-1].Width())
			}
			require.Zero(t, tier.Span()%tier.Width())
		}
	})
}

func TestFloorAndCeil(t *testing.T) {
	for _, c := range []struct{ s, floor, ceil UnixSec }{
		{0, 0, 0}, {1, 0, 10}, {9, 0, 10}, {10, 10, 10}, {11, 10, 20}, {-1, -10, 0}, {-10, -10, -10},
	} {
		require.Equal(t, c.floor, c.s.Floor(10), "floor of %d", c.s)
		require.Equal(t, c.ceil, c.s.Ceil(10), "ceil of %d", c.s)
	}
}

func TestEveryReasonHasAName(t *testing.T) {
	seen := map[string]bool{}
	for r := range NumReasons {
		require.NotEmpty(t, r.String())
		require.False(t, seen[r.String()], "%s twice", r)
		seen[r.String()] = true
	}
}
