package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// traffic is a sender that goes on whatever the server does.
type traffic struct {
	sent atomic.Int64 // events
	stop chan struct{}
	once sync.Once
	wg   sync.WaitGroup
}

// startTraffic returns once the server counts it.
func startTraffic(t *testing.T, s *server) *traffic {
	t.Helper()
	tr := &traffic{stop: make(chan struct{})}
	conn := s.Dial()
	tr.wg.Go(func() {
		tick := time.NewTicker(time.Millisecond) // fast enough to be under way at any instant
		defer tick.Stop()
		for {
			select {
			case <-tr.stop:
				return
			case <-tick.C:
				// Refused once the server is gone.
				if _, err := conn.Write([]byte("noise:1|c\nnoise:1|c|#k:v")); err == nil {
					tr.sent.Add(2)
				}
			}
		}
	})
	t.Cleanup(tr.end)
	eventually(t, seenLimit, func() (bool, string) { return s.Total("noise", "1s") > 0, "no traffic" })
	return tr
}

func (tr *traffic) end() { tr.once.Do(func() { close(tr.stop); tr.wg.Wait() }) }

// burst sends what fits into the receive buffers and returns how many events
// that were; none may be lost, whether they were read already or not.
func burst(t *testing.T, s *server) int {
	t.Helper()
	const senders, lines = 8, 50
	f := s.Figures()
	room := f[`cairn_udp_receive_buffer_bytes{socket="`+s.UDP+`/0"}`]
	// A datagram of a kilobyte takes up to 2.3 kB of it. All senders may hash to
	// one socket, so that no more than one buffer may be filled.
	n := int(min(2000, max(senders, room/4096)))
	payload := []byte(strings.Repeat("before:1|c|#k:v\n", lines))
	for range senders {
		conn := s.Dial()
		for range n / senders {
			_, err := conn.Write(payload)
			require.NoError(t, err)
		}
	}
	return n / senders * senders * lines
}

func TestASignalLosesNothingThatWasSent(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			s.Send("early:1|c") // some of it flushed before
			s.await(stored, 1)
			traffic := startTraffic(t, s)
			sent := burst(t, s)
			noisy := traffic.sent.Load()
			begin := time.Now()
			s.Signal(sig)
			code := s.Wait()
			took := time.Since(begin)
			traffic.end()
			require.Zero(t, code, s.Output())
			requireNoTrace(t, s.Output())
			t.Logf("%d events were sent; it stopped within %s", sent, took)

			s = startServer(t, "--data-dir", s.Dir)
			s.RequireTotal(float64(sent), "before")
			s.RequireTotal(1, "early")
			total := s.Total("noise", "1s")
			require.GreaterOrEqual(t, total, float64(noisy), "some of the traffic before the signal is gone")
			require.LessOrEqual(t, total, float64(traffic.sent.Load()), "more than was ever sent")
			s.RequireTotal(total, "noise")
		})
	}
}

// TestNobodyReadsTheOutput ends the reader of standard output, as `| head` does:
// the server must still flush when it is stopped, although it cannot say so.
func TestNobodyReadsTheOutput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	read, write, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command(binary, "serve", "--udp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", dir)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = cleanEnv(nil), write, write, child()
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it may have exited
	require.NoError(t, write.Close())
	var udp string
	for lines := bufio.NewScanner(read); udp == "" && lines.Scan(); {
		if _, after, ok := strings.Cut(lines.Text(), "/dev/udp/"); ok {
			udp = strings.Replace(after, "/", ":", 1)
		}
	}
	require.NoError(t, read.Close())
	conn, err := net.Dial("udp", udp)
	require.NoError(t, err)
	_, err = conn.Write([]byte("kept:1|c\nbad")) // the bad line is logged
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait())
	s := startServer(t, "--data-dir", dir)
	s.RequireTotal(1, "kept")
}

func TestKilledServerKeepsWhatWasFlushedAndStartsAgain(t *testing.T) {
	t.Parallel()
	k := newKnown()
	s := startServer(t)
	k.send(t, s, random(t), 50)
	s.AwaitReceived(k.events)
	s.AwaitFlushed(func() {})
	s.Signal(syscall.SIGKILL)
	require.Equal(t, -1, s.Wait(), "killed by a signal")

	again := startServer(t, "--data-dir", s.Dir)
	k.require(t, again)
	again.Send("after:1|c")
	again.AwaitReceived(1)
	again.RequireTotal(1, "after")
	again.MustStop()
}

func TestASecondProcessOnOneDataDir(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.Send("a:1|c")
	s.AwaitReceived(1)
	for range 2 { // a failed attempt must not take the first one's lock away
		second := launch(t, nil, "--data-dir", s.Dir)
		require.Equal(t, 1, second.Wait())
		require.Contains(t, second.stderr.String(), fmt.Sprintf("PID %d", s.PID))
		require.Contains(t, second.stderr.String(), s.Dir)
		require.Empty(t, second.stdout.String())
		requireSentence(t, second.stderr.String())
	}
	s.Send("a:1|c")
	s.AwaitReceived(2)
	s.AwaitFlushed(func() { s.RequireTotal(2, "a") })
	s.MustStop()
	s = startServer(t, "--data-dir", s.Dir)
	s.RequireTotal(2, "a")
}

func TestAConnectionThatHangsDoesNotHoldUpTheStop(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, half := range []string{"", "GET / HT", "GET /api/status HTTP/1.1\r\nHost: x\r\n"} {
		s.rawHTTP(half)
	}
	s.Send("a:1|c")
	s.AwaitReceived(1)
	s.MustStop()
}

func TestStatusAndHealth(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--grace", "7s")
	var status struct {
		Version string   `json:"version"`
		Started int64    `json:"started"`
		Now     int64    `json:"now"`
		UDP     []string `json:"udp"`
		HTTP    string   `json:"http"`
		Grace   int64    `json:"grace"`
	}
	s.getJSON("/api/status", nil, &status)
	require.NotEmpty(t, status.Version)
	require.Equal(t, []string{s.UDP}, status.UDP)
	require.Equal(t, s.HTTP, status.HTTP)
	require.Equal(t, int64(7), status.Grace)
	require.InDelta(t, time.Now().Unix(), status.Now, 5)
	require.InDelta(t, time.Now().Unix(), status.Started, startLimit.Seconds())
	require.True(t, strings.HasPrefix(s.stdout.String(), "Cairn "+status.Version+"\n"))
	for _, path := range []string{"/-/healthy", "/-/ready"} {
		resp, body := s.Get(path, nil)
		require.Equal(t, 200, resp.StatusCode, path)
		require.NotEmpty(t, body)
	}
}
