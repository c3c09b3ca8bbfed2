package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cairn/internal/clock"
	"cairn/query"
)

// Bounds on streams.
const (
	maxViewers = 1_000
	maxTopics  = 200
	// maxStreamPoints keeps what all topics hold below some hundred megabytes.
	maxStreamPoints = 100_000
	queued          = 8           // messages that a viewer may be behind
	sealedPause     = time.Minute // between looks at what only late events can change
	maxPause        = 30 * time.Second
)

// hub evaluates queries that are streamed, each once a second for all its viewers.
type hub struct {
	clock    clock.Clock
	log      *slog.Logger
	evaluate func(ctx context.Context, key string, p parameters, viewers int) (*query.Result, error)
	tell     func(error) []byte // what viewers get to know of an error, as JSON

	mu      sync.Mutex // guards what follows, and the topics' and viewers' fields where they say so
	topics  map[string]*topic
	viewers int
	closed  bool
	wait    sync.WaitGroup // topics and viewers; added to before closed only
}

// topic is one query. It has a goroutine as long as it has viewers.
type topic struct {
	key        string
	parameters parameters
	stop       context.CancelFunc
	wake       chan struct{} // somebody came who should not wait long

	// Guarded by the hub.
	viewers map[*viewer]struct{}
	last    *answer // nil: there is none yet
	failure []byte  // of the last evaluation; nil: it had an answer
}

// viewer is a client of a stream.
type viewer struct {
	topic *topic
	queue chan message // closed once nothing more comes
	abort func()       // makes a write under way fail
}

// message is a message of a stream, encoded once for all.
type message func() []byte

var errStopping = errors.New("the server is stopping")

func newHub(c clock.Clock, evaluate func(context.Context, string, parameters, int) (*query.Result, error), tell func(error) []byte, log *slog.Logger) *hub {
	return &hub{clock: c, log: log, evaluate: evaluate, tell: tell, topics: make(map[string]*topic)}
}

// join makes a viewer of a query, who must leave. An error is a sentence for the client.
func (h *hub) join(p parameters, abort func()) (*viewer, error) {
	key := p.key()
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[key]
	switch {
	case h.closed:
		return nil, errStopping
	case h.viewers >= maxViewers:
		return nil, fmt.Errorf("%d streams are open, and no more are served; close some, or ask /api/query now and then", maxViewers)
	case t == nil && len(h.topics) >= maxTopics:
		return nil, fmt.Errorf("%d different queries are streamed, and no more are; close some, or ask /api/query now and then", maxTopics)
	case t == nil:
		t = h.begin(key, p)
	}
	v := &viewer{topic: t, queue: make(chan message, queued), abort: abort}
	t.viewers[v] = struct{}{}
	h.viewers++
	h.wait.Add(1)
	if t.last != nil {
		v.queue <- t.last.full
	}
	if t.failure != nil {
		v.queue <- failed(t.failure)
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return v, nil
}

func failed(data []byte) message { return func() []byte { return frame("error", data) } }

// begin starts a topic. The caller holds h.mu.
func (h *hub) begin(key string, p parameters) *topic {
	ctx, stop := context.WithCancel(context.Background())
	t := &topic{key: key, parameters: p, stop: stop, wake: make(chan struct{}, 1), viewers: make(map[*viewer]struct{})}
	h.topics[key] = t
	h.wait.Add(1)
	go func() {
		defer h.wait.Done()
		h.run(ctx, t)
	}()
	return t
}

// leave ends a viewer.
func (h *hub) leave(v *viewer) {
	h.mu.Lock()
	h.drop(v)
	h.mu.Unlock()
	h.wait.Done()
}

// drop gives a viewer nothing more, and ends its topic if it was the last one. The caller
// holds h.mu.
func (h *hub) drop(v *viewer) {
	t := v.topic
	if _, ok := t.viewers[v]; !ok {
		return
	}
	delete(t.viewers, v)
	h.viewers--
	close(v.queue)
	v.abort()
	if len(t.viewers) == 0 {
		t.stop()
		delete(h.topics, t.key)
	}
}

// counts returns how many streams there are, and of how many queries.
func (h *hub) counts() (viewers, topics int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.viewers, len(h.topics)
}

// close ends all streams, and waits as long as ctx allows until they are gone.
func (h *hub) close(ctx context.Context) {
	h.mu.Lock()
	h.closed = true
	for _, t := range h.topics {
		for v := range t.viewers {
			h.drop(v)
		}
	}
	h.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		h.wait.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done(): // an evaluation under way ends by itself, soon
	}
}

// run evaluates t at every full second, until ctx ends. One that takes long has as long a
// pause, one that fails a longer one each time, and one of a past that is sealed a minute.
func (h *hub) run(ctx context.Context, t *topic) {
	failures := 0
	for {
		began := h.clock.Now()
		sealed, err := h.update(ctx, t)
		if ctx.Err() != nil {
			return
		}
		next := fullSecond(began)
		if now := h.clock.Now(); now.After(next) {
			next = fullSecond(now.Add(now.Sub(began)))
		}
		earliest := next
		switch {
		case err != nil:
			failures++
			next = next.Add(min(maxPause, time.Second<<min(failures-1, 10)) - time.Second)
		case sealed:
			failures, next = 0, next.Add(sealedPause)
		default:
			failures = 0
		}
		if !h.sleep(ctx, t, earliest, next) {
			return
		}
	}
}

// fullSecond returns the first full second after t.
func fullSecond(t time.Time) time.Time { return t.Truncate(time.Second).Add(time.Second) }

// sleep waits until next, or until earliest if somebody comes; it is false once ctx ends.
func (h *hub) sleep(ctx context.Context, t *topic, earliest, next time.Time) bool {
	for {
		wait := next.Sub(h.clock.Now())
		if wait <= 0 {
			return ctx.Err() == nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-t.wake:
			timer.Stop()
			next = earliest
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// update evaluates t and tells its viewers what changed. sealed: only late events can
// change it any more.
func (h *hub) update(ctx context.Context, t *topic) (sealed bool, err error) {
	defer func() {
		if r := recover(); r != nil { // it must not end the process and what it counts
			err = fmt.Errorf("BUG: the evaluation of a stream panicked: %v", r)
			h.fail(t, err)
		}
	}()
	h.mu.Lock()
	viewers, last, failure := len(t.viewers), t.last, t.failure
	h.mu.Unlock()
	res, err := h.evaluate(ctx, t.key, t.parameters, viewers)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err == nil && len(res.Series)*len(timesOf(res)) > maxStreamPoints {
		err = &query.LimitError{Sentence: fmt.Sprintf("the answer has more than %d points, which is too much for a stream; take a longer step, a shorter range or a lower limit, or ask /api/query", maxStreamPoints)}
	}
	if err != nil {
		h.fail(t, err)
		return false, err
	}
	now := newAnswer(res)
	m := now.full
	if last != nil {
		if delta, ok := diff(last, now, failure != nil); ok && delta == nil {
			m = nil
		} else if ok {
			framed := frame("delta", delta)
			m = func() []byte { return framed }
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	t.last, t.failure = now, nil
	if m != nil {
		h.publish(t, m)
	}
	return !t.parameters.moves() && res.SealedUntil >= res.To, nil
}

// fail tells viewers of an error, if it is another one than before.
func (h *hub) fail(t *topic, err error) {
	data := h.tell(err)
	h.mu.Lock()
	defer h.mu.Unlock()
	if string(data) != string(t.failure) {
		t.failure = data
		h.publish(t, failed(data))
	}
}

// publish sends m to all viewers of t, and drops those that are too far behind. The caller
// holds h.mu.
func (h *hub) publish(t *topic, m message) {
	for v := range t.viewers {
		select {
		case v.queue <- m:
		default:
			h.drop(v)
		}
	}
}
