package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	killCycles = 30 // where nobody asks for more
	// compareEvery is after how many cycles everything is compared: often enough
	// that what went wrong is found in the log, and seldom, because it costs more
	// than a cycle.
	compareEvery = 15
	// lossSpan is how long before a kill an event may have been sent that is lost: a
	// second, and what a busy machine may take to write and sync what came in it.
	lossSpan = time.Second + 1500*time.Millisecond
	// readAtOnce bounds the datagrams that a server may have taken out of the queue
	// and not counted yet when it is killed.
	readAtOnce = 64
)

// killLoop kills one server after another on one data dir.
type killLoop struct {
	t       testing.TB
	r       *rand.Rand
	root    string // has the data dir and the clients' log
	address string
	sockets []*os.File
	oracle  *oracle
	clients *clients
	udp     *datagrams
	losses  losses
	first   int64 // the earliest second of a datagram's event

	server *server
	base   int // datagrams that earlier runs had read
	// unread is how many events were read from the queue and not counted yet when a
	// server was killed in the middle of them. The server cannot know of them.
	unread  int
	rude    bool          // the last kill did not wait for the queue
	lost    int           // events of datagrams in all
	killed  moment        // the last kill of a server that had read datagrams
	oldest  time.Duration // before a kill, that something lost was sent
	longest time.Duration // of the starts

	early, ordinary, stopped, rudes, lossy int
}

// TestKilledServersLoseNothing kills the server again and again, at any moment, while
// clients send batches and datagrams. What was acknowledged counts exactly once, and
// what datagrams lose is what the server says.
//
// CAIRN_PROVE_CYCLES is how often; CAIRN_PROVE_SEED repeats all choices of an earlier
// run, though not its timing.
func TestKilledServersLoseNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the queue of a socket is looked at in /proc/net/udp")
	}
	t.Parallel()
	cycles, seed := killCycles, rand.Uint64()
	if v := os.Getenv("CAIRN_PROVE_CYCLES"); v != "" {
		n, err := strconv.Atoi(v)
		require.NoError(t, err, "CAIRN_PROVE_CYCLES")
		cycles = n
	}
	if v := os.Getenv("CAIRN_PROVE_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		require.NoError(t, err, "CAIRN_PROVE_SEED")
		seed = n
	}
	t.Logf("CAIRN_PROVE_SEED=%d", seed)
	k := newKillLoop(t, seed)
	begin := time.Now()
	for i := range cycles {
		k.cycle(i)
		require.False(t, t.Failed(), "in cycle %d", i)
		if (i+1)%100 == 0 {
			fmt.Printf("prove: %s\n", k.state(i+1, begin))
		}
	}
	k.last()
	t.Log(k.state(cycles, begin))
}

// state says what was done so far. The sender of datagrams is paused.
func (k *killLoop) state(cycles int, begin time.Time) string {
	c := k.clients
	return fmt.Sprintf("%d cycles in %s: %d kills at the start, %d at work, %d while it stopped; the slowest start took %s\n"+
		"  %d batches; %d tries failed, %d batches were counted though nobody was told; %d were sent again\n"+
		"  %d datagrams; %d events lost by %d kills, as the server says, sent at most %s before; %d more in %d kills that did not wait for the queue",
		cycles, time.Since(begin).Round(time.Second), k.early, k.ordinary, k.stopped, k.longest.Round(time.Millisecond),
		c.acked.Load(), c.retried.Load(), c.doubles.Load(), c.again.Load(),
		k.udp.packets, k.losses.sum(), k.lossy, k.oldest.Round(time.Millisecond), k.unread, k.rudes)
}

func newKillLoop(t *testing.T, seed uint64) *killLoop {
	t.Helper()
	root, err := os.MkdirTemp("", "cairn-kill-")
	require.NoError(t, err)
	k := &killLoop{t: t, r: rand.New(rand.NewPCG(seed, 0)), root: root, oracle: newOracle(), losses: losses{}, first: time.Now().Unix() - 3600}
	k.udp = startDatagrams(t, seed)
	page, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	k.address = page.Addr().String()
	for _, s := range []filer{k.udp.socket, page} {
		f, err := s.File()
		require.NoError(t, err)
		k.sockets = append(k.sockets, f)
	}
	k.clients = startClients(t, seed, k.address, filepath.Join(root, "clients.log"), k.oracle)
	t.Cleanup(func() {
		k.clients.end()
		k.udp.end()
		for _, f := range k.sockets {
			_ = f.Close()
		}
		_ = page.Close()
		if t.Failed() {
			t.Logf("CAIRN_PROVE_SEED=%d; the data dir and the clients' log are kept in %s", seed, root)
			return
		}
		require.NoError(t, os.RemoveAll(root))
	})
	return k
}

// start launches a server and does not wait.
func (k *killLoop) start(args ...string) {
	s := &server{
		t: k.t, Dir: filepath.Join(k.root, "data"), HTTP: k.address, UDP: k.udp.socket.LocalAddr().String(),
		stdout: new(transcript), stderr: new(transcript), exited: make(chan struct{}), client: k.clients.http,
	}
	all := append([]string{"-c", `LISTEN_PID=$$ exec "$0" serve "$@"`, binary, "--data-dir", s.Dir}, args...)
	s.cmd = exec.Command("/bin/sh", all...)
	s.cmd.Env = cleanEnv([]string{"LISTEN_FDS=2", "LISTEN_FDNAMES=udp:http"})
	s.cmd.ExtraFiles = k.sockets
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.SysProcAttr = s.stdout, s.stderr, child()
	require.NoError(k.t, s.cmd.Start())
	s.PID = s.cmd.Process.Pid
	go func() {
		defer close(s.exited)
		_ = s.cmd.Wait() // killed
	}()
	k.t.Cleanup(func() {
		s.Kill()
		if k.t.Failed() && k.server == s {
			k.t.Logf("%v printed:\n%s", all[3:], s.Output())
		}
	})
	k.server = s
}

// settings are those of one start.
func (k *killLoop) settings() []string {
	pick := func(list ...string) string { return list[k.r.IntN(len(list))] }
	args := []string{"--journal-size", pick("32KiB", "256KiB", "4MiB"), "--min-free-disk", "16MiB"}
	if k.r.IntN(2) == 0 {
		args = append(args, "--grace", pick("1s", "2s"), "--flush-interval", "1s")
	}
	if k.r.IntN(4) == 0 {
		args = append(args, "--journal-retention", "0s")
	}
	if k.r.IntN(4) == 0 {
		args = append(args, "--journal-sync=false") // a kill is no power cut
	}
	return args
}

// cycle starts a server and kills it.
func (k *killLoop) cycle(i int) {
	k.start(k.settings()...)
	// Whatever the last one had not counted is in the queue, and where it begins is
	// only known of a server that has read it.
	if !k.rude && k.r.IntN(3) == 0 {
		k.wait(time.Duration(k.r.Int64N(int64(300 * time.Millisecond))))
		k.early++
		k.kill()
		return
	}
	k.settle()
	if (i+1)%compareEvery == 0 {
		k.compare()
	}
	k.udp.resume()
	k.wait(time.Duration(k.r.Int64N(int64(1800 * time.Millisecond))))
	switch k.r.IntN(6) {
	case 0:
		k.rude = true
		k.rudes++
		k.kill()
		k.udp.pause()
		k.killed = k.udp.moment()
	case 1:
		k.udp.pause()
		k.udp.awaitRead(k.server, k.udp.packets-k.base)
		k.killed = k.udp.moment()
		k.server.Signal(syscall.SIGTERM)
		k.wait(time.Duration(k.r.Int64N(int64(100 * time.Millisecond))))
		k.stopped++
		k.kill()
		k.base = k.udp.packets
		return
	default:
		k.udp.pause()
		k.udp.awaitRead(k.server, k.udp.packets-k.base)
		k.killed = k.udp.moment()
		k.kill()
		k.base = k.udp.packets
	}
	k.ordinary++
}

// wait waits while the server is at work; it must not end by itself.
func (k *killLoop) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-k.server.exited:
		// One that was told to stop may be done.
		require.Contains(k.t, k.server.Output(), "Stopped; everything received is stored.")
	}
}

// kill ends the server at once.
func (k *killLoop) kill() {
	k.server.Kill()
	output := k.server.Output()
	requireNoTrace(k.t, output)
	require.NotContains(k.t, output, "level=ERROR")
	k.losses.read(k.t, output)
}

// settle waits until the server has replayed the journal and read the queue, and
// compares what kills have cost with what it says. The sender of datagrams is paused.
func (k *killLoop) settle() {
	t, s := k.t, k.server
	begin := time.Now()
	eventually(t, startLimit, func() (bool, string) {
		select {
		case <-s.exited:
			require.FailNow(t, "the server ended by itself", "%s", s.Output())
		default:
		}
		if !strings.Contains(s.stdout.String(), "dashboard") {
			return false, s.Output() // nobody accepts yet
		}
		resp, _ := s.Get("/-/ready", nil)
		return resp.StatusCode == 200, s.Output()
	})
	k.longest = max(k.longest, time.Since(begin))
	if k.rude {
		k.base = k.udp.packets - k.udp.awaitIdle(s)
	} else {
		k.udp.awaitRead(s, 0)
	}
	told := s.lostEver()
	eventually(t, seenLimit, func() (bool, string) { // a line takes its time through the pipe
		k.losses.read(t, s.Output())
		return k.losses.sum() == told, fmt.Sprintf("/api/quality tells that %d events are lost, and the log that %d are", told, k.losses.sum())
	})
	lost := k.udp.events - k.udp.present(s, k.first)
	unknown := lost - told - k.unread
	if k.rude {
		require.GreaterOrEqual(t, unknown, 0, "more is said to be lost than is")
		require.LessOrEqual(t, unknown, readAtOnce*datagramLines, "lost between the queue and the count")
		k.unread += unknown
	} else {
		require.Zero(t, unknown, "%d events are lost, %d are said to be, and %d had been lost before they were counted", lost, told, k.unread)
	}
	age := k.udp.age(k.killed, lost-k.lost)
	require.LessOrEqual(t, age, lossSpan, "%d events are lost, more than was sent in this time", lost-k.lost)
	if lost > k.lost {
		k.lossy++
	}
	k.oldest = max(k.oldest, age)
	k.lost, k.rude = lost, false
}

// compare compares all that was acknowledged.
func (k *killLoop) compare() {
	resume := k.clients.pause()
	defer resume()
	k.oracle.require(k.t, k.server)
}

// last compares everything with a server that has nothing in the store yet of what the
// last kill left, again when it is there, and after a stop in order.
func (k *killLoop) last() {
	k.start("--grace", "1s", "--flush-interval", "1s")
	k.settle()
	resume := k.clients.pause()
	defer resume()
	k.oracle.require(k.t, k.server)
	eventually(k.t, seenLimit, func() (bool, string) {
		n := k.server.Figures()[open]
		return n == 0, fmt.Sprintf("%v events are not stored", n)
	})
	k.oracle.require(k.t, k.server)
	k.server.MustStop()
	lost := k.lost
	k.base = k.udp.packets
	k.losses.read(k.t, k.server.Output())
	k.start()
	k.settle()
	require.Equal(k.t, lost, k.lost, "a stop in order has lost something")
	k.oracle.require(k.t, k.server)
	k.server.MustStop()
}
