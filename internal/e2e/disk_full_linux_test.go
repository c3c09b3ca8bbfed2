package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// backLimit is within which time everything goes on by itself once there is room.
const backLimit = 10 * time.Second

func (s *server) AwaitOutput(text string) {
	s.t.Helper()
	eventually(s.t, seenLimit, func() (bool, string) {
		select {
		case <-s.exited:
			require.FailNow(s.t, "the process ended", "%s", s.Output())
		default:
		}
		return strings.Contains(s.Output(), text), "it does not say: " + text
	})
}

// requireUp fails unless reads work.
func (s *server) requireUp() {
	s.t.Helper()
	for _, path := range []string{"/", "/metrics", "/api/metrics", "/-/healthy"} {
		resp, body := s.Get(path, nil)
		require.Equal(s.t, 200, resp.StatusCode, "%s: %s", path, body)
	}
}

// awaitAll waits until everything that was accepted is in the store.
func (s *server) awaitAll(limit time.Duration) {
	s.t.Helper()
	eventually(s.t, limit, func() (bool, string) {
		f := s.Figures()
		return f[open] == 0, fmt.Sprintf("%v events are open", f[open])
	})
}

// TestDiskBelowItsFloor lets another file take the room that the server leaves.
func TestDiskBelowItsFloor(t *testing.T) {
	t.Parallel()
	d := newSmallDisk(t)
	s := startServer(t, "--data-dir", d.Data(), "--min-free-disk", "16MiB")
	q := newSequencer(t, s)
	require.Equal(t, 200, q.Next())
	s.Send("sent:1|c")
	d.Fill(8 << 20)
	q.Await(503, seenLimit)
	s.AwaitOutput("nothing is written any more")
	for i := range 5 {
		s.Send(fmt.Sprintf("sent:1|c|T%d", time.Now().Unix()-int64(i)))
	}
	eventually(t, seenLimit, func() (bool, string) {
		n := s.Total("sent", "1m")
		return n == 6, fmt.Sprintf("%v", n)
	})
	s.AwaitOutput("in memory only")
	for range 3 {
		require.Equal(t, 503, q.Next())
	}
	s.requireUp()
	q.Check()
	s.RequireTotal(6, "sent")

	begin := time.Now()
	d.Empty()
	q.Await(200, backLimit)
	s.awaitAll(backLimit - time.Since(begin))
	s.AwaitOutput("there is room on the disk again")
	q.Check()
	s.RequireTotal(6, "sent")
	s.Kill()
	again := startServer(t, "--data-dir", d.Data(), "--min-free-disk", "16MiB")
	q.s = again
	q.Check()
	again.RequireTotal(6, "sent")
	q.Again()
	again.MustStop()
}

// onePage is what is left on a disk that no floor keeps anybody from filling: so it
// does not count as full, and the next write finds that it is.
const onePage = 4096

// fillStore fills the disk while batches are journaled that are not in the store yet,
// until the store has found it full.
func fillStore(t *testing.T, d *smallDisk, q *sequencer) {
	t.Helper()
	for range 20 {
		code := q.Next()
		d.Fill(onePage)
		if code != 200 {
			d.Empty()
			q.Await(200, backLimit)
			continue
		}
		for range 30 {
			time.Sleep(100 * time.Millisecond) // flushes are every second
			if strings.Contains(q.s.Output(), "the store waits") {
				return
			}
			select {
			case <-q.s.exited:
				require.FailNow(t, "the process ended", "%s", q.s.Output())
			default:
			}
			d.Fill(onePage)
		}
		d.Empty()
		q.Await(200, backLimit)
	}
	require.FailNow(t, "the store never found the disk full")
}

// startOnFullDisk returns a server whose store waits for room, with one event that came
// by datagram since.
func startOnFullDisk(t *testing.T) (*smallDisk, *server, *sequencer) {
	t.Helper()
	d := newSmallDisk(t)
	s := startServer(t, "--data-dir", d.Data(), "--min-free-disk", "1")
	q := newSequencer(t, s)
	for range 3 {
		require.Equal(t, 200, q.Next())
	}
	fillStore(t, d, q)
	s.Send("sent:1|c")
	eventually(t, seenLimit, func() (bool, string) { return s.Total("sent", "1s") == 1, "it does not count" })
	for range 5 {
		q.Next()
		d.Fill(0)
	}
	require.NotEmpty(t, q.refused)
	s.requireUp()
	q.Check()
	return d, s, q
}

func TestDiskIsFullAndThereIsRoomAgain(t *testing.T) {
	t.Parallel()
	d, s, q := startOnFullDisk(t)
	// A little room does not help, and must do no harm.
	d.Empty()
	d.Fill(16 << 10)
	time.Sleep(time.Second) // it looks four times; nothing tells that it did
	s.requireUp()
	begin := time.Now()
	d.Empty()
	q.Await(200, backLimit)
	s.awaitAll(backLimit - time.Since(begin))
	q.Check()
	s.RequireTotal(1, "sent")
	q.Again()
	s.MustStop()
	q.s = startServer(t, "--data-dir", d.Data(), "--min-free-disk", "1")
	q.Check()
	q.s.RequireTotal(1, "sent")
}

func TestKilledOnAFullDisk(t *testing.T) {
	t.Parallel()
	d, s, q := startOnFullDisk(t)
	s.Kill()
	refuse(t, 1, nil, "--data-dir", d.Data(), "--min-free-disk", "1")
	d.Empty()
	q.s = startServer(t, "--data-dir", d.Data(), "--min-free-disk", "1")
	q.s.awaitQuality(func(a *quality) bool { return !a.Replay.Running }) // until then reads lack what is in the journal
	q.Check()
	q.Again()
	q.s.MustStop()
}

func TestStoppedOnAFullDisk(t *testing.T) {
	t.Parallel()
	d, s, q := startOnFullDisk(t)
	code, took, output := s.Stop()
	require.Equal(t, 1, code, output)
	require.Less(t, took, 8*time.Second)
	require.Contains(t, output, "cairn: ")
	require.NotContains(t, output, "everything received is stored")
	requireNoTrace(t, output)
	d.Empty()
	q.s = startServer(t, "--data-dir", d.Data(), "--min-free-disk", "1")
	q.s.awaitQuality(func(a *quality) bool { return !a.Replay.Running }) // until then reads lack what is in the journal
	q.Check()
	q.Again()
	q.s.MustStop()
}

// TestMemoryIsFullToo sends to a server that cannot write until its memory for open
// seconds is full: what it sheds is counted, and what it took is there later.
func TestMemoryIsFullToo(t *testing.T) {
	t.Parallel()
	d := newSmallDisk(t)
	s := startServer(t, "--data-dir", d.Data(), "--min-free-disk", "16MiB", "--max-memory", "64MiB")
	d.Fill(8 << 20)
	s.AwaitOutput("nothing is written any more")
	// A second of its own for each event: each costs as much as many series.
	const most = 60_000
	newest := time.Now().Unix()
	sent := 0
	overload := func() float64 { return s.Figures()[`cairn_events_shed_total{reason="memory"}`] }
	for sent < most && overload() == 0 {
		for range 10 {
			var lines []string
			for range 40 {
				lines = append(lines, fmt.Sprintf("sent:1|c|T%d", newest-int64(sent)))
				sent++
			}
			s.Send(lines...)
		}
		s.AwaitReceived(sent)
	}
	shed := overload()
	require.Positive(t, shed, "after %d events", sent)
	require.Less(t, shed, float64(sent))
	s.requireUp()
	total := func() (out []float64) {
		for _, step := range steps {
			sum := 0.0
			for to := newest/3600*3600 + 3600; to > newest-most; to -= 3600 {
				sum += s.Query(url.Values{"metric": {"sent"}, "step": {step}, "from": {fmt.Sprint(to - 3600)}, "to": {fmt.Sprint(to)}}).Total
			}
			out = append(out, sum)
		}
		return out
	}
	want := float64(sent) - shed
	require.Equal(t, []float64{want, want, want, want}, total())
	d.Empty()
	s.awaitAll(backLimit)
	require.Equal(t, []float64{want, want, want, want}, total())
	s.Send("later:1|c")
	s.AwaitReceived(sent + 1)
	s.RequireTotal(1, "later")
	require.Equal(t, shed, overload())
	s.MustStop()
}

func TestStoppedBelowTheFloor(t *testing.T) {
	t.Parallel()
	d := newSmallDisk(t)
	s := startServer(t, "--data-dir", d.Data(), "--min-free-disk", "16MiB")
	q := newSequencer(t, s)
	require.Equal(t, 200, q.Next())
	d.Fill(8 << 20)
	q.Await(503, seenLimit)
	s.Send("sent:7|c")
	s.AwaitOutput("in memory only")
	s.Signal(syscall.SIGTERM)
	require.Equal(t, 1, s.Wait(), s.Output())
	require.Contains(t, s.stderr.String(), "--min-free-disk")
	requireNoTrace(t, s.Output())
	d.Empty()
	q.s = startServer(t, "--data-dir", d.Data(), "--min-free-disk", "16MiB")
	q.Check()
	q.s.RequireTotal(7, "sent") // what came by datagram was journaled at last
	q.Again()
	q.s.MustStop()
}
