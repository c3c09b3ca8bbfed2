package metric

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTagIndexAgainstMap(t *testing.T) {
	type key struct {
		metric uint32
		tags   Tagset
	}
	var list []key
	keys := func(n uint32) (uint32, Tagset) { return list[n].metric, list[n].tags }
	x, want := NewTagIndex(), map[key]uint32{}
	for i := range 20_000 {
		k := key{uint32(i % 7), NewTagset([]Tag{{Key: "k", Value: fmt.Sprint(i % 5_000)}})}
		got, ok := x.Find(k.metric, k.tags, keys)
		n, known := want[k]
		require.Equal(t, known, ok)
		if known {
			require.Equal(t, n, got)
			continue
		}
		want[k] = uint32(len(list))
		list = append(list, k)
		x.Put(want[k], keys)
	}
	for k, n := range want {
		got, ok := x.Find(k.metric, k.tags, keys)
		require.True(t, ok)
		require.Equal(t, n, got)
	}
	require.LessOrEqual(t, 4*x.n, 3*len(x.cells)+4, "cells run out")
}
