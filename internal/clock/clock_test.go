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

func TestManual(t *testing.T) {
	c := NewManual(time.Unix(100, 0))
	require.Equal(t, c.Now(), c.Now())
	c.Advance(time.Second)
	require.Equal(t, int64(101), c.Now().Unix())
	require.Panics(t, func() { c.Advance(-1) })
}
