package app

import (
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/agg"
)

func TestMemoryIsJudged(t *testing.T) {
	a := agg.New(agg.Limits{}, nil, rand.New(rand.NewPCG(1, 1)))
	m := &memory{limit: 1000, registry: a.Registry, log: slog.New(slog.DiscardHandler)}
	for _, step := range []struct {
		live uint64
		full bool
	}{{800, false}, {801, true}, {790, true}, {750, true}, {749, false}, {800, false}, {5000, true}} {
		m.judge(step.live)
		require.Equal(t, step.full, a.Registry.Full(), "at %d of 1000", step.live)
	}
	a.Registry.SetFull(false)
	m.limit = 0
	m.judge(1 << 60)
	require.False(t, a.Registry.Full(), "there is no limit")
}

func TestGarbageIsBounded(t *testing.T) {
	for _, live := range []uint64{0, 1 << 20, headroom, headroom + 1, 200 << 20, 400 << 20, 1 << 40} {
		p := garbagePercent(live)
		require.GreaterOrEqual(t, p, minPercent)
		require.LessOrEqual(t, p, goPercent)
		if p > minPercent && live > 0 {
			require.LessOrEqual(t, live*uint64(p)/100, uint64(headroom), "beside %d bytes", live)
		}
	}
}
