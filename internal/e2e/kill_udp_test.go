package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// datagrams is a sender that goes on whatever the server does. The socket belongs to
// the test, so that what is queued survives the server.
type datagrams struct {
	t      testing.TB
	socket *net.UDPConn // the server's; nobody reads it here
	conn   net.Conn
	r      *rand.Rand
	stop   chan struct{}
	wg     sync.WaitGroup
	paused bool // of the loop that kills: it holds mu

	mu      sync.Mutex // held while a datagram is sent; guards those below
	packets int
	events  int
	history []moment // of the last seconds
}

// moment is how many events had been sent at a time.
type moment struct {
	at     time.Time
	events int
}

const (
	// datagramEvery and datagramLines make 2,500 events a second: enough that the
	// sender is under way at any instant, and little enough for what one socket's
	// queue holds while the server is down.
	datagramEvery = 4 * time.Millisecond
	datagramLines = 10
	historyKept   = 4096
)

func startDatagrams(t testing.TB, seed uint64) *datagrams {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	require.NoError(t, socket.SetReadBuffer(4<<20))
	conn, err := net.Dial("udp", socket.LocalAddr().String())
	require.NoError(t, err)
	d := &datagrams{t: t, socket: socket, conn: conn, r: rand.New(rand.NewPCG(seed, 2)), stop: make(chan struct{})}
	d.pause() // the loop says when it may begin
	d.wg.Go(d.run)
	return d
}

// pause holds up the sender until resume.
func (d *datagrams) pause() {
	d.mu.Lock()
	d.paused = true
}

func (d *datagrams) resume() {
	d.paused = false
	d.mu.Unlock()
}

func (d *datagrams) run() {
	tick := time.NewTicker(datagramEvery)
	defer tick.Stop()
	for {
		select {
		case <-d.stop:
			return
		case <-tick.C:
		}
		d.mu.Lock()
		n, err := d.send()
		d.mu.Unlock()
		if err != nil {
			assert.NoError(d.t, err, "datagram %d", n)
			return
		}
	}
}

func (d *datagrams) send() (int, error) {
	var lines []string
	now := time.Now()
	for range datagramLines {
		tags := fmt.Sprintf("|#p:udp,s:%d", d.r.IntN(3))
		switch d.r.IntN(5) {
		case 0:
			lines = append(lines, "udp.counter:1|c"+tags)
		case 1:
			lines = append(lines, fmt.Sprintf("udp.counter:1|c%s|T%d", tags, now.Unix()-secondsBack(d.r)))
		case 2:
			lines = append(lines, fmt.Sprintf("udp.gauge:%d|g%s", d.r.IntN(100), tags))
		case 3:
			lines = append(lines, fmt.Sprintf("udp.distribution:%d|d%s", d.r.IntN(100), tags))
		case 4:
			lines = append(lines, "udp.plain:1|c")
		}
	}
	_, err := d.conn.Write([]byte(strings.Join(lines, "\n")))
	d.packets++
	d.events += datagramLines
	if len(d.history) == historyKept {
		d.history = append(d.history[:0], d.history[historyKept/2:]...)
	}
	d.history = append(d.history, moment{now, d.events})
	return d.packets, err
}

// moment returns how many events had been sent until now. The sender is paused.
func (d *datagrams) moment() moment { return moment{time.Now(), d.events} }

// age returns how long before m the first one of the last n events until then was
// sent. The sender is paused.
func (d *datagrams) age(m moment, n int) time.Duration {
	for _, h := range d.history {
		if n > 0 && h.events > m.events-n {
			return m.at.Sub(h.at)
		}
	}
	return 0
}

func (d *datagrams) end() {
	close(d.stop)
	if d.paused {
		d.resume()
	}
	d.wg.Wait()
	_ = d.conn.Close()
	_ = d.socket.Close()
}

// queue returns how many bytes wait in the socket's queue, and how many datagrams the
// kernel has dropped because it was full.
func (d *datagrams) queue() (waiting, drops int) {
	d.t.Helper()
	table, err := os.ReadFile("/proc/net/udp")
	require.NoError(d.t, err)
	port := fmt.Sprintf(":%04X", d.socket.LocalAddr().(*net.UDPAddr).Port)
	found := false
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line))
		// The sender's socket has the same remote address, not the same local one.
		if len(f) < 13 || !strings.HasSuffix(f[1], port) {
			continue
		}
		_, rx, _ := strings.Cut(f[4], ":")
		n, err := strconv.ParseInt(rx, 16, 64)
		require.NoError(d.t, err)
		lost, err := strconv.Atoi(f[len(f)-1])
		require.NoError(d.t, err)
		waiting, drops, found = waiting+int(n), drops+lost, true
	}
	require.True(d.t, found, "the socket is not in /proc/net/udp")
	return waiting, drops
}

// awaitRead waits until the server has counted n datagrams since its start. The sender
// is paused.
func (d *datagrams) awaitRead(s *server, n int) {
	d.t.Helper()
	eventually(d.t, seenLimit, func() (bool, string) {
		got := int(s.Figures()[packets])
		waiting, drops := d.queue()
		require.Zero(d.t, drops, "the kernel has dropped datagrams: the queue is too short for this machine")
		return got == n, fmt.Sprintf("%d of %d datagrams are read, %d bytes wait", got, n, waiting)
	})
}

// awaitIdle waits until the queue is empty and what was read is counted, and returns
// how many datagrams that are since the server's start.
func (d *datagrams) awaitIdle(s *server) (n int) {
	d.t.Helper()
	looks := 0
	eventually(d.t, seenLimit, func() (bool, string) {
		waiting, _ := d.queue()
		got := int(s.Figures()[packets])
		if looks++; waiting > 0 || got != n {
			looks = 0
		}
		n = got
		// A reader counts a datagram at most some milliseconds after it has taken it.
		return looks >= 5, fmt.Sprintf("%d bytes wait", waiting)
	})
	return n
}

// present returns how many events of datagrams the server has.
func (d *datagrams) present(s *server, first int64) (n int) {
	d.t.Helper()
	for metric, kind := range map[string]string{
		"udp.counter": "counter", "udp.plain": "counter", "udp.gauge": "gauge", "udp.distribution": "distribution",
	} {
		var totals [4]int
		for i, step := range steps {
			for _, b := range s.series(metric, kind, "count", step, first, time.Now().Unix()) {
				for _, v := range b {
					totals[i] += int(v)
				}
			}
		}
		for i := range totals {
			require.Equal(d.t, totals[0], totals[i], "%s at step %s and at step 1s", metric, steps[i])
		}
		n += totals[0]
	}
	return n
}

// losses are what the server says that its crashes have cost.
type losses map[string]int // by run

var lossLine = regexp.MustCompile(`run=(\d+) events_lost=(\d+) exact=(\w+)`)

// read takes over what a process said. One that is killed before it has written a loss
// down leaves it to the next one to say it again.
func (l losses) read(t testing.TB, output string) {
	t.Helper()
	for _, m := range lossLine.FindAllStringSubmatch(output, -1) {
		require.Equal(t, "true", m[3], "the machine was not restarted: %s", m[0])
		n, err := strconv.Atoi(m[2])
		require.NoError(t, err)
		if before, ok := l[m[1]]; ok {
			require.Equal(t, before, n, "two figures for one loss: %s", m[0])
		}
		l[m[1]] = n
	}
}

func (l losses) sum() (n int) {
	for _, v := range l {
		n += v
	}
	return n
}

// lostEver returns what the ledger tells of all losses, and checks that it balances.
func (s *server) lostEver() int {
	s.t.Helper()
	var q struct {
		Ledger struct {
			Imbalance int64 `json:"imbalance"`
			Lost      int   `json:"lost"`
		} `json:"ledger"`
	}
	s.getJSON("/api/quality", nil, &q)
	require.Zero(s.t, q.Ledger.Imbalance)
	return q.Ledger.Lost
}
