package crashdisk

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestCopiesWhileLinksAreMade: neither waits for ever, and each copy is of one moment.
func TestCopiesWhileLinksAreMade(t *testing.T) {
	const links = 2000
	d := New()
	f, err := d.Create("f", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	var linking sync.WaitGroup
	linking.Go(func() {
		for i := range links {
			if err := d.Link("f", fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		}
	})
	done := make(chan struct{})
	go func() { linking.Wait(); close(done) }()
	rng, seen := rand.New(rand.NewPCG(1, 1)), 0
	for copying := true; copying; {
		select {
		case <-done:
			copying = false
		default:
		}
		names, err := d.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng}).List("")
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(names), seen)
		seen = len(names)
	}
	require.Equal(t, links+1, seen)
}
