package query

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// kept is an executor over a store of one series that counts 1 a second, of which versions
// and changes are told.
type kept struct {
	*Executor
	store   *fakeSource
	version uint64
	same    metric.UnixSec // before it nothing has changed since the version before
}

func newKept(bytes int64) *kept {
	k := &kept{store: &fakeSource{stored: true, series: map[metric.Tagset]map[metric.UnixSec]float64{"": {}}}, same: metric.Never}
	for sec := range metric.UnixSec(2000) {
		k.store.series[""][sec] = 1
	}
	k.Executor = &Executor{CacheBytes: bytes, Acquire: func() (*View, error) {
		at := k.version
		return &View{OpenDone: func() {}, Store: k.store, Version: at, Close: func() {}, SameBefore: func(_ metric.ID, since uint64) metric.UnixSec {
			if since >= at { // as of no change at all
				return metric.Never
			}
			return k.same
		}}, nil
	}}
	return k
}

// ask returns the total of [from, to), and of how many buckets it was read.
func (k *kept) ask(t *testing.T, from, to metric.UnixSec, filters ...string) (total float64, samples int64) {
	t.Helper()
	rd, err := k.Begin(context.Background())
	require.NoError(t, err)
	defer rd.Close()
	r := Read{IDs: []metric.ID{testID}, Tier: metric.Tier1s, Grid: EvenGrid(from, to, 10)}
	for _, f := range filters {
		m, err := ParseFilter(f)
		require.NoError(t, err)
		r.Filters = append(r.Filters, m)
	}
	p, err := rd.Prepare(r)
	require.NoError(t, err)
	f, err := p.Frame()
	require.NoError(t, err)
	for _, g := range f.Groups {
		for _, v := range g.Sums() {
			if v == v {
				total += v
			}
		}
	}
	return total, rd.read.Load()
}

func TestOnlyWhatHasChangedIsReadAgain(t *testing.T) {
	k := newKept(1 << 20)
	requireAsk := func(from, to metric.UnixSec, total float64, samples int64) {
		t.Helper()
		gotTotal, gotSamples := k.ask(t, from, to)
		require.Equal(t, total, gotTotal)
		require.Equal(t, samples, gotSamples)
	}
	requireAsk(0, 1000, 1000, 1000)
	requireAsk(0, 1000, 1000, 0)
	requireAsk(100, 1000, 900, 0)
	requireAsk(100, 1100, 1000, 100) // the tail
	requireAsk(100, 900, 800, 800)   // it is not told which series are in it
	requireAsk(100, 900, 800, 0)
	requireAsk(0, 200, 200, 200) // a much shorter one is kept beside it
	requireAsk(100, 900, 800, 0)
	requireAsk(0, 200, 200, 0)

	k.version++ // a flush has changed what is from 855 on
	k.same = 855
	k.store.series[""][860]++
	requireAsk(100, 1000, 901, 150)
	requireAsk(50, 1000, 951, 50) // the head

	k.version++ // it is not known what has changed
	k.same = 0
	requireAsk(50, 1000, 951, 950)

	k.version-- // an older view: what it has may be open in it
	requireAsk(50, 1000, 951, 950)
}

func TestAnOlderViewLeavesWhatIsKept(t *testing.T) {
	k := newKept(1 << 20)
	k.same, k.version = 0, 2
	k.ask(t, 0, 1000)
	k.version = 1
	k.ask(t, 0, 1000)
	k.version = 2
	_, samples := k.ask(t, 0, 1000)
	require.Zero(t, samples)
}

func TestTheCacheIsBounded(t *testing.T) {
	k := newKept(20_000)
	for i := range 200 {
		k.ask(t, 0, 1000, fmt.Sprintf("!i:%d", i))
		require.LessOrEqual(t, k.kept.bytes, int64(20_000))
	}
	require.Greater(t, len(k.kept.entries), 3)
	_, samples := k.ask(t, 0, 1000, "!i:199")
	require.Zero(t, samples, "the newest is there")
	_, samples = k.ask(t, 0, 1000, "!i:1")
	require.EqualValues(t, 1000, samples, "the oldest is not")
	sum := int64(0)
	for _, e := range k.kept.entries {
		sum += e.bytes
	}
	require.Equal(t, sum, k.kept.bytes)
	k = newKept(0)
	k.ask(t, 0, 1000)
	_, samples = k.ask(t, 0, 1000)
	require.EqualValues(t, 1000, samples)
}
