package report

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReplaceKeepsWhatIsAround(t *testing.T) {
	mark := Mark("measured")
	out, ok := mark.replace("a\n"+mark.begin()+"old\n"+mark.end()+"z\n", "new\n")
	require.True(t, ok)
	require.Equal(t, "a\n"+mark.begin()+"new\n"+mark.end()+"z\n", out)
	for _, bad := range []string{"", mark.begin(), mark.end() + mark.begin()} {
		_, ok := mark.replace(bad, "new\n")
		require.False(t, ok, bad)
	}
}

func TestQuantiles(t *testing.T) {
	var d []time.Duration
	for i := range 200 {
		d = append(d, time.Duration(200-i))
	}
	require.EqualValues(t, 101, Median(d))
	require.EqualValues(t, 199, Quantile(d, 0.99))
	require.EqualValues(t, 200, Quantile(d, 1))
	require.EqualValues(t, 200, d[0], "the argument was sorted")
	require.EqualValues(t, 7, Quantile([]time.Duration{7}, 0.99))
}

func TestHead(t *testing.T) {
	require.Contains(t, Head("store", "-run size", time.Unix(0, 0).UTC()), "`make bench-store` (`go run ./internal/bench/store -run size`), 1970-01-01, ")
	require.Contains(t, Head("store", "", time.Unix(0, 0).UTC()), "bench/store`), ")
}
