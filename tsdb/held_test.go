package tsdb

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/crashdisk"
	"cairn/internal/metric"
)

func drawRetention(t *rapid.T) (r metric.Retention) {
	longest := int64(0)
	for i, tier := range metric.Tiers {
		if rapid.IntRange(0, 3).Draw(t, "keep") == 0 {
			continue
		}
		longest = max(longest, tier.Width(), int64(rapid.SampledFrom([]int{3600, 5 * 3600, 86400, 6 * 86400, 50 * 86400}).Draw(t, "long")))
		r[i] = longest
	}
	if longest == 0 {
		return metric.Retention{3600}
	}
	return r
}

func drawPolicy(t *rapid.T) metric.Policy {
	p := metric.Policy{Default: drawRetention(t)}
	if rapid.Bool().Draw(t, "override") {
		p.Overrides = []metric.Override{{Prefix: "m1", Retention: drawRetention(t)}}
	}
	return p
}

type heldStore interface{ Snapshot() *Snapshot }

// requireHeld holds what the store says that it holds against all that was ever added.
func requireHeld(t require.TestingT, s *Store, of heldStore, ever map[string]map[metric.UnixSec]float64) {
	snap := of.Snapshot()
	defer func() { require.NoError(t, snap.Close()) }()
	for name, secs := range ever {
		held := snap.HeldOf(name)
		sel := s.Select(metric.ID{Name: name, Kind: metric.Counter}, all)
		for _, tier := range metric.Tiers {
			since := held.From(tier)
			if since == metric.Never {
				continue
			}
			require.Equal(t, since, since.Floor(tier.Width()))
			want, got := map[metric.UnixSec]float64{}, map[metric.UnixSec]float64{}
			for sec, v := range secs {
				if sec >= since {
					want[sec.Floor(tier.Width())] += v
				}
			}
			require.NoError(t, snap.Scan(context.Background(), sel, tier, since, 3_000_000_000, func(_ int, start metric.UnixSec, slots []uint32, sums []float64) error {
				for j, slot := range slots {
					got[start+metric.UnixSec(int64(slot)*tier.Width())] += sums[j]
				}
				return nil
			}))
			require.Equal(t, want, got, "%s in %s since %d", name, tier, since)
		}
	}
}

// TestHeldIsThere changes the policy again and again: of what a store says that a tier
// holds, nothing is missing, though it was kept by shorter policies meanwhile.
func TestHeldIsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
		fs, policy := crashdisk.New(), drawPolicy(t)
		s, now, changes := openRetained(t, fs, policy), metric.UnixSec(1_700_000_000), 0
		ever := map[string]map[metric.UnixSec]float64{}
		for range 4 + pick(14) {
			switch pick(6) {
			case 0, 1:
				b := s.NewBatch()
				for _, name := range []string{"m0", "m1"} {
					r, err := b.Ref(seriesOf(name))
					require.NoError(t, err)
					sum := metric.Sum{Sec: now + 10 - metric.UnixSec([]int{0, 30, 7200, 2 * 86400, 40 * 86400}[pick(5)]), Events: 1, Value: float64(1 + pick(9))}
					require.NoError(t, b.Add(r, []metric.Sum{sum}))
					if ever[name] == nil {
						ever[name] = map[metric.UnixSec]float64{}
					}
					ever[name][sum.Sec] += sum.Value
				}
				require.NoError(t, b.Commit())
				b.Publish()
				now += 17
			case 2, 3:
				passed := []int{0, 3600, 86400, 20 * 86400}[pick(4)]
				now += metric.UnixSec(passed)
				_, err := s.Expire(now, time.Duration(passed)*time.Second, false)
				require.NoError(t, err)
			case 4, 5:
				require.NoError(t, s.Close())
				if pick(3) > 0 {
					policy = drawPolicy(t)
					changes++
				}
				s = openRetained(t, fs, policy)
			}
			requireHeld(t, s, s, ever)
			if got, clock := s.Retention(); changes == 0 {
				require.Equal(t, got.Of("m1").HeldAt(clock), s.HeldOf("m1"), "nothing says that less is held")
			}
		}
		require.NoError(t, s.Close())
		s = openRetained(t, fs, policy) // to select, from another copy
		copied := fs.CrashClone(vfs.CrashCloneCfg{})
		a, err := OpenArchive("data", Options{FS: copied, Log: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		requireHeld(t, s, a, ever)
		require.NoError(t, a.Close())
		require.NoError(t, s.Close())
	})
}

func TestPastPoliciesAreBounded(t *testing.T) {
	var list []pastPolicy
	for i := range 3 * maxPast {
		list = addPast(list, pastPolicy{metric.Policy{Default: metric.Retention{metric.MaxRetention}}, metric.UnixSec(i), metric.UnixSec(1000 + i)})
	}
	require.Len(t, list, maxPast)
	got, err := decodePast(appendPast(nil, list))
	require.NoError(t, err)
	require.Equal(t, list, got)
	now := &metric.Policy{Default: metric.Retention{metric.MaxRetention}}
	// The oldest that is left stands for those before it: nobody knows what they kept.
	held := heldBy(now, list, 2000, "m")
	require.EqualValues(t, 1000+2*maxPast, held.From(metric.Tier1s))
	require.Equal(t, metric.Never, held.From(metric.Tier1h))
	held = heldBy(now, list[1:], 2000, "m")
	require.Zero(t, held.From(metric.Tier1s))
}

// TestGoldenPast holds the bytes that docs/format.md draws.
func TestGoldenPast(t *testing.T) {
	list := []pastPolicy{{metric.Policy{}, 5, 300}, {metric.Policy{Default: metric.Retention{3600}}, 1_700_000_000, 1_700_000_001}}
	b := []byte("\x05\xac\x02\x00" + "\x80\xe2\xcf\xaa\x06\x81\xe2\xcf\xaa\x06\x051s:1h")
	require.Equal(t, b, appendPast(nil, list))
	for n := range b {
		_, err := decodePast(b[:n])
		require.Equal(t, n == 0 || n == 4, err == nil, "%d bytes", n)
	}
	_, err := decodePast([]byte("\x00\x00\x01x"))
	require.ErrorContains(t, err, "no tier with its time")
}

func TestWalkAccounts(t *testing.T) {
	fs := vfs.NewMem()
	s := openRetained(t, fs, metric.Policy{Default: metric.DefaultRetention})
	b := s.NewBatch()
	for i := range 3 {
		r, err := b.Ref(seriesOf(fmt.Sprint("m", i)))
		require.NoError(t, err)
		require.NoError(t, b.Add(r, []metric.Sum{{Sec: 1_700_000_000, Events: uint32(i + 1), Value: 1.5}, {Sec: 1_705_000_000, Events: 1, Value: 2}}))
	}
	require.NoError(t, b.Commit())
	b.Publish()
	snap := s.Snapshot()
	var got []Account
	require.NoError(t, snap.WalkAccounts(context.Background(), func(a Account) error {
		got = append(got, a)
		return nil
	}))
	require.Equal(t, []Account{
		{metric.Tier1h, 655, 1, 1, 1.5}, {metric.Tier1h, 655, 2, 2, 1.5}, {metric.Tier1h, 655, 3, 3, 1.5},
		{metric.Tier1h, 657, 1, 1, 2}, {metric.Tier1h, 657, 2, 1, 2}, {metric.Tier1h, 657, 3, 1, 2},
	}, got)
	require.NoError(t, snap.Close())
	require.NoError(t, s.Close())
}
