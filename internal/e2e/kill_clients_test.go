package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// batch is one batch of a producer. It is sent until it is acknowledged, always the
// same.
type batch struct {
	sequence uint64
	body     []byte
	headers  map[string]string
	events   []occurrence
	bad      []int // lines that are to be rejected
	answer   reply // the first one
}

// reply is what POST /api/ingest answers.
type reply struct {
	Accepted int `json:"accepted"`
	Rejected []struct {
		Line   int    `json:"line"`
		Reason string `json:"reason"`
		Sample string `json:"sample"`
	} `json:"rejected"`
	Duplicate bool `json:"duplicate"`
}

// producer makes batches and remembers those that count.
type producer struct {
	uuid string
	name string

	mu       sync.Mutex // guards those below
	sequence uint64
	done     []*batch // the latest
}

// clients are producers that go on whatever the server does.
type clients struct {
	t      testing.TB
	url    string
	http   *http.Client
	oracle *oracle
	log    *os.File

	gate sync.RWMutex // held for reading from before a batch is made until it is acknowledged
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	acked, retried, again, doubles atomic.Int64
	logMu                          sync.Mutex // keeps the log's lines whole
}

const (
	rememberedBatches = 200 // of a producer; far fewer than the server remembers
	clientTimeout     = 15 * time.Second
)

// startClients starts three producers, one of which sends two batches at a time. The
// log tells what was sent and acknowledged, in case somebody has to find out.
func startClients(t testing.TB, seed uint64, address, log string, o *oracle) *clients {
	t.Helper()
	file, err := os.Create(log)
	require.NoError(t, err)
	c := &clients{
		t: t, url: "http://" + address + "/api/ingest", oracle: o, log: file,
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Timeout: clientTimeout},
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	r := rand.New(rand.NewPCG(seed, 1))
	var producers []*producer
	for i := range 3 {
		uuid := fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Int64N(1<<48))
		producers = append(producers, &producer{uuid: uuid, name: "p" + strconv.Itoa(i)})
	}
	for i, p := range append(producers, producers[0]) {
		c.wg.Go(func() { c.run(p, rand.New(rand.NewPCG(seed, uint64(10+i)))) })
	}
	return c
}

// end stops the clients; what they have not got an answer for stays unknown.
func (c *clients) end() {
	c.stop()
	c.wg.Wait()
	c.http.CloseIdleConnections()
	_ = c.log.Close() // all lines are synced
}

// pause waits until everything that was sent is acknowledged, and keeps the clients
// from sending more until resume is called.
func (c *clients) pause() (resume func()) {
	c.gate.Lock()
	return c.gate.Unlock
}

func (c *clients) run(p *producer, r *rand.Rand) {
	for c.ctx.Err() == nil && !c.t.Failed() {
		c.gate.RLock()
		c.step(p, r)
		c.gate.RUnlock()
		c.sleep(time.Duration(r.IntN(30)) * time.Millisecond) // thinks
	}
}

func (c *clients) step(p *producer, r *rand.Rand) {
	p.mu.Lock()
	p.sequence++
	b := p.make(p.sequence, r)
	var old *batch
	if len(p.done) > 0 && r.IntN(5) == 0 {
		old = p.done[r.IntN(len(p.done))]
	}
	p.mu.Unlock()
	from := time.Now().Unix()
	c.note("intent", p, b)
	if !c.deliver(p, b, false, r) {
		return
	}
	c.note("acknowledged", p, b)
	c.oracle.add(b.events, from, time.Now().Unix())
	c.acked.Add(1)
	p.mu.Lock()
	if p.done = append(p.done, b); len(p.done) > rememberedBatches {
		p.done = slices.Delete(p.done, 0, 1)
	}
	p.mu.Unlock()
	if old != nil {
		c.again.Add(1)
		c.deliver(p, old, true, r)
	}
	if old != nil && r.IntN(10) == 0 {
		c.reuse(p, old)
	}
}

// note writes to the log, synced.
func (c *clients) note(what string, p *producer, b *batch) {
	line := map[string]any{"what": what, "at": time.Now().UnixMilli(), "producer": p.name, "sequence": b.sequence}
	if what == "intent" {
		line["headers"], line["events"] = b.headers, fmt.Sprint(b.events)
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	c.logMu.Lock()
	_, err = c.log.Write(append(text, '\n'))
	c.logMu.Unlock()
	if err == nil {
		err = c.log.Sync()
	}
	assert.NoError(c.t, err)
}

// deliver sends a batch until it is acknowledged, or the clients end. known says that
// it was acknowledged before.
func (c *clients) deliver(p *producer, b *batch, known bool, r *rand.Rand) bool {
	for try := 0; c.ctx.Err() == nil && !c.t.Failed(); try++ {
		status, body, err := c.post(p, b.sequence, b.headers, b.body)
		switch {
		case err != nil, status == 429, status == 503:
			c.retried.Add(1)
			c.sleep(time.Duration(5+r.IntN(40)) * time.Millisecond)
			continue
		case status != 200:
			assert.Fail(c.t, "a batch is refused", "%s, sequence %d: %d: %s", p.name, b.sequence, status, body)
			return false
		}
		var a reply
		if err := json.Unmarshal(body, &a); err != nil {
			assert.Fail(c.t, "an answer cannot be read", "%s, sequence %d: %q", p.name, b.sequence, body)
			return false
		}
		return c.check(p, b, &a, known, try)
	}
	return false
}

// check compares an answer with what it must be.
func (c *clients) check(p *producer, b *batch, a *reply, known bool, try int) bool {
	what := fmt.Sprintf("%s, sequence %d, try %d, known %v: %+v", p.name, b.sequence, try, known, *a)
	ok := assert.Equal(c.t, len(b.events), a.Accepted, what)
	var lines []int
	for _, r := range a.Rejected {
		lines = append(lines, r.Line)
	}
	ok = assert.Equal(c.t, b.bad, lines, what) && ok
	if known {
		ok = assert.True(c.t, a.Duplicate, "counted twice: %s", what) && ok
		ok = assert.Equal(c.t, b.answer.Rejected, a.Rejected, what) && ok
	} else if try == 0 {
		ok = assert.False(c.t, a.Duplicate, "never sent before: %s", what) && ok
	}
	if a.Duplicate && !known {
		c.doubles.Add(1)
	}
	if !known {
		b.answer = *a
	}
	return ok
}

// reuse sends another payload under a sequence that counts.
func (c *clients) reuse(p *producer, b *batch) {
	status, body, err := c.post(p, b.sequence, map[string]string{}, []byte("never:1|c"))
	if err == nil && status != 429 && status != 503 {
		assert.Equal(c.t, http.StatusConflict, status, "%s, sequence %d: %s", p.name, b.sequence, body)
	}
}

func (c *clients) post(p *producer, sequence uint64, headers map[string]string, payload []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(c.ctx, http.MethodPost, c.url, bytes.NewReader(payload))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Cairn-Producer", p.uuid)
	req.Header.Set("Cairn-Sequence", strconv.FormatUint(sequence, 10))
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

func (c *clients) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
	}
}

// make makes a batch. The caller holds p.mu.
func (p *producer) make(sequence uint64, r *rand.Rand) *batch {
	b := &batch{sequence: sequence, headers: map[string]string{}}
	now := time.Now().Unix()
	n := 1 + r.IntN(40)
	if r.IntN(20) == 0 {
		n = 400
	}
	format := r.IntN(3)
	var lines []string
	for i := range n {
		if r.IntN(25) == 0 {
			b.bad = append(b.bad, i+1)
			lines = append(lines, []string{"bad:x|c", `{"metric":"bad","value":"x"}`}[min(format, 1)])
			continue
		}
		lines = append(lines, p.line(b, format > 0, now, r))
	}
	switch format {
	case 0:
		b.body = []byte(strings.Join(lines, "\n"))
	case 1:
		b.headers["Content-Type"] = "application/json"
		b.body = []byte(`{"events":[` + strings.Join(lines, ",") + "]}")
	case 2:
		b.headers["Content-Type"] = "application/x-ndjson"
		b.body = []byte(strings.Join(lines, "\n") + "\n")
	}
	if r.IntN(2) == 0 {
		b.headers["Content-Encoding"] = "snappy"
		b.body = snappy.Encode(nil, b.body)
	}
	return b
}

// sortOf are the kinds, with what a line calls them.
var sortOf = [...]struct{ kind, sign string }{{"counter", "c"}, {"gauge", "g"}, {"distribution", "d"}, {"distribution", "ms"}, {"set", "s"}}

// line makes a line, or an event in JSON, of one to three values.
func (p *producer) line(b *batch, structured bool, now int64, r *rand.Rand) string {
	sort := sortOf[r.IntN(len(sortOf))]
	e := occurrence{weight: 1}
	// Lines of distributions and sets have no time.
	if r.IntN(3) > 0 && (structured || sort.kind == "counter" || sort.kind == "gauge") {
		e.sec = now - secondsBack(r)
	}
	e.of = lineage{"now." + sort.kind, sort.kind, p.name, strconv.Itoa(r.IntN(2))}
	if e.sec > 0 {
		e.of.metric = "at." + sort.kind
	}
	half := r.IntN(4) == 0 && (sort.kind == "counter" || sort.kind == "distribution")
	if half {
		e.weight = 2
	}
	var texts []string
	values := 1 + r.IntN(3)
	if sort.kind == "set" && !structured {
		values = 1 // a member may have colons in it
	}
	for range values {
		if sort.kind == "set" {
			e.member = "m" + strconv.Itoa(r.IntN(60))
			texts = append(texts, e.member)
		} else {
			e.value = float64(1 + r.IntN(1000))
			texts = append(texts, strconv.Itoa(int(e.value)))
		}
		b.events = append(b.events, e)
	}
	if structured {
		return structuredLine(&e, half, sort.kind == "set", texts)
	}
	line := e.of.metric + ":" + strings.Join(texts, ":") + "|" + sort.sign
	if half {
		line += "|@0.5"
	}
	line += "|#p:" + e.of.p + ",s:" + e.of.s
	if e.sec > 0 {
		line += "|T" + strconv.FormatInt(e.sec, 10)
	}
	return line
}

func structuredLine(e *occurrence, half, quoted bool, texts []string) string {
	if quoted {
		for i := range texts {
			texts[i] = strconv.Quote(texts[i])
		}
	}
	line := fmt.Sprintf(`{"metric":%q,"kind":%q,"values":[%s],"tags":{"p":%q,"s":%q}`, e.of.metric, e.of.kind, strings.Join(texts, ","), e.of.p, e.of.s)
	if half {
		line += `,"rate":0.5`
	}
	if e.sec > 0 {
		line += `,"time":` + strconv.FormatInt(e.sec, 10)
	}
	return line + "}"
}

// secondsBack is how old a timestamp is: mostly open still, or sealed long ago.
func secondsBack(r *rand.Rand) int64 {
	switch r.IntN(4) {
	case 0:
		return r.Int64N(60)
	case 1:
		return r.Int64N(1800)
	}
	return r.Int64N(3)
}
