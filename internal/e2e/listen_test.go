package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// filer is a socket that can be handed to another process.
type filer interface {
	File() (*os.File, error)
	Close() error
}

// activate starts the server as a service manager does: with sockets from
// descriptor 3 on, and variables that name the process itself.
func activate(t *testing.T, dir, names string, sockets []*os.File, args ...string) *server {
	t.Helper()
	s := &server{t: t, Dir: dir, stdout: new(transcript), stderr: new(transcript), exited: make(chan struct{})}
	all := append([]string{"-c", `LISTEN_PID=$$ exec "$0" serve "$@"`, binary, "--grace", "1s", "--flush-interval", "1s", "--data-dir", dir}, args...)
	s.cmd = exec.Command("/bin/sh", all...)
	s.cmd.Env = cleanEnv([]string{fmt.Sprintf("LISTEN_FDS=%d", len(sockets)), "LISTEN_FDNAMES=" + names})
	s.cmd.ExtraFiles = sockets
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.SysProcAttr = s.stdout, s.stderr, child()
	require.NoError(t, s.cmd.Start())
	s.PID = s.cmd.Process.Pid
	go func() {
		defer close(s.exited)
		_ = s.cmd.Wait() // the exit code says it
	}()
	t.Cleanup(s.Kill)
	ready := regexp.MustCompile(`(?s)dashboard +http://\S+\n.*send a count .*\n`)
	eventually(t, startLimit, func() (bool, string) { return ready.MatchString(s.stdout.String()), s.Output() })
	return s
}

// TestARestartLosesNoDatagram keeps sending while the server is down: the queue
// belongs to whoever holds the sockets.
func TestARestartLosesNoDatagram(t *testing.T) {
	t.Parallel()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "s")
	uds, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	page, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	var sockets []*os.File
	for _, s := range []filer{udp, uds, tcp, page} {
		f, err := s.File()
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, f.Close()); require.NoError(t, s.Close()) })
		sockets = append(sockets, f)
	}
	senders := []net.Conn{}
	for _, to := range []net.Addr{udp.LocalAddr(), uds.LocalAddr()} {
		c, err := net.Dial(to.Network(), to.String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		senders = append(senders, c)
	}
	sent := 0
	send := func() {
		for range 5 { // a Unix socket queues 10 datagrams where the kernel's default holds
			for _, c := range senders {
				_, err := c.Write([]byte("kept:1|c"))
				require.NoError(t, err)
			}
		}
		c, err := net.Dial("tcp", tcp.Addr().String())
		require.NoError(t, err)
		_, err = c.Write([]byte("kept:1|c\nkept:1|c"))
		require.NoError(t, err)
		require.NoError(t, c.Close())
		sent += 12
	}
	dir := t.TempDir()
	send() // before the first start
	for range 3 {
		s := activate(t, dir, "etsy-udp:uds:tcp:http", sockets, "--udp", "127.0.0.1:1") // replaced, or it would need root
		require.Contains(t, s.Output(), udp.LocalAddr().String()+"  dialect etsy")
		require.Contains(t, s.Output(), "http://"+page.Addr().String())
		send() // while it runs
		s.MustStop()
		require.FileExists(t, path)
		send() // while it is down
	}
	// The last start finds what is queued; nobody sends any more.
	s := activate(t, dir, "etsy-udp:uds:tcp:http", sockets)
	s.MustStop()
	last := startServer(t, "--data-dir", dir)
	// TCP connections that nobody had accepted are still queued at a stop.
	if total := int(last.Total("kept", "1s")); total != sent {
		last.MustStop()
		again := activate(t, dir, "etsy-udp:uds:tcp:http", sockets)
		again.HTTP, again.client = page.Addr().String(), last.client
		eventually(t, seenLimit, func() (bool, string) {
			total := int(again.Total("kept", "1s"))
			return total == sent, fmt.Sprintf("%d of %d", total, sent)
		})
		again.MustStop()
		last = startServer(t, "--data-dir", dir)
	}
	last.RequireTotal(float64(sent), "kept")
}

func TestEverySortOfListener(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	s := startServer(t, "--udp", "127.0.0.1:0", "--udp", "brubeck@127.0.0.1:0", "--uds", path, "--tcp", "etsy@127.0.0.1:0")
	var status struct {
		UDP, UDS, TCP []string
	}
	s.getJSON("/api/status", nil, &status)
	require.Len(t, status.UDP, 2)
	require.Equal(t, []string{path}, status.UDS)
	require.Len(t, status.TCP, 1)
	for _, to := range [][2]string{{"udp", status.UDP[0]}, {"udp", status.UDP[1]}, {"unixgram", path}, {"tcp", status.TCP[0]}} {
		c, err := net.Dial(to[0], to[1])
		require.NoError(t, err)
		_, err = c.Write([]byte("a:1|c|#x:y\n"))
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	s.AwaitReceived(4)
	s.RequireTotal(4, "a")
	for _, line := range []string{"StatsD (UDP)  " + status.UDP[1] + "  dialect brubeck\n", "StatsD (UDS)  " + path + "\n", "StatsD (TCP)  " + status.TCP[0] + "  dialect etsy\n"} {
		require.Contains(t, s.Output(), line)
	}
	second := refuse(t, 1, nil, "--uds", path)
	require.Contains(t, second, path+" is in use by another process")
	s.Signal(syscall.SIGKILL)
	s.Wait()
	require.FileExists(t, path)
	s = startServer(t, "--uds", path)
	s.MustStop()
	require.NoFileExists(t, path)
	require.False(t, strings.Contains(s.Output(), "WARN"))
}
