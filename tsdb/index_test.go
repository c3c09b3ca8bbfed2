package tsdb

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/matcher"
	"cairn/internal/metric"
)

// randomTags makes a tagset; values of x are many, so that lists of all sizes come up.
// rapid itself would draw small numbers, and few series.
func randomTags(rng *rand.Rand) metric.Tagset {
	var tags []metric.Tag
	for range rng.IntN(5) {
		key := []string{"k", "l", "x"}[rng.IntN(3)]
		value := []string{"", "a", "b", "ab"}[rng.IntN(4)]
		if key == "x" {
			value = strconv.Itoa(rng.IntN(200))
		}
		tags = append(tags, metric.Tag{Key: key, Value: value})
	}
	return metric.NewTagset(tags)
}

func drawMatchers(t *rapid.T) (list matcher.List) {
	for range rapid.IntRange(0, 3).Draw(t, "matchers") {
		key := rapid.SampledFrom([]string{"k", "l", "x", "none"}).Draw(t, "key")
		if rapid.Bool().Draw(t, "native") {
			p := rapid.SampledFrom([]matcher.Pattern{{""}, {"a"}, {"", ""}, {"1", ""}, {"", "b"}}).Draw(t, "pattern")
			list = append(list, matcher.Any(key, rapid.Bool().Draw(t, "not"), p, matcher.Pattern{"b"}))
			continue
		}
		op := rapid.SampledFrom([]matcher.Op{matcher.Equal, matcher.NotEqual, matcher.Regexp, matcher.NotRegexp}).Draw(t, "op")
		value := rapid.SampledFrom([]string{"", "a", "a|b", ".*", ".+", "a?", "1.*", "[0-9]1", "7", "[0-9]+1", "(?i)A.?", "1?[^a]*"}).Draw(t, "wanted")
		m, err := matcher.New(key, op, value)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

// model is what an index must hold.
type model map[metric.ID]map[metric.Tagset]uint32

func (o model) check(t require.TestingT, s *Store, match matcher.List) {
	require.Len(t, s.Metrics(), len(o))
	for id, series := range o {
		var want []Selected
		keys, values := map[string]int{}, map[metric.Tag]int{}
		for ts, no := range series {
			if match.Match(ts) {
				want = append(want, Selected{Ref{s.index.byID[id].no, no}, ts})
			}
			last := metric.Tag{}
			for i, tag := range ts.Tags() {
				values[tag]++
				if i == 0 || last.Key != tag.Key {
					keys[tag.Key]++
				}
				last = tag
			}
			r, ok := s.Lookup(metric.Series{ID: id, Tags: ts})
			require.True(t, ok)
			require.Equal(t, no, r.series)
		}
		slices.SortFunc(want, func(a, b Selected) int { return int(a.Ref.series) - int(b.Ref.series) })
		require.Equal(t, want, s.Select(id, match), "%v", match)
		n, card := s.Cardinality(id)
		require.Equal(t, len(series), n)
		require.Len(t, card, len(keys))
		for _, c := range card {
			require.Equal(t, keys[c.Key], c.Series, c.Key)
			distinct := 0
			for tag, n := range values {
				if tag.Key == c.Key {
					distinct++
					require.Equal(t, n, s.ValueCardinality(id, tag))
				}
			}
			require.Equal(t, distinct, c.Values)
		}
		all := s.Select(id, nil)
		for from := 0; from < len(all)+2; from += 7 {
			require.Equal(t, append([]Selected(nil), all[min(from, len(all)):min(from+7, len(all))]...), s.Part(id, from, 7))
		}
	}
}

// TestIndexAgainstModel adds and removes series, and opens the store again, and
// compares what is selected with all tagsets matched one by one.
func TestIndexAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewMem()
		reopen := func() *Store {
			s, err := Open("data", Options{FS: fs, Cache: 1 << 20})
			require.NoError(t, err)
			s.nowSteps = 300 // some values
			return s
		}
		s := reopen()
		kept := drawMatchers(t) // they have verdicts of all that was
		defer func() { require.NoError(t, s.Close()) }()
		o := model{}
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			b := s.NewBatch()
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				b.Discard()
				require.NoError(t, s.Close())
				s = reopen()
			case 1:
				for id, series := range o {
					for ts, no := range series {
						if no%3 == 0 {
							b.removeSeries([]Ref{{s.index.byID[id].no, no}})
							delete(series, ts)
						}
					}
				}
				require.NoError(t, b.Commit())
				b.Publish()
			default:
				rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
				for range rapid.SampledFrom([]int{1, 40, 200}).Draw(t, "series") {
					series := metric.Series{ID: metric.ID{Name: []string{"m", "n"}[rng.IntN(2)], Kind: metric.Counter}, Tags: randomTags(rng)}
					if o[series.ID] == nil {
						o[series.ID] = map[metric.Tagset]uint32{}
					}
					if _, again := o[series.ID][series.Tags]; again {
						continue
					}
					r, err := b.Ref(series)
					require.NoError(t, err)
					require.NoError(t, b.Add(r, []metric.Sum{{Sec: 1, Events: 1, Value: 1}}))
					o[series.ID][series.Tags] = r.series
				}
				require.NoError(t, b.Commit())
				b.Publish()
			}
			for range 4 {
				o.check(t, s, drawMatchers(t))
			}
			o.check(t, s, kept)
		}
	})
}

// TestChurnDoesNotGrow adds and removes the same number of series again and again.
func TestChurnDoesNotGrow(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	defer func() { require.NoError(t, s.Close()) }()
	var old []Ref
	for round := range 40 {
		if round%10 == 9 {
			require.NoError(t, s.Close())
			s = open(t, fs)
		}
		b := s.NewBatch()
		b.removeSeries(old)
		require.NoError(t, b.Commit())
		b.Publish()
		old = nil
		b = s.NewBatch()
		for i := range 5000 {
			r, err := b.Ref(seriesOf("m", metric.Tag{Key: fmt.Sprint("key", round), Value: fmt.Sprint("value", round, "of", i, "with some length to it")}))
			require.NoError(t, err)
			old = append(old, r)
		}
		require.NoError(t, b.Commit())
		b.Publish()
	}
	x := s.index
	require.Len(t, x.metricOf, 5000)
	require.Len(t, x.dict.keys, 1)
	require.Len(t, x.dict.at, 5000)
	require.Less(t, len(x.words), 1<<17)
	require.Less(t, x.dict.text.size(), 4<<20)
	n, keys := s.Cardinality(seriesOf("m").ID)
	require.Equal(t, 5000, n)
	require.Equal(t, []KeyCardinality{{"key39", 5000, 5000}}, keys)
}

// TestNumbersWaitForSnapshots: a number is not used again while a snapshot is open
// that may hold chunks under it.
func TestNumbersWaitForSnapshots(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer func() { require.NoError(t, s.Close()) }()
	add := func(name string) Ref {
		b := s.NewBatch()
		r, err := b.Ref(seriesOf(name))
		require.NoError(t, err)
		require.NoError(t, b.Commit())
		b.Publish()
		return r
	}
	first := add("a")
	snap := s.Snapshot()
	b := s.NewBatch()
	b.removeSeries([]Ref{first})
	require.NoError(t, b.Commit())
	b.Publish()
	later := s.Snapshot()
	require.NotEqual(t, first.series, add("b").series)
	require.NoError(t, snap.Close())
	require.Equal(t, first.series, add("c").series)
	require.NoError(t, later.Close())
}

// TestGapsAreUsedAfterOpen: numbers that were removed are known by their absence.
func TestGapsAreUsedAfterOpen(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	add := func(names ...string) (refs []Ref) {
		b := s.NewBatch()
		for _, name := range names {
			r, err := b.Ref(seriesOf(name))
			require.NoError(t, err)
			refs = append(refs, r)
		}
		require.NoError(t, b.Commit())
		b.Publish()
		return refs
	}
	refs := add("a", "b", "c")
	b := s.NewBatch()
	b.removed, b.gone = refs[:2], []uint32{refs[0].metric, refs[1].metric}
	require.NoError(t, b.Commit())
	b.Publish()
	require.NoError(t, s.Close())
	s = open(t, fs)
	require.Equal(t, []MetricInfo{{ID: seriesOf("c").ID, Series: 1}}, s.Metrics())
	require.Equal(t, append(refs[:2:2], Ref{4, 4}), add("d", "e", "f"))
	require.NoError(t, s.Close())
}

// BenchmarkSelect selects out of 100,000 series, with the index and by matching each
// tagset, as was done before there were postings.
func BenchmarkSelect(b *testing.B) {
	s := open(b, vfs.NewMem())
	batch := s.NewBatch()
	var tagsets []metric.Tagset
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 100_000 {
		series := seriesOf("m", metric.Tag{Key: "env", Value: strconv.Itoa(rng.IntN(5))}, metric.Tag{Key: "region", Value: strconv.Itoa(rng.IntN(20))}, metric.Tag{Key: "host", Value: fmt.Sprintf("web-%06d", i)})
		tagsets = append(tagsets, series.Tags)
		_, err := batch.Ref(series)
		require.NoError(b, err)
	}
	require.NoError(b, batch.Commit())
	batch.Publish()
	for _, c := range []struct {
		key, value string
		op         matcher.Op
	}{{"host", "web-050000", matcher.Equal}, {"host", "web-0500.*", matcher.Regexp}, {"host", "web-[0-9]+1234", matcher.Regexp}, {"region", "7", matcher.Equal}, {"region", "7", matcher.NotEqual}} {
		m, err := matcher.New(c.key, c.op, c.value)
		require.NoError(b, err)
		list := matcher.List{m}
		name := c.key + c.op.String() + c.value
		b.Run(name+"/postings", func(b *testing.B) {
			for b.Loop() {
				s.Select(seriesOf("m").ID, list)
			}
		})
		b.Run(name+"/each", func(b *testing.B) {
			for b.Loop() {
				var out []Selected
				for i, ts := range tagsets {
					if list.Match(ts) {
						out = append(out, Selected{Ref{1, uint32(i) + 1}, ts})
					}
				}
				require.LessOrEqual(b, len(out), len(tagsets))
			}
		})
	}
	require.NoError(b, s.Close())
}
