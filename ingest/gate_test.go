package ingest

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
	"cairn/internal/dedupe"
)

func TestGateSharesWhatIsReceived(t *testing.T) {
	g := newGate(clock.NewManual(now.Time()), rand.New(rand.NewPCG(1, 1)))
	hog, other := sender{producer: dedupe.Producer{1}}, sender{producer: dedupe.Producer{2}}
	const mib = 1 << 20
	alone, r := g.enter(other, mib, false)
	require.Nil(t, r)
	var passes []pass
	for range 9 {
		p, r := g.enter(hog, mib, false)
		require.Nil(t, r)
		passes = append(passes, p)
	}
	for i := range 7 {
		require.Nil(t, passes[i].receive(3*mib), "%d", i)
	}
	require.Equal(t, ShedShare, passes[7].receive(3*mib).Shed)
	require.Nil(t, alone.receive(30*mib), "its only batch")
	require.Equal(t, ShedFull, alone.receive(4*mib).Shed)
	low, r := g.enter(sender{}, 0, true)
	require.Equal(t, ShedLow, r.Shed)
	require.Zero(t, low)
}

func TestGate(t *testing.T) {
	c := clock.NewManual(now.Time())
	g := newGate(c, rand.New(rand.NewPCG(1, 1)))
	hog, other, third := sender{producer: dedupe.Producer{1}}, sender{producer: dedupe.Producer{2}}, sender{addr: netip.MustParseAddr("10.0.0.1")}
	const mib = 1 << 20
	var held []pass
	enter := func(s sender, low bool) *Refusal {
		p, r := g.enter(s, 4*mib, low)
		if r == nil {
			held = append(held, p)
		} else {
			require.GreaterOrEqual(t, r.Wait, minWait)
			require.LessOrEqual(t, r.Wait, maxWait)
		}
		return r
	}
	for range 12 {
		require.Nil(t, enter(hog, false))
	}
	require.Equal(t, ShedShare, enter(hog, false).Shed, "the last quarter is for others")
	require.Equal(t, statusOverShare, enter(hog, false).Status)
	require.Equal(t, ShedLow, enter(other, true).Shed)
	require.Nil(t, enter(other, false))
	require.Nil(t, enter(third, false))
	for range 2 {
		require.Nil(t, enter(other, false))
	}
	r := enter(other, false)
	require.Equal(t, ShedFull, r.Shed)
	require.Equal(t, statusUnavailable, r.Status)
	// The more slowly batches are finished, the longer the wait.
	quick := r.Wait
	c.Advance(30 * time.Second)
	require.Greater(t, enter(other, false).Wait, quick)
	waits := map[int]bool{}
	for range 50 {
		waits[enter(other, false).Wait] = true
	}
	require.Greater(t, len(waits), 5, "those who wait do not come at once")
	for i := range 8 {
		held[i].leave(true)
	}
	require.Nil(t, enter(third, false), "there is room again")
	done := make(chan struct{})
	go func() { g.close(); close(done) }()
	for i := range held[8:] {
		held[8+i].leave(false)
	}
	<-done
	require.Zero(t, g.stats().Bytes)
	require.Equal(t, ShedStopping, enter(other, false).Shed)
}
