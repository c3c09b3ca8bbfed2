package ingest

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/metric"
)

func TestRejectsOfHostileSenders(t *testing.T) {
	f := NewFeeder(stripe(testParser), testParser)
	var from netip.Addr
	f.sender = func(int) netip.Addr { return from }
	const n = 5000
	for i := range n {
		from = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		p := []byte(fmt.Sprintf("%06d\x1b[31m%s\u202e:x|c|#secret", i, strings.Repeat("n", 300)))
		f.Feed(p, 0, len(p), metric.UnixMilli(now)*1000+metric.UnixMilli(i), false)
		f.Flush(p, metric.UnixMilli(now)*1000+metric.UnixMilli(i))
	}
	require.Len(t, f.table.senders, maxRejectKeys, "memory is bounded, not only the report")
	require.Len(t, f.table.names, maxRejectKeys)
	r := Rejects(nil, f)
	require.EqualValues(t, n, r.Total)
	for _, rows := range [][]RejectCount{r.Senders, r.Metrics} {
		require.Len(t, rows, maxRejectKeys+1)
		require.Equal(t, RejectCount{"other", n - maxRejectKeys}, rows[maxRejectKeys])
	}
	require.Len(t, r.Reasons, 1)
	require.Len(t, r.Reasons[0].Samples, samplesPerReason)
	for i, s := range r.Reasons[0].Samples {
		require.Equal(t, int64(now)*1000+n-1-int64(i), s.Time, "newest first")
		require.Contains(t, s.Line, `\x1b[31m`)
		require.LessOrEqual(t, len(s.Line), 4*maxSample)
	}
	text, err := json.Marshal(r)
	require.NoError(t, err)
	require.NotContains(t, string(text), "\x1b")
	require.NotContains(t, string(text), "\u202e")
}

// TestRejectsAddUp feeds lines to several feeders: each sum is that of the ledger.
func TestRejectsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		feeders := []*Feeder{NewFeeder(stripe(testParser), testParser), NewFeeder(stripe(testParser), testParser)}
		var want Counts
		lines := rapid.SliceOf(rapid.SampledFrom([]string{"a", "a:x|c", "b:1|c", ":1|c", "other:|c", "a:1|c|@0", "é:1|q", "a:1|c|#:x"})).Draw(t, "lines")
		senders := rapid.SliceOfN(rapid.IntRange(0, 3), len(lines), len(lines)).Draw(t, "senders")
		from := 0
		for _, f := range feeders {
			f.sender = func(packet int) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, byte(packet)}) }
		}
		for i, l := range lines {
			f := feeders[from%2]
			f.packet = senders[i]
			f.Feed([]byte(l), 0, len(l), now.Milli(), false)
			f.Flush([]byte(l), now.Milli())
			from += senders[i]
		}
		for _, f := range feeders {
			c, _ := f.Counts()
			want.Add(c)
		}
		r := Rejects(nil, feeders...)
		require.Equal(t, want.Received-want.Accepted, r.Total)
		sum := func(rows []RejectCount) (n uint64) {
			for i, row := range rows {
				n += row.Count
				if i > 0 && row.Name != otherKey {
					require.LessOrEqual(t, row.Count, rows[i-1].Count)
				}
			}
			return n
		}
		require.Equal(t, r.Total, sum(r.Senders))
		require.Equal(t, r.Total, sum(r.Metrics))
		for _, reason := range r.Reasons {
			i := reasonNumber(t, reason.Reason)
			require.Equal(t, want.Rejected[i], reason.Count)
			require.NotEmpty(t, reason.Samples)
		}
	})
}

func reasonNumber(t *rapid.T, name string) metric.Reason {
	for r := metric.OK; r < metric.NumReasons; r++ {
		if r.String() == name {
			return r
		}
	}
	t.Fatalf("there is no reason %q", name)
	return 0
}

func TestRejectsOfNothing(t *testing.T) {
	b, err := json.Marshal(Rejects(nil, NewFeeder(stripe(testParser), testParser)))
	require.NoError(t, err)
	require.JSONEq(t, `{"total":0,"reasons":[],"senders":[],"metrics":[]}`, string(b))
}
