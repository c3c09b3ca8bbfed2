package e2e

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sequencer sends the batches of one producer, and knows which were acknowledged.
type sequencer struct {
	t       testing.TB
	s       *server
	at      int64 // Unix seconds: the latest time of an event, the same when it is sent again
	next    int
	acked   []int
	refused []int
}

func newSequencer(t testing.TB, s *server) *sequencer {
	return &sequencer{t: t, s: s, at: time.Now().Unix()}
}

// batch is number n: events that do not compress, of a metric of its own each.
func (q *sequencer) batch(n int) []byte {
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	var b strings.Builder
	for range 300 {
		fmt.Fprintf(&b, "batch%d:1|c|#id:%016x%016x|T%d\n", n, rng.Uint64(), rng.Uint64(), q.at-int64(rng.IntN(300)))
	}
	return []byte(b.String())
}

func (q *sequencer) send(n int) (int, verdict) {
	q.t.Helper()
	return q.s.Post(q.batch(n), "Content-Type", "text/plain", "Cairn-Producer", aProducer, "Cairn-Sequence", strconv.Itoa(n))
}

// Next sends the next batch and returns the status.
func (q *sequencer) Next() int {
	q.t.Helper()
	q.next++
	code, v := q.send(q.next)
	switch code {
	case 200:
		require.Equal(q.t, 300, v.Accepted)
		q.acked = append(q.acked, q.next)
	case 503:
		require.Contains(q.t, v.Error, "disk")
		q.refused = append(q.refused, q.next)
	default:
		require.FailNow(q.t, "an answer that fits neither", "%d: %s", code, v.Error)
	}
	return code
}

// Await sends batches until one gets the status.
func (q *sequencer) Await(code int, limit time.Duration) {
	q.t.Helper()
	eventually(q.t, limit, func() (bool, string) {
		got := q.Next()
		return got == code, fmt.Sprintf("status %d instead of %d", got, code)
	})
}

// Check compares what counts with what was answered, in all tiers.
func (q *sequencer) Check() {
	q.t.Helper()
	for _, step := range steps {
		for _, n := range q.acked {
			require.Equal(q.t, 300.0, q.s.Total("batch"+strconv.Itoa(n), step), "batch %d at %s, which was acknowledged", n, step)
		}
		for _, n := range q.refused {
			require.Zero(q.t, q.s.Total("batch"+strconv.Itoa(n), step), "batch %d at %s, which was refused", n, step)
		}
	}
}

// Again sends everything again: what was acknowledged is a duplicate, and what was
// refused counts now.
func (q *sequencer) Again() {
	q.t.Helper()
	for _, n := range q.acked {
		code, v := q.send(n)
		require.Equal(q.t, 200, code, v.Error)
		require.True(q.t, v.Duplicate, "batch %d was acknowledged", n)
	}
	for _, n := range q.refused {
		code, v := q.send(n)
		require.Equal(q.t, 200, code, v.Error)
		require.False(q.t, v.Duplicate, "batch %d was refused", n)
	}
	q.acked, q.refused = append(q.acked, q.refused...), nil
	q.Check()
}
