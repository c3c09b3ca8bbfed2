//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"cairn/internal/bench/child"
	"cairn/internal/bench/report"
)

// victoriaRow is the same data in VictoriaMetrics.
type victoriaRow struct {
	bytes uint64 // of all that it stores
	data  uint64 // of it: blocks of samples, without the index and all else
	query time.Duration
}

// compare gives the data set to VictoriaMetrics, lets it merge, weighs what it stores,
// and times the query.
func (b *bench) compare(ctx context.Context, dir string) (out victoriaRow, err error) {
	v, err := child.StartVictoria(ctx, longest, b.victoria, dir, "-retentionPeriod", "100y")
	if err != nil {
		return out, err
	}
	defer v.Close()
	if err := b.importAll(ctx, v); err != nil {
		return out, err
	}
	if err := errors.Join(v.Flush(ctx), v.Merge(ctx)); err != nil {
		return out, err
	}
	if out.query, err = b.queryVictoria(ctx, v); err != nil {
		return out, err
	}
	if err := child.Wait(ctx, 5*time.Second); err != nil { // the merge goes on in the background
		return out, err
	}
	if err := v.Terminate(); err != nil {
		return out, err
	}
	all, err := weigh(dir)
	if err != nil {
		return out, err
	}
	data, err := weigh(filepath.Join(dir, "data"))
	out.bytes, out.data = all.all(), data.all()
	return out, err
}

func (b *bench) importAll(ctx context.Context, v *child.Victoria) error {
	g, err := b.generate(ctx, "victoria")
	if err != nil {
		return err
	}
	_, err = v.Post(ctx, "/api/v1/import", g.out)
	return errors.Join(err, g.wait())
}

// queryVictoria sums all series at 10 s in one request, as often as Cairn is asked, and returns the median.
func (b *bench) queryVictoria(ctx context.Context, v *child.Victoria) (time.Duration, error) {
	q := url.Values{
		"query": {`sum(sum_over_time({__name__=~"shop_metric_.*"}[10s]))`}, "nocache": {"1"}, "step": {"10"},
		"start": {strconv.Itoa(int(begin) + 10)}, "end": {strconv.Itoa(int(begin) + dataSeconds)},
	}
	var times []time.Duration
	for range readRounds {
		took, err := b.took(func() error {
			body, err := v.Get(ctx, "/api/v1/query_range?"+q.Encode())
			if n := strings.Count(string(body), `"values"`); err == nil && n != 1 {
				err = fmt.Errorf("the answer %.200q has %d series, not one", body, n)
			}
			return err
		})
		if err != nil {
			return 0, err
		}
		times = append(times, took)
	}
	return report.Median(times), nil
}
