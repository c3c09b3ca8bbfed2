//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"cairn/internal/bench/report"
	"cairn/internal/metric"
)

// The data set: its generator's defaults.
const (
	dataSeries  = 2000
	dataSeconds = 3600
	dataMetrics = 20
)

const (
	finestBar = 0.68 // bytes a sample
	allBar    = 0.85
)

// size loads the data set as a live server would get it, compacts the store, and weighs it.
func (b *bench) size(ctx context.Context, dir string) (rows []row, err error) {
	r, samples, err := b.filled(ctx, dir, metric.Policy{})
	if err != nil {
		return nil, err
	}
	live, _, err := b.reads(ctx, r, readRounds)
	if err = errors.Join(err, r.pump.Close()); err == nil {
		err = r.store.Compact(ctx)
	}
	tiers := make([]uint64, len(metric.Tiers))
	for i := 0; err == nil && i < len(tiers); i++ {
		tiers[i], err = r.store.TierBytes(metric.Tiers[i])
	}
	if err = errors.Join(err, r.store.Close()); err != nil {
		return nil, err
	}
	left, err := weigh(filepath.Join(dir, "store"))
	if err != nil {
		return nil, err
	}
	// It also reopens the store, which removes logs that were kept to be used again.
	more, err := b.read(ctx, dir)
	if err != nil {
		return nil, err
	}
	w, err := weigh(filepath.Join(dir, "store"))
	if err != nil {
		return nil, err
	}
	all := w.all()
	rest := all - min(all, tiers[1]+tiers[2]+tiers[3])
	// Estimates of parts of a table are a little too high or too low: the worse counts.
	finest := max(rest, tiers[0]+w.logs+w.others)
	each := func(n uint64) float64 { return float64(n) / float64(samples) }
	rows = []row{
		{
			what: fmt.Sprintf("at rest, 1s tier, %d series × 1 h, %d samples", dataSeries, samples), got: fmt.Sprintf("%.3f bytes/sample", each(finest)),
			bar: "≤ 0.68", ok: report.Verdict(each(finest) <= finestBar), reference: "VictoriaMetrics 0.94, entropy bound 0.61",
			note: "all blocks of all files after a restart, less what Pebble estimates of the other tiers",
		},
		{
			what: "the same, all four tiers", got: fmt.Sprintf("%.3f bytes/sample", each(all)), bar: "≤ 0.85", ok: report.Verdict(each(all) <= allBar),
			note: fmt.Sprintf("1s %.3f, 10s %.3f, 1m %.3f, 1h %.3f; of it logs %.3f, and what is neither log nor table %.3f", each(tiers[0]), each(tiers[1]), each(tiers[2]), each(tiers[3]),
				each(w.logs), each(w.others)),
		},
		{
			what: "beside these: logs that a running server keeps to write to them again", got: fmt.Sprintf("%d MB", left.logs>>20),
			note: "no more with more data; the next start removes them",
		},
	}
	more[0].note += fmt.Sprintf("; %s just after the last flush, with what is merged on reading", report.Millis(report.Median(live)))
	if b.victoria != "" {
		v, err := b.compare(ctx, dir+"-victoria")
		if err != nil {
			return nil, fmt.Errorf("VictoriaMetrics: %w", err)
		}
		rows[0].reference = fmt.Sprintf("VictoriaMetrics, this run: %.3f with everything, %.3f samples alone; entropy bound 0.61", each(v.bytes), each(v.data))
		more[0].reference = fmt.Sprintf("VictoriaMetrics, this run: %s", report.Millis(v.query))
	}
	alone, err := b.finest(ctx, dir+"-1s")
	if err != nil {
		return nil, err
	}
	return append(append([]row{rows[0], {
		what: "the same, in a store that keeps no other tier: everything counted", got: fmt.Sprintf("%.3f bytes/sample", each(alone)),
		bar: "≤ 0.68", ok: report.Verdict(each(alone) <= finestBar), note: "all blocks of all files after a restart",
	}}, rows[1:]...), more...), nil
}

// filled opens a store and loads the data set into it; all of it is flushed.
func (b *bench) filled(ctx context.Context, dir string, kept metric.Policy) (r *rig, samples uint64, err error) {
	if r, err = openRig(dir, dataSeries, begin, kept); err != nil {
		return nil, 0, err
	}
	samples, err = b.load(ctx, r)
	r.clock.Advance(grace * time.Second)
	if err == nil {
		err = r.flush()
	}
	if err != nil {
		return nil, 0, errors.Join(err, r.close())
	}
	return r, samples, nil
}

// finest returns what the data set takes in a store that keeps the finest tier only.
func (b *bench) finest(ctx context.Context, dir string) (uint64, error) {
	only := metric.Policy{Default: metric.Retention{metric.DefaultRetention.Of(metric.Tier1s)}}
	r, _, err := b.filled(ctx, dir, only)
	if err != nil {
		return 0, err
	}
	if err = errors.Join(r.pump.Close(), r.store.Compact(ctx), r.store.Close()); err != nil {
		return 0, err
	}
	// The restart removes the logs that were kept to be used again.
	if r, err = openRig(dir, dataSeries, begin+dataSeconds+3*grace, only); err != nil {
		return 0, err
	}
	if err := r.close(); err != nil {
		return 0, err
	}
	w, err := weigh(filepath.Join(dir, "store"))
	return w.all(), errors.Join(err, os.RemoveAll(dir))
}

// weight is what files take of the disk: tables, logs, and all others.
type weight struct{ tables, logs, others uint64 }

func (w weight) all() uint64 { return w.tables + w.logs + w.others }

// weigh weighs the files in dir.
func weigh(dir string) (w weight, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: the file system does not tell its blocks", path)
		}
		n := uint64(st.Blocks) * 512
		switch {
		case d.IsDir():
		case filepath.Ext(path) == ".sst":
			w.tables += n
		case filepath.Ext(path) == ".log":
			w.logs += n
		default:
			w.others += n
		}
		return nil
	})
	if err != nil {
		return weight{}, fmt.Errorf("weigh the store: %w", err)
	}
	return w, nil
}

// load counts the data set second by second, and flushes every ten.
func (b *bench) load(ctx context.Context, r *rig) (samples uint64, err error) {
	g, err := b.generate(ctx, "statsd")
	if err != nil {
		return 0, err
	}
	var e events
	scan := bufio.NewScanner(g.out)
	for err == nil && scan.Scan() {
		var sec metric.UnixSec
		var one line
		if one, sec, err = parseLine(scan.Bytes()); err != nil {
			break
		}
		for err == nil && sec > r.now() {
			err = r.second(&e)
		}
		e.add(string(one.name), string(one.tags), one.value)
		samples++
	}
	if err == nil {
		err = scan.Err()
	}
	if err == nil {
		err = r.second(&e)
	}
	if err = errors.Join(err, g.wait()); err != nil {
		return 0, err
	}
	wantSamples, wantSum, err := g.totals()
	if err != nil {
		return 0, err
	}
	c := r.agg.Counts()
	if samples != wantSamples || c.Accepted != samples || c.Units != wantSum {
		return 0, fmt.Errorf("the generator made %d samples of sum %.0f; %d were read, %d were counted, with sum %.0f", wantSamples, wantSum, samples, c.Accepted, c.Units)
	}
	return samples, nil
}

// second counts what came in one, lets it end, and flushes where a flush is due.
func (r *rig) second(e *events) error {
	err := r.feed(e)
	*e = events{buf: e.buf[:0], raw: e.raw[:0]}
	if err == nil {
		err = r.tick()
	}
	if err == nil && r.now()%interval == 0 {
		err = r.flush()
	}
	return err
}

// line is one of the data set's, `name:value|c|#tags|Tsecond`.
type line struct {
	name, tags []byte
	value      float64
}

func parseLine(b []byte) (l line, sec metric.UnixSec, err error) {
	var value, at []byte
	rest := b
	l.name, rest, _ = bytes.Cut(rest, []byte(":"))
	value, rest, _ = bytes.Cut(rest, []byte("|c|"))
	l.tags, at, _ = bytes.Cut(rest, []byte("|T"))
	var err1, err2 error
	l.value, err1 = strconv.ParseFloat(string(value), 64)
	n, err2 := strconv.ParseUint(string(at), 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return l, 0, fmt.Errorf("the line %q of the data set: %w", b, err)
	}
	return l, metric.UnixSec(n), nil
}

// generator is the data set's. It does not outlive this program.
type generator struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	stderr bytes.Buffer
}

func (b *bench) generate(ctx context.Context, format string) (*generator, error) {
	g := &generator{cmd: exec.CommandContext(ctx, "go", "run", "./dataset", "-format", format,
		"-series", strconv.Itoa(dataSeries), "-seconds", strconv.Itoa(dataSeconds), "-start", strconv.Itoa(int(begin)))}
	g.cmd.Dir, g.cmd.Stderr = b.tools, &g.stderr
	g.cmd.Env = append(os.Environ(), "GOWORK=off")
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	g.out = bufio.NewReaderSize(out, 1<<20)
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("run the data set's generator in %s: %w", b.tools, err)
	}
	return g, nil
}

func (g *generator) wait() error {
	if err := g.cmd.Wait(); err != nil {
		return fmt.Errorf("the data set's generator: %w\n%s", err, g.stderr.Bytes())
	}
	return nil
}

// totals are what it says of itself: samples and their sum.
func (g *generator) totals() (samples uint64, sum float64, err error) {
	if _, err := fmt.Sscanf(g.stderr.String(), "samples %d sum %g", &samples, &sum); err != nil {
		return 0, 0, fmt.Errorf("the data set's generator said %q: %w", g.stderr.String(), err)
	}
	return samples, sum, nil
}
