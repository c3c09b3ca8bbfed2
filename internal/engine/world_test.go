package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/golang/snappy"
	"github.com/stretchr/testify/require"

	"cairn/agg"
	"cairn/ingest"
	"cairn/internal/clock"
	"cairn/internal/crashdisk"
	"cairn/internal/metric"
)

const (
	// begin is shortly before a full hour, where partitions end.
	begin = 1_700_002_720
	grace = 10 * time.Second
)

// world is an engine, what it was given, and what must be in it.
type world struct {
	t       require.TestingT
	pick    func(n int) int // a number from 0 to n-1
	o       Options
	fs      vfs.FS // that the engine works on
	mem     *crashdisk.Disk
	e       *Engine
	clock   *clock.Manual
	feeders []*ingest.Feeder
	parser  *ingest.Parser
	fresh   bool           // it has, and nobody has looked at it yet
	ready   bool           // it has replayed
	mark    metric.UnixSec // the watermark when the engine ended

	mu    sync.Mutex       // guards what a crash image is told; file operations take images
	sure  []event          // are durable, or at least counted
	units [][]event        // each of which may become durable by what is going on now
	going func(event) bool // what is being deleted, once all units are durable; nil: nothing is
	gone  int              // events that were deleted

	fed      [2][]event // by datagram, not journaled yet; a crash loses them
	batches  []*batch   // with a sequence, and acknowledged
	flying   []*batch   // sent, and not acknowledged; guarded by mu, as batches
	steady   bool       // events do not depend on the clock, so that several can send
	sequence [2]uint64
}

// batch is one that was sent.
type batch struct {
	q        ingest.Request
	body     string
	sent     []event
	events   []event // that count
	accepted int
	rejected int
}

func newWorld(t require.TestingT, pick func(int) int) *world {
	w := &world{t: t, pick: pick, mem: crashdisk.New(), clock: clock.NewManual(time.Unix(begin, 0))}
	w.fs = w.mem
	w.parser = &ingest.Parser{Limits: metric.DefaultLineLimits}
	w.o = Options{
		Dir: "data", Log: slog.New(slog.DiscardHandler), Seed: 1, Fatal: func(s string) { panic(s) }, Cache: 1 << 20,
		Limits:    agg.Limits{Series: 1 << 10, SeriesPerMetric: 1 << 8, Metrics: 1 << 6},
		Resolvers: []agg.Resolver{w.parser.Resolve, w.parser.Resolve}, Parser: w.parser,
		Grace: grace, FlushInterval: 10 * time.Second, JournalSync: true, JournalUDP: true,
		segmentBytes: []int64{0, 1, 300, 2000}[pick(4)], bulkRows: []int{0, 1, 3}[pick(3)], deltaBody: []int{0, 1, 20}[pick(3)],
	}
	if pick(2) == 0 {
		w.o.JournalRetention, w.o.JournalSize = time.Hour, 1<<20
	}
	return w
}

// open starts the engine on what the file system holds, and does not replay.
func (w *world) open() {
	var err error
	o := w.o
	o.FS, o.Clock = w.fs, w.clock
	w.e, err = Open(o)
	require.NoError(w.t, err)
	w.feeders = nil
	for i := range w.fed {
		w.feeders = append(w.feeders, ingest.NewFeeder(w.e.Stripe(i), w.parser))
	}
	w.ready = false
}

func (w *world) replay() {
	require.NoError(w.t, w.e.Replay())
	require.Empty(w.t, w.e.Recovered().Damaged)
	w.ready, w.fresh = true, true
}

// begin says what may become durable from now on.
func (w *world) begin(units ...[]event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.units = units
}

// end says that it has.
func (w *world) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range w.units {
		w.sure = append(w.sure, u...)
	}
	w.units = nil
}

// close ends the engine in order: nothing is lost.
func (w *world) close() {
	w.begin(w.fed[0], w.fed[1])
	require.NoError(w.t, w.e.Close())
	w.end()
	w.fed = [2][]event{}
	w.mark = w.e.Store.Cursor().Watermark
}

// crash goes on with what a power loss now would leave.
func (w *world) crash(unsynced int, seed uint64) {
	w.mark = w.e.Store.Cursor().Watermark
	left := loseSome(w.mem, unsynced, rand.New(rand.NewPCG(seed, 0)))
	require.NoError(w.t, w.e.Close()) // the old one: nobody sees what it still writes
	w.mem, w.fs = left, left
	w.fed = [2][]event{}
	w.units = nil
}

// all is what queries must show now.
func (w *world) all() []event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(append(append([]event(nil), w.sure...), w.fed[0]...), w.fed[1]...)
}

func (w *world) now() metric.UnixSec { return metric.SecOf(w.clock.Now()) }

// tick is what the pump's loop does every second.
func (w *world) tick() {
	now := w.now()
	w.keep(func(e event) bool { return e.at.Sec() == e.sec && e.sec >= now }, func() error { return w.e.Pump.Tick(now) })
}

// flush is what it does every ten. It comes after tick.
func (w *world) flush() {
	until := metric.SecOf(w.clock.Now().Add(-grace))
	sealed := max(until, w.e.Store.Cursor().Watermark)
	w.keep(func(e event) bool { return e.sec >= sealed }, func() error { return w.e.Pump.Flush(until) })
}

// keep does something that journals what was fed, but for what stays in its slot.
func (w *world) keep(stays func(event) bool, do func() error) {
	var units [][]event
	var left [2][]event
	for i, list := range w.fed {
		var unit []event
		for _, e := range list {
			if stays(e) {
				left[i] = append(left[i], e)
			} else {
				unit = append(unit, e)
			}
		}
		if len(unit) > 0 {
			units = append(units, unit)
		}
	}
	w.begin(units...)
	require.NoError(w.t, do())
	w.end()
	w.fed = left
}

// event makes one up. In a batch of JSON every kind may have a time.
func (w *world) event(json bool) (e event) {
	e.name = names[w.pick(len(names))]
	e.kind, e.at, e.weight = kinds[e.name], metric.MilliOf(w.clock.Now()), 1
	e.tags = []string{"", "k=a", "k=b", "k=a,z=1"}[w.pick(4)]
	e.value = float64(1 + w.pick(9))
	e.sec = e.at.Sec()
	if (e.kind == metric.Counter || e.kind == metric.Distribution) && w.pick(4) == 0 {
		e.weight = []float64{2, 10}[w.pick(2)]
	}
	if json || e.kind == metric.Counter || e.kind == metric.Gauge {
		if e.stamped = w.pick(3) == 0; e.stamped {
			e.sec += metric.UnixSec([]int{-3000, -300, -20, -11, -5, -1, 0, 1, 5, 10, 11}[w.pick(11)])
		}
	}
	if w.steady {
		e.stamped, e.sec = true, begin+10-metric.UnixSec(w.pick(40))
		if e.kind != metric.Counter { // others either have no time, or it matters when they arrive
			e.name, e.kind = "c1", metric.Counter
		}
	}
	return e
}

// tooNew reports whether an event is rejected.
func (e *event) tooNew() bool { return e.sec > e.at.Sec()+metric.MaxFuture }

var letters = map[metric.Kind]string{metric.Counter: "c", metric.Gauge: "g", metric.Distribution: "d", metric.Set: "s"}

// line writes an event as StatsD has it, with its tags in one order or the other.
func (w *world) line(e *event) string {
	s := fmt.Sprintf("%s:%d|%s", e.name, int(e.value), letters[e.kind])
	if e.weight != 1 {
		s += "|@" + strconv.FormatFloat(1/e.weight, 'g', -1, 64)
	}
	if e.tags != "" {
		tags := strings.Split(strings.ReplaceAll(e.tags, "=", ":"), ",")
		if len(tags) == 2 && w.pick(2) == 0 {
			tags[0], tags[1] = tags[1], tags[0]
		}
		s += "|#" + strings.Join(tags, ",")
	}
	if e.stamped {
		s += fmt.Sprintf("|T%d", e.sec)
	}
	return s
}

// json writes an event as a batch of JSON has it.
func (e *event) json() string {
	s := fmt.Sprintf(`{"metric":%q,"kind":%q,"value":%d`, e.name, e.kind.String(), int(e.value))
	if e.weight != 1 {
		s += `,"rate":` + strconv.FormatFloat(1/e.weight, 'g', -1, 64)
	}
	var tags []string
	for tag := range strings.SplitSeq(e.tags, ",") {
		if k, v, ok := strings.Cut(tag, "="); ok {
			tags = append(tags, fmt.Sprintf("%q:%q", k, v))
		}
	}
	s += `,"tags":{` + strings.Join(tags, ",") + "}"
	if e.stamped {
		s += fmt.Sprintf(`,"time":%d`, e.sec)
	}
	return s + "}"
}

// datagram feeds some lines.
func (w *world) datagram() { w.feed(w.newDatagram()) }

// newDatagram makes one up for a stripe.
func (w *world) newDatagram() (i int, text string) {
	w.clock.Advance(time.Millisecond)
	var lines []string
	i = w.pick(len(w.fed))
	for range 1 + w.pick(6) {
		e := w.event(false)
		lines = append(lines, w.line(&e))
		if !e.tooNew() {
			w.fed[i] = append(w.fed[i], e)
		}
	}
	return i, strings.Join(lines, "\n")
}

func (w *world) feed(i int, text string) {
	now := metric.MilliOf(w.clock.Now())
	buf := []byte(text)
	w.feeders[i].Feed(buf, 0, len(buf), now, false)
	w.feeders[i].Flush(buf, now)
}

// newBatch makes one up; producer 2 is none.
func (w *world) newBatch() *batch {
	w.clock.Advance(time.Millisecond)
	b := new(batch)
	format := w.pick(3)
	var parts []string
	for range 1 + w.pick(6) {
		e := w.event(format > 0)
		if format > 0 {
			parts = append(parts, e.json())
		} else {
			parts = append(parts, w.line(&e))
		}
		b.sent = append(b.sent, e)
	}
	b.arrive(metric.MilliOf(w.clock.Now()))
	switch format {
	case 0:
		b.body = strings.Join(parts, "\n")
	case 1:
		b.q.ContentType, b.body = "application/json", `{"events":[`+strings.Join(parts, ",")+"]}"
	case 2:
		b.q.ContentType, b.body = "application/x-ndjson", strings.Join(parts, "\n")
	}
	if w.pick(2) == 0 {
		b.q.ContentEncoding, b.body = "snappy", string(snappy.Encode(nil, []byte(b.body)))
	}
	if p := w.pick(3); p < 2 {
		w.sequence[p]++
		b.q.Producer = fmt.Sprintf("00000000-0000-4000-8000-00000000000%d", p)
		b.q.Sequence = strconv.FormatUint(w.sequence[p], 10)
	}
	return b
}

// send sends a batch that never was acknowledged.
func (w *world) send(b *batch) {
	w.mu.Lock()
	w.flying = append(w.flying, b)
	w.mu.Unlock()
	a, refusal := w.ingest(b, b.body)
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Nil(w.t, refusal)
	require.False(w.t, a.Duplicate)
	w.requireVerdict(b, a)
	w.sure = append(w.sure, b.events...)
	w.flying = slices.DeleteFunc(w.flying, func(x *batch) bool { return x == b })
	if b.q.Producer != "" {
		w.batches = append(w.batches, b)
	}
}

// arrive finds out what of a batch counts that arrives at a time.
func (b *batch) arrive(at metric.UnixMilli) {
	b.events, b.accepted, b.rejected = nil, 0, 0
	for _, e := range b.sent {
		if e.at = at; !e.stamped {
			e.sec = at.Sec()
		}
		if e.tooNew() {
			b.rejected++
			continue
		}
		b.accepted++
		b.events = append(b.events, e)
	}
}

func (w *world) requireVerdict(b *batch, a ingest.Answer) {
	require.EqualValues(w.t, b.accepted, a.Accepted)
	require.EqualValues(w.t, b.rejected, a.RejectedTotal)
}

func (w *world) ingest(b *batch, body string) (ingest.Answer, *ingest.Refusal) {
	q := b.q
	q.Length, q.Body = len(body), bytes.NewReader([]byte(body))
	return w.e.Batches.Ingest(&q)
}

// again sends one that was acknowledged, as it was or with another payload.
func (w *world) again(b *batch) {
	a, refusal := w.ingest(b, b.body)
	require.Nil(w.t, refusal)
	require.True(w.t, a.Duplicate)
	w.requireVerdict(b, a)
	other := batch{q: b.q}
	other.q.ContentEncoding, other.q.ContentType = "", ""
	_, refusal = w.ingest(&other, "c0:99|c")
	require.NotNil(w.t, refusal)
	require.Equal(w.t, 409, refusal.Status)
}
