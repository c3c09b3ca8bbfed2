//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// victoriaAddr is where it listens while it is measured.
const victoriaAddr = "127.0.0.1:18428"

// victoriaRow is the same data in VictoriaMetrics.
type victoriaRow struct {
	bytes uint64 // of all that it stores
	data  uint64 // of it: blocks of samples, without the index and all else
	query time.Duration
}

// compare gives the data set to VictoriaMetrics, lets it merge, weighs what it stores,
// and times the query.
func (b *bench) compare(ctx context.Context, dir string) (out victoriaRow, err error) {
	cmd := exec.CommandContext(ctx, b.victoria, "-storageDataPath", dir, "-httpListenAddr", victoriaAddr, "-retentionPeriod", "100y", "-loggerLevel", "ERROR", "-search.disableCache")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return out, fmt.Errorf("start %s: %w", b.victoria, err)
	}
	ended := false
	defer func() {
		if !ended {
			err = errors.Join(err, cmd.Process.Kill())
			_ = cmd.Wait() // it was killed, and says so
		}
	}()
	if err := until(ctx, func() error { return get(ctx, "/health", nil) }); err != nil {
		return out, err
	}
	if err := b.importAll(ctx); err != nil {
		return out, err
	}
	for _, path := range []string{"/internal/force_flush", "/internal/force_merge"} {
		if err := get(ctx, path, nil); err != nil {
			return out, err
		}
	}
	if out.query, err = b.queryVictoria(ctx); err != nil {
		return out, err
	}
	if err := wait(ctx, 5*time.Second); err != nil { // the merge goes on in the background
		return out, err
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return out, err
	}
	ended = true
	if err := cmd.Wait(); err != nil {
		return out, fmt.Errorf("end it: %w", err)
	}
	all, err := weigh(dir)
	if err != nil {
		return out, err
	}
	data, err := weigh(filepath.Join(dir, "data"))
	out.bytes, out.data = all.all(), data.all()
	return out, err
}

func (b *bench) importAll(ctx context.Context) error {
	g, err := b.generate(ctx, "victoria")
	if err != nil {
		return err
	}
	return errors.Join(send(ctx, http.MethodPost, "/api/v1/import", g.out, nil), g.wait())
}

// queryVictoria sums all series at 10 s in one request, as often as Cairn is asked, and returns the median.
func (b *bench) queryVictoria(ctx context.Context) (time.Duration, error) {
	q := url.Values{
		"query": {`sum(sum_over_time({__name__=~"shop_metric_.*"}[10s]))`}, "nocache": {"1"}, "step": {"10"},
		"start": {strconv.Itoa(int(begin) + 10)}, "end": {strconv.Itoa(int(begin) + dataSeconds)},
	}
	var times []time.Duration
	for range readRounds {
		took, err := b.took(func() error {
			return get(ctx, "/api/v1/query_range?"+q.Encode(), func(body string) error {
				if n := strings.Count(body, `"values"`); n != 1 {
					return fmt.Errorf("the answer %.200q has %d series, not one", body, n)
				}
				return nil
			})
		})
		if err != nil {
			return 0, err
		}
		times = append(times, took)
	}
	return median(times), nil
}

func get(ctx context.Context, path string, check func(body string) error) error {
	return send(ctx, http.MethodGet, path, nil, check)
}

func send(ctx context.Context, method, path string, body io.Reader, check func(string) error) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+victoriaAddr+path, body)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s", method, path, res.Status)
	}
	if check != nil {
		return check(string(text))
	}
	return nil
}

// until tries every tenth of a second, for ten seconds.
func until(ctx context.Context, f func() error) (err error) {
	for range 100 {
		if err = f(); err == nil {
			return nil
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return err
}
