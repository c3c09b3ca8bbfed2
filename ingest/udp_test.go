package ingest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"cairn/agg"
	"cairn/internal/clock"
	"cairn/internal/metric"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func rngOf(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func listen(t testing.TB, readers int) (*UDP, *agg.Aggregator) {
	t.Helper()
	a := agg.New(agg.Limits{Series: 1 << 16, SeriesPerMetric: 1 << 16, Metrics: 1 << 16}, slices.Repeat([]agg.Resolver{testParser.Resolve}, readers), rngOf(1))
	var stripes []*agg.Stripe
	for i := range readers {
		stripes = append(stripes, a.Stripe(i))
	}
	u, err := ListenUDP("127.0.0.1:0", stripes, testParser, 4<<20, clock.NewSystem())
	require.NoError(t, err)
	return u, a
}

// TestCloseLosesNothing sends from several sockets and closes at once: what the
// kernel had taken is counted.
func TestCloseLosesNothing(t *testing.T) {
	u, a := listen(t, 2)
	u.Start(func(err error) { t.Error(err) })
	const senders, packets = 8, 200
	for range senders {
		c, err := net.Dial("udp", u.Addr())
		require.NoError(t, err)
		for i := range packets {
			_, err := fmt.Fprintf(c, "m%d:1|c\nm%d:2|c|#x:%d", i%7, i%7, i%3)
			require.NoError(t, err)
		}
		require.NoError(t, c.Close())
	}
	require.NoError(t, u.Close())
	c, _ := u.Counts()
	for _, s := range u.Sockets() {
		require.Zero(t, s.Drops)
		require.Positive(t, s.Buffer)
	}
	require.EqualValues(t, senders*packets, c.Packets)
	require.EqualValues(t, senders*packets*2, c.Accepted)
	require.EqualValues(t, senders*packets*2, a.Counts().Accepted)
}

func TestLargestDatagram(t *testing.T) {
	u, _ := listen(t, 1)
	u.Start(func(err error) { t.Error(err) })
	p := make([]byte, metric.MaxDatagram)
	n := 0
	for n+6 <= len(p) {
		n += copy(p[n:], "a:1|c\n")
	}
	for ; n < len(p); n++ {
		p[n] = '\n'
	}
	c, err := net.Dial("udp", u.Addr())
	require.NoError(t, err)
	_, err = c.Write(p)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, u.Close())
	got, _ := u.Counts()
	require.EqualValues(t, metric.MaxDatagram/6, got.Accepted)
	require.Equal(t, got.Received, got.Accepted)
}

func TestPortInUse(t *testing.T) {
	u, a := listen(t, 2)
	_, err := ListenUDP(u.Addr(), []*agg.Stripe{a.Stripe(0)}, testParser, 1<<16, clock.NewSystem())
	require.ErrorContains(t, err, "in use by another process")
	require.NoError(t, u.Close())

	taken, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer taken.Close()
	_, err = ListenUDP(taken.LocalAddr().String(), []*agg.Stripe{a.Stripe(0)}, testParser, 1<<16, clock.NewSystem())
	require.ErrorContains(t, err, "in use by another process")
	_, err = ListenUDP("nowhere", []*agg.Stripe{a.Stripe(0)}, testParser, 1<<16, clock.NewSystem())
	require.ErrorContains(t, err, "host:port")
}

// TestDrainEnds keeps sending while the listener closes: it must not wait for
// the sender.
func TestDrainEnds(t *testing.T) {
	u, _ := listen(t, 1)
	u.Start(func(err error) { t.Error(err) })
	c, err := net.Dial("udp", u.Addr())
	require.NoError(t, err)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = c.Write([]byte("a:1|c")) // refused once the socket is closed
			}
		}
	}()
	closed := make(chan error, 1)
	go func() { closed <- u.Close() }()
	select {
	case err := <-closed:
		require.NoError(t, err)
	case <-time.After(10 * drainTime):
		t.Fatal("Close waits for the sender")
	}
	close(stop)
	<-stopped
	require.NoError(t, c.Close())
}
