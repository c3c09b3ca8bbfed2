package ingest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/agg"
	"cairn/internal/clock"
	"cairn/internal/metric"
)

// stripe returns the one stripe of a new aggregator.
func stripe(parser *Parser) *agg.Stripe {
	limits := agg.Limits{Series: 1 << 16, SeriesPerMetric: 1 << 16, Metrics: 1 << 16}
	return agg.New(limits, []agg.Resolver{parser.Resolve}, rngOf(1)).Stripe(0)
}

func listenUDS(t *testing.T, path string) *UDS {
	t.Helper()
	u, err := ListenUDS(path, 0o622, stripe(testParser), testParser, clock.NewSystem())
	require.NoError(t, err)
	return u
}

func dialUnix(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unixgram", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	u := listenUDS(t, path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o622), info.Mode().Perm())
	u.Start(func(err error) { t.Error(err) })
	c := dialUnix(t, path)
	for range 500 {
		_, err := c.Write([]byte("a:1|c\nb:x|c"))
		require.NoError(t, err)
	}
	require.NoError(t, u.Close())
	got, _ := u.Counts()
	require.EqualValues(t, 500, got.Packets)
	require.EqualValues(t, 500, got.Accepted)
	require.EqualValues(t, 500, got.Rejected[metric.BadValue])
	require.Equal(t, []RejectCount{{"unix", 500}}, Rejects(nil, u.Feeders()...).Senders)
	require.NoFileExists(t, path)
}

// TestTruncatedDatagram sends more than a slot holds, which only a Unix socket
// takes: the line at the cut is not counted, the others are.
func TestTruncatedDatagram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	u := listenUDS(t, path)
	u.Start(func(err error) { t.Error(err) })
	_, err := dialUnix(t, path).Write([]byte(strings.Repeat("abc:1|c\n", 10_000)))
	require.NoError(t, err)
	_, err = dialUnix(t, path).Write([]byte("a:1|c")) // the next one is whole
	require.NoError(t, err)
	require.NoError(t, u.Close())
	got, _ := u.Counts()
	require.EqualValues(t, slotSize/8+1, got.Accepted)
	require.Zero(t, got.Rejected[metric.Truncated], "the cut fell on the end of a line")

	u = listenUDS(t, path)
	u.Start(func(err error) { t.Error(err) })
	_, err = dialUnix(t, path).Write([]byte(strings.Repeat("abcd:1|c\n", 10_000)))
	require.NoError(t, err)
	require.NoError(t, u.Close())
	got, _ = u.Counts()
	require.EqualValues(t, slotSize/9, got.Accepted)
	require.EqualValues(t, 1, got.Rejected[metric.Truncated])
}

func TestWhoseSocketFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	open := func() error {
		u, err := ListenUDS(path, 0o600, stripe(testParser), testParser, clock.NewSystem())
		if err == nil {
			require.NoError(t, u.Close())
		}
		return err
	}
	dead, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	require.ErrorContains(t, open(), "in use by another process")
	require.NoError(t, dead.Close())
	require.FileExists(t, path, "what a dead process leaves")
	require.NoError(t, open())
	require.NoFileExists(t, path)

	stream, err := net.Listen("unix", path)
	require.NoError(t, err)
	require.ErrorContains(t, open(), "in use by another process")
	require.NoError(t, stream.Close())

	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
	require.ErrorContains(t, open(), "no socket")
	require.FileExists(t, path)
	require.NoError(t, os.Remove(path))

	// Another one's file is left alone at the end.
	u := listenUDS(t, path)
	require.NoError(t, os.Remove(path))
	other, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	require.NoError(t, u.Close())
	require.FileExists(t, path)
	require.NoError(t, other.Close())

	path = filepath.Join(t.TempDir(), "none", "s")
	require.ErrorContains(t, open(), "no such file")
}

// TestKernelDropsAreCounted overfills a small buffer, and asks in both ways.
func TestKernelDropsAreCounted(t *testing.T) {
	if !canShare {
		t.Skip("only Linux tells the drops of a socket")
	}
	for _, fallback := range []bool{false, true} {
		t.Run(fmt.Sprint("fallback ", fallback), func(t *testing.T) {
			conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			require.NoError(t, err)
			require.NoError(t, conn.SetReadBuffer(4096))
			u, err := AdoptUDP(conn, stripe(testParser), testParser, 1, clock.NewSystem())
			require.NoError(t, err)
			r := u.readers[0]
			if fallback {
				r.batch.countOverflow(r.raw)
			}
			c, err := net.Dial("udp", u.Addr())
			require.NoError(t, err)
			defer c.Close()
			const sent = 1000
			send := func(n int) {
				for range n {
					_, err := c.Write([]byte("a:1|c"))
					require.NoError(t, err)
				}
			}
			send(sent)
			for range 2 { // a control message comes with what is queued after the drop
				require.NoError(t, r.batch.poll(r.conn, r.raw))
				require.Positive(t, r.batch.n)
				r.feed(clock.NewSystem().Now())
				send(1)
			}
			u.Start(func(err error) { t.Error(err) })
			require.NoError(t, u.Close())
			got, _ := u.Counts()
			require.Less(t, got.Packets, uint64(sent))
			require.EqualValues(t, sent+2, got.Packets+u.Sockets()[0].Drops)
		})
	}
}

func TestSixAndNames(t *testing.T) {
	for _, address := range []string{"[::1]:0", "localhost:0", ":0"} {
		u, err := ListenUDP(address, []*agg.Stripe{stripe(testParser)}, testParser, 1<<16, clock.NewSystem())
		if err != nil && strings.Contains(err.Error(), "cannot assign") {
			t.Log("this machine has no ", address)
			continue
		}
		require.NoError(t, err, address)
		u.Start(func(err error) { t.Error(err) })
		_, port, err := net.SplitHostPort(u.Addr())
		require.NoError(t, err)
		host, from := "127.0.0.1", "127.0.0.1"
		if address == "[::1]:0" {
			host, from = "::1", "::1"
		}
		c, err := net.Dial("udp", net.JoinHostPort(host, port))
		require.NoError(t, err)
		_, err = c.Write([]byte("a:1|c\nbad"))
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, u.Close())
		got, _ := u.Counts()
		require.EqualValues(t, 1, got.Accepted, address)
		require.Equal(t, []RejectCount{{from, 1}}, Rejects(nil, u.Feeders()...).Senders, "a mapped address is shown as what it is")
		require.Equal(t, u.Addr()+"/0", u.Sockets()[0].Name)
	}
}

// TestReceiveAllocatesNothing takes a datagram from the socket to the stripe.
func TestReceiveAllocatesNothing(t *testing.T) {
	u, _ := listen(t, 1)
	c, err := net.Dial("udp", u.Addr())
	require.NoError(t, err)
	r, wall := u.readers[0], clock.NewSystem()
	good, bad := []byte("a:1|c|#x:y\nb:2|c"), []byte("a:x|c|#x:y\nb\nc:1|c|@7")
	one := func(line []byte) func() {
		return func() {
			_, err := c.Write(line)
			require.NoError(t, err)
			require.NoError(t, r.batch.receive(r.conn, r.raw))
			r.feed(wall.Now())
		}
	}
	// A second that begins meanwhile makes a list once; the average forgives it.
	require.Zero(t, testing.AllocsPerRun(2000, one(good)))
	// A rejected line costs the sample for the log, once a reason and batch.
	require.LessOrEqual(t, testing.AllocsPerRun(2000, one(bad)), 3.0)
	require.NoError(t, c.Close())
	require.NoError(t, u.Close())
}

// TestSendersAreAskedForWhereItMatters: on a busy socket only after a fault.
func TestSendersAreAskedForWhereItMatters(t *testing.T) {
	if !canShare {
		t.Skip("elsewhere the address always comes along")
	}
	u, _ := listen(t, 1)
	c, err := net.Dial("udp", u.Addr())
	require.NoError(t, err)
	r := u.readers[0]
	at := clock.NewSystem().Now()
	full := func(line string) {
		for range batchSize {
			_, err := c.Write([]byte(line))
			require.NoError(t, err)
		}
		require.NoError(t, r.batch.receive(r.conn, r.raw))
		require.Equal(t, batchSize, r.batch.n)
		r.feed(at)
	}
	require.True(t, r.batch.sys.named)
	full("a:1|c")
	require.False(t, r.batch.sys.named, "busy")
	full("bad")
	require.True(t, r.batch.sys.named, "a fault")
	full("bad")
	require.Equal(t, []RejectCount{{"127.0.0.1", batchSize}, {"unknown", batchSize}}, Rejects(nil, u.Feeders()...).Senders)
	at = at.Add(2 * askTime)
	full("a:1|c")
	require.False(t, r.batch.sys.named, "the fault is long ago")
	require.NoError(t, c.Close())
	require.NoError(t, u.Close())
}

func TestInherit(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	_, err = Inherit(dup(t, file), "f")
	require.ErrorContains(t, err, "not a socket")
	require.NoError(t, file.Close())
	_, err = Inherit(1<<20, "none")
	require.ErrorContains(t, err, "not a socket")

	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer conn.Close()
	f, err := conn.File()
	require.NoError(t, err)
	defer f.Close()
	send, err := net.Dial("udp", conn.LocalAddr().String())
	require.NoError(t, err)
	defer send.Close()
	const rounds = 5
	total := 0
	for range rounds { // the queue outlives each owner
		_, err := send.Write([]byte("a:1|c"))
		require.NoError(t, err)
		in, err := Inherit(dup(t, f), "u")
		require.NoError(t, err)
		require.NotNil(t, in.UDP)
		u, err := AdoptUDP(in.UDP, stripe(testParser), testParser, 1<<16, clock.NewSystem())
		require.NoError(t, err)
		u.Start(func(err error) { t.Error(err) })
		require.NoError(t, u.Close())
		got, _ := u.Counts()
		total += int(got.Accepted)
	}
	require.Equal(t, rounds, total)

	path := filepath.Join(t.TempDir(), "s")
	gram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer gram.Close()
	f, err = gram.File()
	require.NoError(t, err)
	defer f.Close()
	in, err := Inherit(dup(t, f), "g")
	require.NoError(t, err)
	require.NotNil(t, in.UDS)
	uds, err := AdoptUDS(in.UDS, stripe(testParser), testParser, clock.NewSystem())
	require.NoError(t, err)
	require.Equal(t, path, uds.Addr())
	require.NoError(t, uds.Close())
	require.FileExists(t, path, "its holder goes on")
}

// dup returns a descriptor that the callee may close.
func dup(t *testing.T, f *os.File) int {
	t.Helper()
	raw, err := f.SyscallConn()
	require.NoError(t, err)
	fd := -1
	require.NoError(t, raw.Control(func(p uintptr) { fd, err = syscall.Dup(int(p)) }))
	require.NoError(t, err)
	return fd
}
