package clock

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSystemFollowsTheMonotonicClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewSystem()
		begin := c.Now()
		require.Equal(t, time.UTC, begin.Location())
		time.Sleep(90 * time.Second) // the bubble's clock: it takes no time
		require.Equal(t, 90*time.Second, c.Now().Sub(begin))
	})
}

// TestSystemDoesNotAgreeWithAStep: it is unsure once the wall clock has been set by more than a minute.
func TestSystemDoesNotAgreeWithAStep(t *testing.T) {
	c := NewSystem()
	for by, agrees := range map[time.Duration]bool{0: true, 30 * time.Second: true, -30 * time.Second: true, 2 * time.Minute: false, -2 * time.Minute: false, 720 * time.Hour: false} {
		wall := time.Unix(0, c.Now().UnixNano()).Add(by) // without a monotonic reading, as after a step
		require.Equal(t, agrees, c.agrees(wall), by)
	}
}

func TestManual(t *testing.T) {
	c := NewManual(time.Unix(100, 0))
	require.Equal(t, c.Now(), c.Now())
	c.Advance(time.Second)
	require.Equal(t, int64(101), c.Now().Unix())
	require.Panics(t, func() { c.Advance(-1) })
}
