package e2e

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cairn/client"
)

// TestGoClientOutlivesKilledServers kills the server under a client that counts at full
// speed: in the end it has exactly what the client was asked to count.
func TestGoClientOutlivesKilledServers(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	s := startServer(t, "--http", address)
	c, err := client.New("http://"+address, client.Spool(t.TempDir()), client.BufferSize(64<<10))
	require.NoError(t, err)
	var stop atomic.Bool
	var want [2]int
	var callers sync.WaitGroup
	for g := range want {
		callers.Go(func() {
			for ; !stop.Load(); want[g]++ {
				c.Count("clicks", 1, client.Tag("g", fmt.Sprint(g)), client.Tag("k", fmt.Sprint(want[g]%100)))
			}
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for range 3 {
		require.NoError(t, c.Flush(ctx))
		flushing := make(chan error)
		go func() { flushing <- c.Flush(ctx) }()
		s.Kill() // perhaps before it takes the batch, perhaps before it answers
		s = startServer(t, "--http", address, "--data-dir", s.Dir)
		require.NoError(t, <-flushing)
	}
	stop.Store(true)
	callers.Wait()
	require.NoError(t, c.Close(ctx))
	require.Zero(t, c.Stats().Dropped)
	s.RequireTotal(float64(want[0]+want[1]), "clicks")
	mustVerify(t, "--url", "http://"+s.HTTP)
}
