package reconcile

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
)

// TestAPacerRestsTwiceAsLongAsItWorks, whatever the pieces of work are.
func TestAPacerRestsTwiceAsLongAsItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewManual(time.Unix(1000, 0))
		p := NewPacer(c)
		begin := time.Now() // the bubble's: only rests take time
		const piece, pieces = 100 * time.Microsecond, 10_000
		for range pieces {
			c.Advance(piece)
			require.NoError(t, p.Step(context.Background()))
		}
		require.InDelta(t, restShare*pieces*piece.Seconds(), time.Since(begin).Seconds(), 0.1)
	})
}

func TestAPacerEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewManual(time.Unix(1000, 0))
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		p := NewPacer(c)
		var err error
		for n := 0; err == nil; n++ {
			require.Less(t, n, 1000)
			c.Advance(time.Second)
			err = p.Step(ctx)
		}
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}
