package ingest

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
	"cairn/internal/metric"
)

func listenTCP(t *testing.T, set func(*TCP)) *TCP {
	t.Helper()
	l, err := ListenTCP("127.0.0.1:0", stripe(testParser), testParser, clock.NewSystem())
	require.NoError(t, err)
	if set != nil {
		set(l)
	}
	l.Start(func(err error) { t.Error(err) })
	return l
}

func dialTCP(t *testing.T, l *TCP) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := c.Write([]byte(text))
	require.NoError(t, err)
}

// closed waits until the other side has closed the connection.
func closed(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	n, err := c.Read(make([]byte, 1))
	require.Zero(t, n, "there is no answer")
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

// TestStreamSplitAnywhere takes the same lines in two and in many parts: what is
// counted is the same at every cut.
func TestStreamSplitAnywhere(t *testing.T) {
	const text = "a:1|c\r\n\n\r\nlonger.name:2.5|c|#x:y\nbad\nb:3:4|c|@0.5\n_:x|c\nlast:7|c"
	l := listenTCP(t, nil)
	defer func() { require.NoError(t, l.Close()) }()
	parts := func(cuts ...int) Counts {
		before, _ := l.Counts()
		s := l.newStream(addrOf(nil))
		from := 0
		for _, to := range append(cuts, len(text)) {
			require.True(t, s.took(copy(s.buf[s.have:], text[from:to])))
			from = to
		}
		s.end(false)
		after, _ := l.Counts()
		return Counts{Bytes: after.Bytes - before.Bytes, Received: after.Received - before.Received, Accepted: after.Accepted - before.Accepted}
	}
	want := Counts{Bytes: uint64(len(text)), Received: 7, Accepted: 5}
	require.Equal(t, want, parts())
	var all []int
	for i := range len(text) + 1 {
		require.Equal(t, want, parts(i), "cut at %d", i)
		for k := i; k <= len(text); k++ {
			require.Equal(t, want, parts(i, k), "cut at %d and %d", i, k)
		}
		all = append(all, i)
	}
	require.Equal(t, want, parts(all...), "a byte at a time")
}

func TestTCPCountsTheLastLine(t *testing.T) {
	l := listenTCP(t, nil)
	const text = "a:1|c\nb:2|c|#x:y\nlast:3|c"
	for i := range len(text) + 1 { // real segments, one boundary each
		c := dialTCP(t, l)
		require.NoError(t, c.SetNoDelay(true))
		write(t, c, text[:i])
		write(t, c, text[i:])
		require.NoError(t, c.CloseWrite())
		closed(t, c)
	}
	require.NoError(t, l.Close())
	got, _ := l.Counts()
	require.EqualValues(t, 3*(len(text)+1), got.Accepted)
	require.Equal(t, got.Received, got.Accepted)
	s := l.Conns()
	require.Zero(t, s.Open)
	require.EqualValues(t, len(text)+1, s.Accepted)
}

func TestEndlessLineIsCutOff(t *testing.T) {
	l := listenTCP(t, nil)
	limit := testParser.Limits.Line
	c := dialTCP(t, l)
	write(t, c, "a:1|c\n"+strings.Repeat("x", limit+2))
	closed(t, c)
	// A line of the limit, with CR, is none; one that ends beyond it harms nobody.
	c = dialTCP(t, l)
	name := strings.Repeat("t", 200)
	line := "a:1|c|#" + strings.Repeat(name+",", 19)
	line += strings.Repeat(",", limit-len(line))
	write(t, c, line+"\r\n"+strings.Repeat("y", limit+1)+"\nb:1|c\n")
	require.NoError(t, c.CloseWrite())
	closed(t, c)
	require.NoError(t, l.Close())
	got, _ := l.Counts()
	require.EqualValues(t, 2, got.Rejected[metric.LineTooLong])
	require.EqualValues(t, 3, got.Accepted)
	r := Rejects(nil, l.Feeders()...)
	require.Equal(t, []RejectCount{{"127.0.0.1", r.Total}}, r.Senders)
}

// TestLineOfTheLimit cuts a line as long as is allowed at each of its last bytes.
func TestLineOfTheLimit(t *testing.T) {
	parser := &Parser{Limits: metric.LineLimits{Line: 64, Name: 64, Tag: 64, Tags: 8}}
	l, err := ListenTCP("127.0.0.1:0", stripe(parser), parser, clock.NewSystem())
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	for over := range 2 {
		text := strings.Repeat("n", 60+over) + ":1|c\r\n"
		for cut := 60; cut <= len(text); cut++ {
			before, _ := l.Counts()
			s := l.newStream(addrOf(nil))
			// Too long is known once even a CR cannot explain the length.
			open := s.took(copy(s.buf, text[:cut]))
			require.Equal(t, over == 0 || cut != len(text)-1, open, "cut at %d of %d", cut, len(text))
			if open {
				require.True(t, s.took(copy(s.buf[s.have:], text[cut:])))
			}
			after, _ := l.Counts()
			require.EqualValues(t, 1, after.Received-before.Received, "cut at %d of %d", cut, len(text))
			require.EqualValues(t, over, after.Rejected[metric.LineTooLong]-before.Rejected[metric.LineTooLong], "cut at %d of %d", cut, len(text))
		}
	}
}

// TestTCPCloseLosesNothing closes while lines are on their way: what the kernel
// had taken is counted, of connections that were not accepted yet as well.
func TestTCPCloseLosesNothing(t *testing.T) {
	l, err := ListenTCP("127.0.0.1:0", stripe(testParser), testParser, clock.NewSystem())
	require.NoError(t, err)
	const conns, lines = 20, 500
	for range conns {
		write(t, dialTCP(t, l), strings.Repeat("a:1|c\n", lines))
	}
	cut := dialTCP(t, l)
	write(t, cut, "b:1|c\nb:1")
	l.Start(func(err error) { t.Error(err) })
	require.NoError(t, l.Close())
	got, _ := l.Counts()
	require.EqualValues(t, conns*lines+1, got.Accepted)
	require.EqualValues(t, 1, got.Rejected[metric.Truncated], "a line that we cut off is not counted as if it were whole")
	require.EqualValues(t, conns+1, l.Conns().Accepted)
}

func TestTCPLimits(t *testing.T) {
	l := listenTCP(t, func(l *TCP) { l.limit = 2 })
	a, b := dialTCP(t, l), dialTCP(t, l)
	third := dialTCP(t, l)
	closed(t, third)
	require.EqualValues(t, 1, l.Conns().Refused)
	write(t, a, "a:1|c\n")
	require.NoError(t, a.Close())
	write(t, b, "a:1|c\nhalf")
	require.NoError(t, b.SetLinger(0)) // a reset instead of an end
	require.NoError(t, b.Close())
	require.NoError(t, l.Close())

	l = listenTCP(t, func(l *TCP) { l.idle = time.Millisecond })
	c := dialTCP(t, l)
	closed(t, c)
	require.NoError(t, l.Close())
	require.EqualValues(t, 1, l.Conns().Idle)
}

// TestTCPDrainEnds keeps sending while the listener closes.
func TestTCPDrainEnds(t *testing.T) {
	l := listenTCP(t, nil)
	c := dialTCP(t, l)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := c.Write([]byte("a:1|c\n")); err != nil {
				return
			}
		}
	}()
	end := make(chan error, 1)
	go func() { end <- l.Close() }()
	select {
	case err := <-end:
		require.NoError(t, err)
	case <-time.After(10 * drainTime):
		t.Fatal("Close waits for the sender")
	}
	<-done
}

func TestAdoptedStreamLeavesItsQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	holder, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	defer holder.Close()
	f, err := holder.File()
	require.NoError(t, err)
	defer f.Close()
	var total uint64
	for range 3 {
		in, err := Inherit(dup(t, f), "s")
		require.NoError(t, err)
		l, err := AdoptTCP(in.Stream, stripe(testParser), testParser, clock.NewSystem())
		require.NoError(t, err)
		l.Start(func(err error) { t.Error(err) })
		c, err := net.Dial("unix", path)
		require.NoError(t, err)
		write(t, c, "a:1|c\nbad\n")
		require.NoError(t, c.Close())
		require.NoError(t, l.Close())
		got, _ := l.Counts()
		total += got.Accepted
	}
	last, err := AdoptTCP(holderCopy(t, f), stripe(testParser), testParser, clock.NewSystem())
	require.NoError(t, err)
	last.Start(func(err error) { t.Error(err) })
	require.Eventually(t, func() bool { got, _ := last.Counts(); return total+got.Accepted == 3 }, 10*time.Second, time.Millisecond)
	require.NoError(t, last.Close())
}

func holderCopy(t *testing.T, f *os.File) net.Listener {
	t.Helper()
	in, err := Inherit(dup(t, f), "s")
	require.NoError(t, err)
	return in.Stream
}
