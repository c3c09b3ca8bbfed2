package ingest

import (
	"net"
	"testing"

	"cairn/internal/clock"
	"github.com/stretchr/testify/require"
)

// BenchmarkReceive measures what a datagram with one metric costs from the
// kernel's queue to the stripe; the senders' part is not measured.
func BenchmarkReceive(b *testing.B) {
	u, _ := listen(b, 1)
	defer func() { require.NoError(b, u.Close()) }()
	c, err := net.Dial("udp", u.Addr())
	require.NoError(b, err)
	defer c.Close()
	line := []byte("page.views:1|c|#env:prod,region:eu")
	r, wall := u.readers[0], clock.NewSystem()
	b.ReportAllocs()
	for i := 0; i < b.N; i += batchSize {
		b.StopTimer()
		for range batchSize {
			_, err := c.Write(line)
			require.NoError(b, err)
		}
		b.StartTimer()
		require.NoError(b, r.batch.receive(r.conn, r.raw))
		r.feed(wall.Now())
	}
}
