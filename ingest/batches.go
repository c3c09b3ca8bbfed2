package ingest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/zeebo/xxh3"

	"cairn/agg"
	"cairn/internal/clock"
	"cairn/internal/dedupe"
	"cairn/internal/journal"
	"cairn/internal/metric"
	"cairn/internal/mutant"
)

const (
	// busyTime is how long a batch waits for one with its sequence that is under way:
	// longer than a stall of a disk that is nothing unusual, and shorter than clients
	// wait for an answer.
	busyTime = 5 * time.Second
	// diskWait is after how long a batch should come again that found the disk full:
	// people or a flush make room, and neither does at once.
	diskWait = 10 * time.Second
	// rawSize is what an event takes while its batch is under way.
	rawSize = int(unsafe.Sizeof(agg.Raw{}))
)

// BatchOptions connects Batches to what they go through.
type BatchOptions struct {
	Stripes []*agg.Stripe // nobody else feeds them; their resolver is Parser's
	Parser  *Parser
	Log     *journal.Log
	Windows *dedupe.Windows
	Clock   clock.Clock
	Random  *rand.Rand   // for when refused batches come again; Batches' own from now on
	Notes   *Annotations // gets events and service checks; nil: nobody
	// Unavailable says why no batch can be taken for now, as a sentence, and for how
	// long that may last; "": they can. nil: they always can.
	Unavailable func() (sentence string, wait time.Duration)
}

// Batches takes batches of events that are to be counted exactly once. Its
// methods are safe for concurrent use.
type Batches struct {
	o        BatchOptions
	gate     *gate
	decoders *decoders
	pool     sync.Pool // of *work
	busy     time.Duration

	// barrier is held for reading from before a batch is journaled until it is applied
	// and its sequence is remembered. Who holds it for writing knows that what is in
	// the journal is applied, and that nothing else is.
	barrier sync.RWMutex

	tallyMu sync.Mutex // guards tally
	tally   batchTally
	table   rejectTable
}

// NewBatches returns Batches; Close ends them.
func NewBatches(o BatchOptions) *Batches {
	return &Batches{o: o, gate: newGate(o.Clock, o.Random), decoders: newDecoders(), busy: busyTime}
}

// Freeze waits until every batch that is in the journal is applied, and keeps others
// out of it until thaw is called.
func (b *Batches) Freeze() (thaw func()) {
	b.barrier.Lock()
	return b.barrier.Unlock
}

// Close refuses batches from now on and waits for those under way.
func (b *Batches) Close() {
	b.gate.close()
	b.decoders.close()
}

// Gate returns what is under way.
func (b *Batches) Gate() GateStats { return b.gate.stats() }

// Request is a batch as HTTP has it. The texts are headers as they were sent; ""
// where there is none.
type Request struct {
	Producer, Sequence           string
	Priority                     string
	ContentEncoding, ContentType string
	From                         netip.Addr
	Length                       int       // of Body; -1: not known
	Body                         io.Reader // is read once there is room for it
}

// batchHead is what a request's headers say.
type batchHead struct {
	named    bool
	producer dedupe.Producer
	sequence uint64
	low      bool
	encoding encoding
	format   format
	from     netip.Addr
}

// work is what one batch needs. It is used again.
type work struct {
	wire, body []byte
	decoded    []byte // memory for body, if it is not wire
	parsed     parsed
	json       *jsonReader
	admission  agg.Admission
	head       []byte
	events     []byte // a structured record's body
}

func (w *work) fits() bool {
	return cap(w.wire) <= maxKept && cap(w.decoded) <= maxKept && cap(w.events) <= maxKept && w.parsed.fits() && w.json.fits()
}

// Ingest takes a batch: it returns once the batch is durable and counted, or is not
// taken at all.
func (b *Batches) Ingest(q *Request) (Answer, *Refusal) {
	h, refusal := b.check(q)
	if refusal != nil {
		b.countRefusal(&h, refusal, nil, max(q.Length, 0))
		return Answer{}, refusal
	}
	from := sender{producer: h.producer}
	if !h.named {
		from.addr = h.from
	}
	p, refusal := b.gate.enter(from, q.first(), h.low)
	if refusal != nil {
		b.countRefusal(&h, refusal, nil, max(q.Length, 0))
		return Answer{}, refusal
	}
	taken := false
	defer func() { p.leave(taken) }()
	w, _ := b.pool.Get().(*work)
	if w == nil {
		w = &work{json: newJSONReader()}
	}
	answer, refusal := b.receive(q, &h, w, &p)
	taken = refusal == nil
	w.wire, w.body, w.decoded, w.events = w.wire[:0], nil, w.decoded[:0], w.events[:0]
	w.parsed.reset()
	if w.fits() {
		b.pool.Put(w)
	}
	return answer, refusal
}

// check reads the headers.
func (b *Batches) check(q *Request) (h batchHead, r *Refusal) {
	h.from = q.From
	switch q.Priority {
	case "", "normal":
	case "low":
		h.low = true
	default:
		return h, refuse(statusBad, "Cairn-Priority %q is neither low nor normal", cutSample(q.Priority))
	}
	switch {
	case q.Producer == "" && q.Sequence != "":
		return h, refuse(statusBad, "there is a Cairn-Sequence without a Cairn-Producer; a sequence counts the batches of one producer")
	case q.Producer != "" && q.Sequence == "":
		return h, refuse(statusBad, "there is a Cairn-Producer without a Cairn-Sequence; number the batches of a producer from 1")
	case q.Producer != "":
		var err error
		if h.producer, err = dedupe.ParseProducer(q.Producer); err != nil {
			return h, refuse(statusBad, "Cairn-Producer: %s", err)
		}
		h.named = true
		if h.sequence, err = dedupe.ParseSequence(q.Sequence); err != nil {
			return h, refuse(statusBad, "Cairn-Sequence: %s", err)
		}
	}
	if h.encoding, r = parseEncoding(q.ContentEncoding); r != nil {
		return h, r
	}
	if h.format, r = parseContentType(q.ContentType); r != nil {
		return h, r
	}
	if q.Length > MaxWire {
		return h, tooLongOnWire()
	}
	if b.o.Unavailable != nil {
		if sentence, wait := b.o.Unavailable(); sentence != "" {
			return h, &Refusal{Status: statusUnavailable, Sentence: sentence, Shed: ShedUnavailable, Wait: b.gate.waitFrom(wait)}
		}
	}
	return h, nil
}

func tooLongOnWire() *Refusal {
	return refuse(statusTooLarge, "the body is larger than %d bytes; send smaller batches, or compress them", MaxWire)
}

// receive reads the body and takes what is in it.
func (b *Batches) receive(q *Request, h *batchHead, w *work, p *pass) (Answer, *Refusal) {
	refusal := w.read(q, p)
	if w.body = w.wire; refusal == nil && h.encoding != identity {
		w.decoded, refusal = b.decoders.decode(w.decoded[:0], h.encoding, w.wire, p.more)
		w.body = w.decoded
	}
	if refusal != nil {
		b.countRefusal(h, refusal, nil, len(w.wire))
		return Answer{}, refusal
	}
	// What means something else under another Content-Type is another payload.
	hash := xxh3.HashSeed(w.body, uint64(h.format))
	if !h.named {
		return b.take(h, w, p, hash)
	}
	return b.once(h, w, p, hash)
}

// most is how long the body may be.
func (q *Request) most() int {
	if q.Length < 0 {
		return MaxWire
	}
	return q.Length
}

// first is how many bytes of it are read at first. One byte more than there may be
// tells that there are none.
func (q *Request) first() int { return min(q.most(), firstRead) + 1 }

// read reads the body off the wire, of which p holds the first bytes.
func (w *work) read(q *Request, p *pass) *Refusal {
	room := q.first()
	w.wire = slices.Grow(w.wire[:0], room)
	for {
		if len(w.wire) == room {
			more := min(room, q.most()+1-room)
			if r := p.receive(more); r != nil {
				return r
			}
			room += more
			w.wire = slices.Grow(w.wire, room-len(w.wire))
		}
		n, err := q.Body.Read(w.wire[len(w.wire):room])
		w.wire = w.wire[:len(w.wire)+n]
		var timeout interface{ Timeout() bool }
		switch {
		case len(w.wire) > q.most():
			return tooLongOnWire()
		case err == nil:
		case err == io.EOF && (q.Length < 0 || len(w.wire) == q.Length):
			return p.more(len(w.wire) - room) // gives back what was too much
		case errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout():
			return refuse(statusSlow, "the body did not arrive in time")
		default:
			return refuse(statusBad, "the body broke off after %d bytes", len(w.wire))
		}
	}
}

// once takes a batch with a sequence, if it does not count already.
func (b *Batches) once(h *batchHead, w *work, p *pass, hash uint64) (Answer, *Refusal) {
	var deadline *time.Timer
	for {
		o := b.o.Windows.Begin(h.producer, h.sequence, hash)
		var refusal *Refusal
		switch o.Status {
		case dedupe.Fresh:
			return b.take(h, w, p, hash)
		case dedupe.Duplicate:
			b.countDuplicate(h, &o.Verdict, len(w.wire))
			return w.answer(h.format, &o.Verdict, true), nil
		case dedupe.Conflict:
			refusal = refuse(statusConflict, "sequence %d of this producer was used for another payload, which counts; each batch needs a sequence of its own", h.sequence)
		case dedupe.TooOld:
			refusal = refuse(statusConflict, "sequence %d of this producer is too far below its highest one: nobody knows any more whether it counts", h.sequence)
		case dedupe.Full:
			refusal = b.shed(ShedProducers, time.Minute, "too many producers sent batches in the last hour; keep the UUID of a producer as long as it lives")
		case dedupe.Busy:
			if deadline == nil {
				deadline = time.NewTimer(b.busy)
				defer deadline.Stop()
			}
			select {
			case <-o.Done:
				continue
			case <-deadline.C:
				refusal = b.shed(ShedBusy, b.busy, "the same batch is under way already, and takes long")
			}
		default:
			panic(fmt.Sprintf("BUG: status %d of a sequence", o.Status))
		}
		b.countRefusal(h, refusal, nil, len(w.wire))
		return Answer{}, refusal
	}
}

// shed refuses a batch for a cause outside of the gate.
func (b *Batches) shed(why Shed, wait time.Duration, sentence string) *Refusal {
	return &Refusal{Status: statusUnavailable, Sentence: sentence, Shed: why, Wait: b.gate.waitFrom(wait)}
}

// take counts a batch, exactly once if it has a sequence.
func (b *Batches) take(h *batchHead, w *work, p *pass, hash uint64) (Answer, *Refusal) {
	finished := false
	defer func() {
		if h.named && !finished {
			b.o.Windows.Abandon(h.producer, h.sequence)
		}
	}()
	now := metric.MilliOf(b.o.Clock.Now())
	refusal := b.parse(h, w, p, now)
	if refusal != nil {
		b.countRefusal(h, refusal, nil, len(w.wire))
		return Answer{}, refusal
	}
	s := b.stripe(h)
	accepted, refusal := b.admit(w, s, now)
	if refusal == nil {
		v := dedupe.Verdict{Hash: hash, At: now, Accepted: uint32(accepted), RejectedTotal: uint32(len(w.parsed.rejects)), Rejected: w.parsed.rejects}
		if refusal = b.apply(h, w, s, &v); refusal == nil {
			finished = true
			b.countTaken(h, w, &v)
			return w.answer(h.format, &v, false), nil
		}
	}
	b.countRefusal(h, refusal, &w.parsed, len(w.wire))
	return Answer{}, refusal
}

func (b *Batches) parse(h *batchHead, w *work, p *pass, now metric.UnixMilli) *Refusal {
	var refusal *Refusal
	w.parsed.take = p.more
	if h.format == formatLines {
		refusal = w.parsed.lines(b.o.Parser, w.body, now.Sec(), nil, b.o.Notes != nil)
	} else {
		refusal = w.json.read(&w.parsed, b.o.Parser, h.format, w.body, now.Sec())
	}
	if refusal != nil {
		return refusal
	}
	return w.parsed.charge(1, 0)
}

// stripe returns that of a producer, so that its batches meet those of others only.
func (b *Batches) stripe(h *batchHead) *agg.Stripe {
	id := [16]byte(h.producer)
	if !h.named {
		id = h.from.As16()
	}
	return b.o.Stripes[xxh3.Hash(id[:])%uint64(len(b.o.Stripes))]
}

// admit finds out what of the batch can be counted, and returns how many events.
func (b *Batches) admit(w *work, s *agg.Stripe, now metric.UnixMilli) (int, *Refusal) {
	w.admission.Reset()
	s.Lock()
	crowded := s.Crowded()
	if !crowded {
		s.Admit(&w.admission, w.parsed.buf, w.parsed.events, now)
	}
	s.Unlock()
	if crowded {
		return 0, b.shed(ShedMemory, time.Second, "memory for open buckets is full; a flush will make room")
	}
	accepted := w.parsed.refused()
	return accepted, w.parsed.tooMany()
}

// apply journals what was admitted, and counts it.
func (b *Batches) apply(h *batchHead, w *work, s *agg.Stripe, v *dedupe.Verdict) *Refusal {
	early := h.named && mutant.On("sequence-before-counts")
	if early {
		b.o.Windows.Finish(h.producer, h.sequence, *v)
	}
	b.barrier.RLock()
	defer b.barrier.RUnlock()
	// What has nothing that counts or is shown, and no sequence, leaves nothing to remember.
	if v.Accepted > 0 || w.parsed.notes > 0 || h.named {
		if err := b.o.Log.Append(b.record(h, w, v)).Wait(); err != nil {
			return b.journalRefusal(err)
		}
	}
	s.Lock()
	s.Apply(&w.admission, w.parsed.events, v.At)
	s.Unlock()
	if h.named && !early {
		b.o.Windows.Finish(h.producer, h.sequence, *v)
	}
	for _, a := range w.parsed.noted {
		b.o.Notes.Add(a)
	}
	return nil
}

func (b *Batches) record(h *batchHead, w *work, v *dedupe.Verdict) *journal.Record {
	r := Record{
		Named: h.named, Producer: h.producer, Sequence: h.sequence, Verdict: *v,
		OriginTags: b.o.Parser.OriginTags, Dialect: b.o.Parser.Dialect, Structured: h.format != formatLines,
	}
	w.head = r.appendHead(w.head[:0])
	j := &journal.Record{Kind: RecordBatch, Head: w.head, Body: w.body, Events: uint64(v.Accepted), Last: w.parsed.last(v.At.Sec())}
	switch {
	case r.Structured:
		w.events = w.parsed.appendEvents(w.events[:0], v.At.Sec())
		j.Body = w.events
	case h.encoding == snappyBlock && !isFramed(w.wire):
		j.Body, j.Packed = w.wire, true // it was decoded, so that it is known to be good
	}
	return j
}

func (b *Batches) journalRefusal(err error) *Refusal {
	switch {
	case errors.Is(err, journal.ErrNoSpace):
		return b.shed(ShedDisk, diskWait, "the disk is full: there is no room for the journal")
	case errors.Is(err, journal.ErrFull):
		return b.shed(ShedFull, time.Second, "the disk is behind: too many batches wait for it")
	case errors.Is(err, journal.ErrClosed):
		return b.shed(ShedStopping, diskWait, "the server is stopping")
	}
	return b.shed(ShedJournal, diskWait, "the journal failed; the server's log says why")
}
