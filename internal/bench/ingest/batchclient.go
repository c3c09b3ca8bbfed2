//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/golang/snappy"

	"cairn/internal/clock"
)

// batchCommand as the first argument turns this program into the client of batches:
// address, seconds, batches a second (0: flat out).
const batchCommand = "batches"

const (
	batchConns  = 64
	batchEvents = 500
	// batchSeries is how many series the batches of all connections count.
	batchSeries = 10_000
)

// batchesSent is what the client prints.
type batchesSent struct {
	Batches uint64  `json:"batches"`
	Bytes   int     `json:"bytes"` // of one
	Secs    float64 `json:"secs"`
	P50     float64 `json:"p50"` // milliseconds from the first byte sent to the answer
	P99     float64 `json:"p99"`
	Longest float64 `json:"longest"`
}

// sendBatches sends batches over connections of their own, each a producer's, and
// waits for each answer. It speaks just the HTTP that it needs, so that the core that
// it has to itself is enough.
func sendBatches(args []string, out io.Writer) error {
	if len(args) != 3 {
		return errors.New("address, seconds and batches a second are needed")
	}
	secs, err1 := strconv.Atoi(args[1])
	rate, err2 := strconv.ParseFloat(args[2], 64)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	c := clock.NewSystem()
	rng := rand.New(rand.NewPCG(uint64(c.Now().UnixNano()), 0))
	conns := make([]*batchConn, batchConns)
	for i := range conns {
		b, err := newBatchConn(args[0], i, rng)
		if err != nil {
			return err
		}
		defer b.conn.Close()
		conns[i] = b
	}
	begin := c.Now()
	end := begin.Add(time.Duration(secs) * time.Second)
	errs := make([]error, len(conns))
	var wg sync.WaitGroup
	for i, b := range conns {
		wg.Go(func() {
			every := time.Duration(0)
			if rate > 0 {
				every = time.Duration(float64(batchConns) / rate * float64(time.Second))
			}
			errs[i] = b.run(c, begin.Add(every*time.Duration(i)/batchConns), end, every)
		})
	}
	wg.Wait()
	took := c.Now().Sub(begin)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	var all []time.Duration
	for _, b := range conns {
		all = append(all, b.took...)
	}
	if len(all) == 0 {
		return errors.New("no batch was answered")
	}
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return json.NewEncoder(out).Encode(batchesSent{
		Batches: uint64(len(all)), Bytes: len(conns[0].body), Secs: took.Seconds(),
		P50: ms(all[len(all)/2]), P99: ms(all[len(all)*99/100]), Longest: ms(all[len(all)-1]),
	})
}

// batchConn is one connection.
type batchConn struct {
	conn net.Conn
	in   *bufio.Reader
	head string // up to the number of the sequence
	body []byte
	out  []byte
	took []time.Duration
}

func newBatchConn(address string, n int, rng *rand.Rand) (*batchConn, error) {
	var lines bytes.Buffer
	for range batchEvents {
		i := rng.IntN(batchSeries)
		fmt.Fprintf(&lines, "api.requests.count_%04d:1|c|#env:prod,region:us-east-1,host:web-%05d\n", i%100, i)
	}
	body := snappy.Encode(nil, lines.Bytes())
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("POST /api/ingest HTTP/1.1\r\nHost: cairn\r\nContent-Type: text/plain\r\nContent-Encoding: snappy\r\nContent-Length: %d\r\n"+
		"Cairn-Producer: %08x-%04x-4000-8000-%012x\r\nCairn-Sequence: ", len(body), rng.Uint32(), rng.Uint32()>>16, n)
	return &batchConn{conn: conn, in: bufio.NewReader(conn), head: head, body: body}, nil
}

// run sends from begin on, every so often, or as soon as the last one is answered, until
// end.
func (b *batchConn) run(c clock.Clock, begin, end time.Time, every time.Duration) error {
	next := begin
	for seq := 1; ; seq++ {
		if every > 0 {
			if d := next.Sub(c.Now()); d > 0 {
				t := time.NewTimer(d)
				<-t.C
			}
			next = next.Add(every)
		}
		at := c.Now()
		if at.After(end) {
			return nil
		}
		b.out = append(b.out[:0], b.head...)
		b.out = strconv.AppendInt(b.out, int64(seq), 10)
		b.out = append(append(b.out, "\r\n\r\n"...), b.body...)
		if _, err := b.conn.Write(b.out); err != nil {
			return err
		}
		if err := b.answer(); err != nil {
			return fmt.Errorf("batch %d of a connection: %w", seq, err)
		}
		b.took = append(b.took, c.Now().Sub(at))
	}
}

// answer reads one: 200 and everything accepted.
func (b *batchConn) answer() error {
	length := -1
	status, err := b.in.ReadString('\n')
	if err != nil {
		return err
	}
	for {
		line, err := b.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return err
			}
		}
	}
	if length < 0 || length > 1<<20 {
		return fmt.Errorf("an answer of %d bytes: %s", length, status)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(b.in, body); err != nil {
		return err
	}
	if want := fmt.Sprintf(`{"accepted":%d,"rejected":[],"duplicate":false}`, batchEvents); string(bytes.TrimSpace(body)) != want {
		return fmt.Errorf("%s%s", status, body)
	}
	return nil
}
