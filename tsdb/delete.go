package tsdb

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/chunk"
	"cairn/internal/metric"
	"cairn/internal/mutant"
)

// maxDeletedChunks bounds what a batch deletes of a part of a metric, chunk by chunk: it is
// one commit of 20 MiB, and a second or two in which no flush may begin. All of a metric
// is a range a partition, however much that is.
const maxDeletedChunks = 1 << 20

// ErrTooManyChunks is returned by Batch.Delete, of which nothing is deleted then.
var ErrTooManyChunks = fmt.Errorf("what is to be deleted has more than %d chunks, which is more than goes at once; filter for fewer series, or delete all of the metric", maxDeletedChunks)

// Deleted is what a batch deletes.
type Deleted struct {
	Series int
	Whole  bool // they are all that the metric has, so that it goes too
	// Events is what the accounts of the metric hold, if it goes: else it is not known, because
	// a chunk does not tell how many events are in it. They stay in the accounts until they
	// expire, or the metric goes.
	Events uint64
	// Units is, of a counter, what the accounts hold if it goes; else what the chunks of the
	// coarsest tier do.
	Units      float64
	Partitions [len(metric.Tiers)]int // that hold something of it, by tier - 1
}

// deletion is what a batch deletes beside entries of the index.
type deletion struct {
	Deleted
	record    deletedBelow
	forgotten []deletedBelow // records that make room for it
	metric    uint32
	places    []place     // of which all of the metric goes
	chunks    []byte      // keys, one behind the other
	accounts  []accountOf // that change:
	less      []float64   // by so many units; nil: they go
}

// Delete deletes all chunks of series with the batch, and takes them out of the accounts
// and of the index; with all series of a metric goes the metric. series is not empty, and
// what Store.Select returns now. The batch has nothing else. at is when, and below the
// cursor's cut the journal may tell of what is gone.
func (b *Batch) Delete(ctx context.Context, id metric.ID, series []Selected, at metric.UnixSec) (Deleted, error) {
	no := series[0].Ref.metric
	d := &deletion{metric: no, record: deletedBelow{id, b.cursor.Cut, at}}
	d.Series, d.Whole = len(series), len(series) == b.s.index.metric(no).series.len()
	sn := b.s.Snapshot()
	var err error
	if d.Whole {
		err = d.whole(ctx, sn)
	} else {
		err = d.part(ctx, sn, series, b.holdingOf(no).coarsest)
	}
	if err == nil {
		d.forgotten, err = sn.crowdedOut(ctx, id)
	}
	if err = errors.Join(err, sn.Close()); err != nil {
		return Deleted{}, fmt.Errorf("look for what is to be deleted: %w", err)
	}
	b.deletion = d
	for i := range series {
		b.removeSeries([]Ref{series[i].Ref})
	}
	if d.Whole {
		b.gone = append(b.gone, no)
	}
	return d.Deleted, nil
}

// whole finds the partitions that hold something of the metric, and its accounts.
func (d *deletion) whole(ctx context.Context, sn *Snapshot) error {
	for _, t := range metric.Tiers {
		err := sn.eachPartition(ctx, nil, t, d.metric, func(p uint32, _ *pebble.Iterator) error {
			d.places = append(d.places, place{t, p})
			d.Partitions[t-1]++
			return nil
		})
		if err != nil {
			return err
		}
		err = sn.eachPartition(ctx, []byte{prefixAccount}, t, d.metric, func(p uint32, iter *pebble.Iterator) error {
			v, err := iter.ValueAndErr()
			var a account
			if err == nil {
				a, err = decodeAccount(v)
			}
			if err != nil {
				return fmt.Errorf("account %x: %w", iter.Key(), err)
			}
			d.accounts = append(d.accounts, accountOf{d.metric, place{t, p}})
			d.Events += a.events
			d.Units += a.units
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// eachPartition calls visit for each partition of a tier in which there is a key of the
// metric behind prefix, with the iterator at the first.
func (sn *Snapshot) eachPartition(ctx context.Context, prefix []byte, t metric.Tier, metricNo uint32, visit func(p uint32, iter *pebble.Iterator) error) error {
	begin := func(b ...byte) []byte { return append(prefix[:len(prefix):len(prefix)], b...) }
	iter, err := sn.snap.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: begin(byte(t)), UpperBound: begin(byte(t) + 1)})
	if err != nil {
		return err
	}
	at := len(prefix) + 1
	for ok := iter.First(); ok; {
		p, no := binary.BigEndian.Uint32(iter.Key()[at:]), binary.BigEndian.Uint32(iter.Key()[at+4:])
		if no < metricNo {
			ok = iter.SeekGE(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(begin(byte(t)), p), metricNo))
			continue
		}
		if no == metricNo {
			if err := visit(p, iter); err != nil {
				return errors.Join(err, iter.Close())
			}
		}
		ok = iter.SeekGE(appendPartitionEnd(begin(), byte(t), p))
	}
	return errors.Join(iter.Error(), iter.Close())
}

// part finds the chunks of series, and adds up what those of a counter hold in the coarsest
// tier. The account of each of its partitions gets less, so that accounts and totals still
// add up, also where the account is another one, of a policy of before.
func (d *deletion) part(ctx context.Context, sn *Snapshot, series []Selected, coarsest metric.Tier) error {
	for _, t := range metric.Tiers {
		var units []float64 // by partition that has something
		add := sums{t: t, to: metric.MaxSec + 1, dec: chunk.NewDecoder(), yield: func(_ int, _ metric.UnixSec, _ []uint32, sums []float64) error {
			for _, v := range sums {
				units[len(units)-1] += v
			}
			return nil
		}}
		last := uint32(0)
		err := sn.scan(ctx, series, t, 0, metric.MaxSec+1, func(i int, p uint32, v []byte) error {
			if len(d.chunks) == maxDeletedChunks*chunkKeyLen {
				return ErrTooManyChunks
			}
			d.chunks = appendChunkKey(d.chunks, t, p, d.metric, series[i].Ref.series)
			if len(units) == 0 || p != last {
				last, units = p, append(units, 0)
				if t == coarsest {
					d.accounts = append(d.accounts, accountOf{d.metric, place{t, p}})
				}
			}
			if t != coarsest || d.record.id.Kind != metric.Counter {
				return nil
			}
			return add.chunk(i, p, v)
		})
		if err != nil {
			return err
		}
		d.Partitions[t-1] = len(units)
		if t == coarsest {
			d.less = units
		}
		for _, v := range units {
			d.Units += v
		}
	}
	return nil
}

// write writes the deletion.
func (d *deletion) write(w pebbleBatch) error {
	var key, end []byte
	for _, p := range d.places {
		key = appendChunkKey(key[:0], p.tier, p.partition, d.metric, 0)
		end = appendChunkKey(end[:0], p.tier, p.partition, d.metric+1, 0)
		if err := w.DeleteRange(key, end); err != nil {
			return err
		}
	}
	for rest := d.chunks; len(rest) > 0; rest = rest[chunkKeyLen:] {
		if mutant.On("deleted-hours-kept") && rest[0] == byte(metric.Tier1h) {
			continue
		}
		if err := w.Delete(rest[:chunkKeyLen]); err != nil {
			return err
		}
	}
	if mutant.On("deleted-accounts-kept") {
		d.accounts = nil
	}
	for i, n := range d.accounts {
		key = appendAccountKey(key[:0], n.tier, n.partition, n.metric)
		var err error
		if d.less == nil {
			err = w.Delete(key)
		} else if d.less[i] != 0 {
			err = w.Merge(key, appendAccount(nil, account{units: -d.less[i]}))
		}
		if err != nil {
			return err
		}
	}
	return d.writeRecord(w)
}
