package client

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// nowhere takes all that is sent.
type nowhere struct{ size int }

func (n *nowhere) encode(lines []byte) []byte                   { return append([]byte(nil), lines...) }
func (n *nowhere) send(context.Context, string, *batch) outcome { return outcome{} }
func (n *nowhere) most() int                                    { return n.size }
func (n *nowhere) exact() bool                                  { return false }
func (n *nowhere) close() error                                 { return nil }

func benched(b *testing.B) *Client {
	c, err := start(&nowhere{maxLine}, defaults())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, c.Close(context.Background())) })
	b.ReportAllocs()
	return c
}

func BenchmarkAtomic(b *testing.B) {
	var n atomic.Int64
	for b.Loop() {
		n.Add(1)
	}
}

func BenchmarkAtomicParallel(b *testing.B) {
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n.Add(1)
		}
	})
}

func BenchmarkCounterInc(b *testing.B) {
	n := benched(b).Counter("signups", Tag("env", "prod"))
	for b.Loop() {
		n.Inc()
	}
}

func BenchmarkCounterIncParallel(b *testing.B) {
	n := benched(b).Counter("signups", Tag("env", "prod"))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n.Inc()
		}
	})
}

func BenchmarkCount(b *testing.B) {
	c := benched(b)
	for b.Loop() {
		c.Count("signups", 1, Tag("env", "prod"), Tag("region", "eu-west-1"), Tag("plan", "business"))
	}
}

func BenchmarkCountParallel(b *testing.B) {
	c := benched(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Count("signups", 1, Tag("env", "prod"), Tag("region", "eu-west-1"), Tag("plan", "business"))
		}
	})
}

// manyTags are those of so many series. Each call has strings of its own, as one that
// reads them from a request has.
func manyTags(n int) [][]Pair {
	out := make([][]Pair, n)
	for i := range out {
		out[i] = []Pair{Tag("env", "prod"), Tag("region", "eu-west-1"), Tag("customer", "customer-"+strconv.Itoa(i))}
	}
	return out
}

func BenchmarkCountThousand(b *testing.B) {
	c, tags := benched(b), manyTags(1000)
	i := 0
	for b.Loop() {
		c.Count("signups", 1, tags[i]...)
		if i++; i == len(tags) {
			i = 0
		}
	}
}

func BenchmarkCountThousandParallel(b *testing.B) {
	c, tags := benched(b), manyTags(1000)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); {
			c.Count("signups", 1, tags[i]...)
			if i++; i == len(tags) {
				i = 0
			}
		}
	})
}

// BenchmarkFlush takes, writes and sends 10,000 series, each of which was counted.
func BenchmarkFlush(b *testing.B) {
	c, tags := benched(b), manyTags(10_000)
	handles := make([]*Counter, len(tags))
	for i := range tags {
		handles[i] = c.Counter("signups", tags[i]...)
	}
	for b.Loop() {
		for _, h := range handles {
			h.Inc()
		}
		require.NoError(b, c.Flush(context.Background()))
	}
}
