//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/bench/child"
	"cairn/internal/metric"
	"cairn/tsdb"
)

// retention keeps all tiers as long as the data reach, so that nothing expires while it
// is measured. Store and server must agree, or the server takes it for a change.
const retention = "1s:40d,10s:40d,1m:40d,1h:400d"

// manifest says what a folder of data holds. It is written last.
type manifest struct {
	Format   int
	Dataset  dataset
	Compact  bool // Cairn's store is compacted
	Victoria bool // it is in VictoriaMetrics too
}

// dataFormat goes up when the same dataset no longer gives the same data.
const dataFormat = 1

// fill makes the data in the folder for them, or takes what an earlier run has left there.
func (b *bench) fill(ctx context.Context) error {
	path := filepath.Join(b.keep, "data.json")
	m, ok := readManifest(path)
	if ok && m.Compact == b.compact && m.Dataset.Days == b.days && m.Dataset.Wide == b.wide {
		b.say("the data in %s are used again; they end %s", b.keep, m.Dataset.Until.Time().Format(time.RFC3339))
	} else {
		m = manifest{Format: dataFormat, Compact: b.compact, Dataset: newDataset(metric.SecOf(b.clock.Now()), b.days, b.wide)}
		if err := removeAll(path, b.cairnDir(), b.victoriaDir()); err != nil {
			return err
		}
		took, err := b.took(func() error { return fillCairn(ctx, b.cairnDir(), &m.Dataset, b.compact) })
		if err != nil {
			return fmt.Errorf("fill Cairn's store: %w", err)
		}
		b.say("Cairn's store is filled (%.0f s)", took.Seconds())
	}
	if b.victoria != "" && !m.Victoria {
		if err := removeAll(b.victoriaDir()); err != nil {
			return err
		}
		took, err := b.took(func() error { return b.fillVictoria(ctx, &m.Dataset) })
		if err != nil {
			return fmt.Errorf("fill VictoriaMetrics: %w", err)
		}
		b.say("VictoriaMetrics is filled (%.0f s)", took.Seconds())
		m.Victoria = true
	}
	b.data = m.Dataset
	text, err := json.Marshal(m)
	if err == nil {
		err = os.WriteFile(path, text, 0o644)
	}
	return err
}

func (b *bench) cairnDir() string    { return filepath.Join(b.keep, "cairn") }
func (b *bench) victoriaDir() string { return filepath.Join(b.keep, "victoria") }

func removeAll(paths ...string) error {
	var errs []error
	for _, p := range paths {
		errs = append(errs, os.RemoveAll(p))
	}
	return errors.Join(errs...)
}

// readManifest reports false where there is none, or one of other data.
func readManifest(path string) (m manifest, ok bool) {
	text, err := os.ReadFile(path)
	return m, err == nil && json.Unmarshal(text, &m) == nil && m.Format == dataFormat
}

// fillCairn writes the data into a new store, in all tiers: what is older than the last
// full hour metric by metric, and what came since as a server's flushes would have.
func fillCairn(ctx context.Context, dir string, d *dataset, compact bool) (err error) {
	kept, err := metric.ParseRetention(retention)
	if err != nil {
		return err
	}
	store, err := tsdb.Open(dir, tsdb.Options{Retention: metric.Policy{Default: kept}, Fatal: func(s string) { panic(s) }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	old, late := d.flushed()
	var recent []series
	var units float64
	if err := d.groups(func(group []series) error {
		for i := range group {
			for _, s := range group[i].sums {
				units += s.Value
			}
			s := group[i].within(late)
			s.sums = slices.Clone(s.sums) // without what is older
			recent = append(recent, s)
			group[i] = group[i].within(old)
		}
		return errors.Join(commit(store, group, old.to), ctx.Err())
	}); err != nil {
		return err
	}
	if err := flushes(ctx, store, recent, late); err != nil {
		return err
	}
	if got := store.Totals().Units; got != units {
		return fmt.Errorf("the store holds %.0f; %.0f were written", got, units)
	}
	if compact {
		return store.Compact(ctx)
	}
	return settle(ctx, store)
}

// flushInterval is the default of --flush-interval, in seconds.
const flushInterval = 10

// flushes writes what lies in a span, one interval at a time.
func flushes(ctx context.Context, store *tsdb.Store, all []series, p span) error {
	var group []series
	for at := p.from; at < p.to; at += flushInterval {
		group = group[:0]
		for i := range all {
			s := &all[i]
			n := 0
			for n < len(s.sums) && s.sums[n].Sec < at+flushInterval {
				n++
			}
			if n == 0 {
				continue
			}
			now := *s
			now.sums, s.sums = s.sums[:n], s.sums[n:]
			group = append(group, now)
		}
		if err := errors.Join(commit(store, group, at+flushInterval), ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until the store does nothing in the background, as it would between
// flushes, which are ten real seconds apart.
func settle(ctx context.Context, store *tsdb.Store) error {
	for idle := 0; idle < 3; idle++ {
		if f := store.Figures(); f.CompactionsRunning+f.FlushesRunning > 0 {
			idle = -1
		}
		if err := child.Wait(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// commit writes some series; the store then holds all that was before until.
func commit(store *tsdb.Store, group []series, until metric.UnixSec) error {
	batch := store.NewBatch()
	batch.SetCursor(tsdb.Cursor{Watermark: until})
	for i := range group {
		s := &group[i]
		ref, err := batch.Ref(metric.Series{ID: metric.ID{Name: s.name, Kind: metric.Counter}, Tags: metric.NewTagset(s.tags)})
		if err == nil {
			err = batch.Add(ref, s.sums)
		}
		if err != nil {
			batch.Discard()
			return err
		}
	}
	if err := batch.Commit(); err != nil {
		batch.Discard()
		return err
	}
	batch.Publish()
	return nil
}

// victoriaFlags keep its data for longer than they reach, and let it answer for the
// last half minute as for any other.
var victoriaFlags = []string{"-retentionPeriod=100d", "-search.latencyOffset=1ms"}

// fillVictoria imports the data, and waits until they are searchable and what it merges by
// itself is merged. They come in order of time, as they would have: so its blocks hold what
// is near in time, and queries take less than after a merge that is forced.
func (b *bench) fillVictoria(ctx context.Context, d *dataset) error {
	v, err := child.StartVictoria(ctx, longest, b.victoria, b.victoriaDir(), victoriaFlags...)
	if err != nil {
		return err
	}
	defer v.Close()
	var body bytes.Buffer
	post := func() error {
		_, err := v.Post(ctx, "/api/v1/import", &body)
		body.Reset()
		return err
	}
	for _, p := range d.spans() {
		if err := d.groups(func(group []series) error {
			for i := range group {
				if appendVictoria(&body, group[i].within(p)); body.Len() > 32<<20 {
					if err := post(); err != nil {
						return err
					}
				}
			}
			return post()
		}); err != nil {
			return err
		}
		if err := v.Flush(ctx); err != nil {
			return err
		}
	}
	if err := v.Merged(ctx); err != nil {
		return err
	}
	return v.Terminate()
}

// victoriaName is a metric's name there: dots are not usual.
func victoriaName(name string) string { return strings.ReplaceAll(name, ".", "_") }

// appendVictoria appends a line of its native JSON. Each second's value stands at the
// second's end, since windows there hold their end and not their begin: (t-10s, t] is
// Cairn's [t-10s, t).
func appendVictoria(w *bytes.Buffer, s series) {
	if len(s.sums) == 0 {
		return
	}
	fmt.Fprintf(w, `{"metric":{"__name__":%q`, victoriaName(s.name))
	for _, t := range s.tags {
		fmt.Fprintf(w, `,%q:%q`, t.Key, t.Value)
	}
	w.WriteString(`},"values":[`)
	var num []byte
	for i := range s.sums {
		if num = num[:0]; i > 0 {
			num = append(num, ',')
		}
		w.Write(strconv.AppendFloat(num, s.sums[i].Value, 'f', -1, 64))
	}
	w.WriteString(`],"timestamps":[`)
	for i := range s.sums {
		if num = num[:0]; i > 0 {
			num = append(num, ',')
		}
		w.Write(append(strconv.AppendInt(num, int64(s.sums[i].Sec)+1, 10), "000"...))
	}
	w.WriteString("]}\n")
}
