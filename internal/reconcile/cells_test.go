package reconcile

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// TestCellsKeepTheMostRecentSeconds adds more than there is room for: what is left is
// complete, and the latest.
func TestCellsKeepTheMostRecentSeconds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCells(rapid.IntRange(1, 20).Draw(t, "cells") * otherBytes)
		count := c.place(metric.ID{Name: "a", Kind: metric.Counter})
		level := c.place(metric.ID{Name: "b", Kind: metric.Gauge})
		sums, readings := map[metric.UnixSec]float64{}, map[metric.UnixSec]float64{}
		events, lost := map[metric.UnixSec]uint64{}, map[metric.UnixSec]struct{}{}
		now := metric.UnixSec(1000)
		for range rapid.IntRange(1, 300).Draw(t, "events") {
			now += metric.UnixSec(rapid.IntRange(0, 2).Draw(t, "later"))
			sec := now - metric.UnixSec(rapid.SampledFrom([]int{0, 0, 0, 1, 5, 100}).Draw(t, "age"))
			if rapid.IntRange(0, 5).Draw(t, "lost") == 0 {
				c.lose(count, sec)
				lost[sec] = struct{}{}
				require.LessOrEqual(t, c.cost, c.limit)
				continue
			}
			events[sec]++
			if rapid.Bool().Draw(t, "counter") {
				sums[sec]++
				c.sum(count, sec, 1, 1)
			} else {
				readings[sec]++
				c.other(level, sec, 1, func(f *figures) { f.reading(3, bucket.At{Sec: sec}) })
			}
			require.LessOrEqual(t, c.cost, c.limit)
		}
		require.Equal(t, c.from > 0, c.cut)
		require.LessOrEqual(t, c.from, now+1)
		c.sort()
		for _, all := range []map[metric.UnixSec]float64{sums, readings} {
			for sec := range all {
				if sec < c.from {
					delete(all, sec)
				}
			}
		}
		maps.DeleteFunc(lost, func(sec metric.UnixSec, _ struct{}) bool { return sec < c.from })
		require.Equal(t, len(lost), len(c.list[count].lost))
		require.Len(t, c.list[count].order, len(sums))
		require.Len(t, c.list[level].order, len(readings))
		for sec, n := range sums {
			require.Equal(t, n, c.list[count].sums[sec].sum)
		}
		for sec, n := range readings {
			require.Equal(t, n, c.list[level].others[sec].count.sum)
		}
		for sec, n := range c.events {
			require.Equal(t, events[sec], n)
			require.GreaterOrEqual(t, sec, c.from)
		}
	})
}

func TestAmountsAreTheSame(t *testing.T) {
	of := func(values ...float64) (a amount) {
		for _, v := range values {
			a.add(v)
		}
		return a
	}
	require.True(t, of(1, 2).same(of(3)))
	require.True(t, of(1e15, -1e15, 1).same(of(1)))
	require.False(t, of(1<<52).same(of(1<<52+1)), "whole numbers are exact")
	require.True(t, of(0.1, 0.2).same(of(0.3)), "fractions are not")
	require.True(t, of(1e9, 0.1, -1e9).same(of(0.1)), "they lose what is small beside them")
	require.False(t, of(0.1, 0.2).same(of(0.30001)))
	require.True(t, of(1e300, 1e284).same(of(1e300)))
	require.True(t, of().same(of(0)))
}

func TestAnyOfSeveralReadingsMayBeTheLast(t *testing.T) {
	at := bucket.At{Sec: 10, Late: 5}
	reading := func(at bucket.At, values ...float64) *figures {
		f := &figures{}
		for _, v := range values {
			f.reading(v, at)
		}
		return f
	}
	expected := reading(bucket.At{Sec: 10, Late: 4}, 9)
	expected.merge(reading(at, 1, 2, 3))
	last := func(v float64) *figures {
		f := &figures{}
		f.take(&bucket.Gauge{Count: 4, Sum: 15, Min: 1, Max: 9, Last: v, At: at})
		return f
	}
	for v := 1.0; v <= 3; v++ {
		require.Empty(t, expected.compare(metric.Gauge, last(v)))
	}
	require.Equal(t, []unequal{{"last", 3, 9}}, expected.compare(metric.Gauge, last(9)))
	many := reading(at)
	for v := 0.0; v < 40; v++ {
		many.reading(v, at)
	}
	require.True(t, many.lastIs(last(77)), "too many to tell")
	many.reading(1, bucket.At{Sec: 11})
	require.False(t, many.lastIs(last(77)))
}
