package promql

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

func TestCatalog(t *testing.T) {
	w := newWorld(base + 100)
	sec := metric.UnixSec(base + 50)
	w.store.count("a.b", tagset("x", "1", "x", "2"), sec, 1)
	w.store.count("a.b", tagset("y", ""), sec, 1)
	w.open.count("a.b", tagset("x", "3"), sec, 1)
	w.store.observe("lat", tagset("le", "tag", "y", "q"), sec, 1)
	w.store.count("old", tagset("x", "9"), 1000, 1)
	e, ctx := w.engine(), context.Background()
	values := func(name string, q Lookup) []string {
		out, _, err := e.LabelValues(ctx, name, q)
		require.NoError(t, err)
		return out
	}
	require.Equal(t, []string{"a.b", "lat", "lat_bucket", "lat_count", "lat_sum", "old"}, values("__name__", Lookup{}))
	require.Equal(t, []string{"a.b", "lat", "lat_bucket", "lat_count", "lat_sum"}, values("__name__", Lookup{Start: base}))
	require.Equal(t, []string{"a.b"}, values("__name__", Lookup{Match: []string{`{x="3"}`}}))
	require.Equal(t, []string{"1", "2", "3", "9"}, values("x", Lookup{}))
	require.Equal(t, []string{"1", "2"}, values("x", Lookup{Match: []string{`a_b{x="1"}`}}))
	require.Equal(t, []string{"true"}, values("y", Lookup{Match: []string{`a_b`}}))
	require.Equal(t, []string{"+Inf", "tag"}, values("le", Lookup{}), "of buckets, and of a tag of that name")
	require.Equal(t, []string{"q"}, values("y", Lookup{Match: []string{`{__name__=~"lat.*"}`}}))

	names, cut, err := e.LabelNames(ctx, Lookup{Match: []string{`{x="3"}`, `lat_sum`}, Limit: 3})
	require.NoError(t, err)
	require.Equal(t, []string{"__name__", "le", "x"}, names)
	require.True(t, cut)

	all, cut, err := e.Series(ctx, Lookup{Match: []string{`a_b`, `{x=~"1|3"}`, `lat_bucket`}})
	require.NoError(t, err)
	require.False(t, cut)
	require.Equal(t, `[{"__name__":"a.b","x":"1,2"},{"__name__":"a.b","x":"3"},{"__name__":"a.b","y":"true"},{"__name__":"lat_bucket","y":"q"}]`,
		string(all.Append(nil)))

	meta, err := e.Metadata(ctx, "", 0)
	require.NoError(t, err)
	require.Len(t, meta, 3)
	require.Equal(t, "histogram", meta[1].Type)

	st, err := e.Statistics(ctx, 2)
	require.NoError(t, err)
	require.Equal(t, 5, st.Series)
	require.Equal(t, []Count{{"a.b", 3}, {"lat", 1}}, st.SeriesByName)
	require.Equal(t, []Count{{"x", 4}, {"y", 2}}, st.ValuesByLabel)
}
