package config

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQuerySettings(t *testing.T) {
	c, err := load(t, "max-query-time: 1m\nquery-cache: 1MiB\n", map[string]string{"CAIRN_MAX_QUERIES": "1024"}, "--max-query-series", "1", "--max-query-samples", "1")
	require.NoError(t, err)
	require.Equal(t, Query{AtOnce: 1024, Time: time.Minute, Series: 1, Samples: 1, Cache: 1 << 20}, c.Query)
	c, err = load(t, "", nil, "--query-cache", "0", "--max-query-time", "100ms", "--max-queries", "1")
	require.NoError(t, err)
	require.Zero(t, c.Query.Cache)

	_, err = load(t, "", nil, "--max-queries", "0", "--max-query-time", "99ms", "--max-query-series", "0", "--max-query-samples", "-1", "--query-cache", "1023KiB")
	require.Error(t, err)
	for _, part := range []string{
		"max-queries: 0 is not between 1 and 1024", "max-query-time: 99ms is not between 100ms and 1h", "max-query-series: 0 is less than 1",
		"max-query-samples: -1 is less than 1", "query-cache: 1047552 bytes are less than 1MiB; 0 keeps no results",
	} {
		require.ErrorContains(t, err, part)
	}
	require.Equal(t, 5, len(strings.Split(err.Error(), "\n")))
	_, err = load(t, "", nil, "--max-queries", "1025", "--max-query-time", "61m")
	require.ErrorContains(t, err, "max-queries: 1025")
	require.ErrorContains(t, err, "max-query-time: 1h1m0s")
}
