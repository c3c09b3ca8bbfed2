package config

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
)

// Query is what queries may cost.
type Query struct {
	AtOnce  int           // that run; more wait for their turn
	Time    time.Duration // of one, waiting included
	Series  int           // that one may read
	Samples int           // buckets that one may read
	Cache   int           // bytes for results of the past; 0: none is kept
}

// Defaults of queries' limits.
const (
	// defaultQueries leaves processor time to the readers.
	defaultQueries = 8
	// defaultQueryTime is longer than anybody watches a screen that stays empty.
	defaultQueryTime = 10 * time.Second
	// defaultQuerySeries are all of them, as long as --max-series is not raised.
	defaultQuerySeries = 1_000_000
	// defaultQuerySamples are an hour at 1s of 140,000 series; one core reads them in
	// some seconds.
	defaultQuerySamples = 500_000_000
	defaultQueryCache   = 32 << 20
)

func (q *Query) register(flags *pflag.FlagSet) {
	flags.IntVar(&q.AtOnce, "max-queries", defaultQueries, "queries that run at once; others wait for their turn")
	flags.DurationVar(&q.Time, "max-query-time", defaultQueryTime, "how long one query may take, with its wait, before it is stopped")
	flags.IntVar(&q.Series, "max-query-series", defaultQuerySeries, "series that one query may read")
	flags.IntVar(&q.Samples, "max-query-samples", defaultQuerySamples, "buckets that one query may read")
	flags.Var(newSize(&q.Cache, defaultQueryCache), "query-cache", "memory for results of sealed ranges, which later queries need not read again; 0: none are kept")
}

func (q *Query) check() (problems []error) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if q.AtOnce < 1 || q.AtOnce > 1024 {
		bad("max-queries: %d is not between 1 and 1024", q.AtOnce)
	}
	if q.Time < 100*time.Millisecond || q.Time > time.Hour {
		bad("max-query-time: %s is not between 100ms and 1h", q.Time)
	}
	if q.Series < 1 {
		bad("max-query-series: %d is less than 1", q.Series)
	}
	if q.Samples < 1 {
		bad("max-query-samples: %d is less than 1", q.Samples)
	}
	if q.Cache != 0 && q.Cache < 1<<20 {
		bad("query-cache: %d bytes are less than 1MiB; 0 keeps no results", q.Cache)
	}
	return problems
}
