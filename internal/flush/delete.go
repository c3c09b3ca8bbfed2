package flush

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cairn/internal/matcher"
	"cairn/internal/metric"
	"cairn/internal/mutant"
	"cairn/tsdb"
)

// ErrHeld is returned by Delete while flushes must wait.
var ErrHeld = errors.New("nothing can be deleted while the journal is replayed")

// KindsError is returned by Delete where a name does not tell which metric is meant.
type KindsError struct {
	Name  string
	Kinds []metric.Kind
}

// Error implements error.
func (e *KindsError) Error() string {
	var names []string
	for _, k := range e.Kinds {
		names = append(names, k.String())
	}
	return fmt.Sprintf("the name %q stands for %d metrics: %s; the parameter kind must say which", e.Name, len(e.Kinds), strings.Join(names, ", "))
}

// Deletion is what a Delete did, or would do.
type Deletion struct {
	ID metric.ID
	tsdb.Deleted
}

// Delete deletes the series of a metric whose tags match, with all that came of them until
// now, in one commit; what comes later makes new ones. id.Kind is 0 where the name is of one kind
// only. With dry it only tells what would go. Series is 0 if nothing matches.
//
// First it flushes everything, as a close does: so all of it is in the store, and no replay
// has anything of it to add. Flushes wait until it is done.
func (p *Pump) Delete(ctx context.Context, id metric.ID, match matcher.List, dry bool) (d Deletion, err error) {
	p.flushing.Lock()
	defer p.flushing.Unlock()
	if p.holding() {
		return d, ErrHeld
	}
	if mutant.On("delete-without-flush") {
		// what is open comes back with the next flush
	} else if err := p.flush(max(p.watermark(), p.store.Cursor().Watermark), true); err != nil {
		return d, err
	}
	if id.Kind == 0 {
		kinds := kindsOf(id.Name, p.store.Known)
		if len(kinds) > 1 {
			return d, &KindsError{id.Name, kinds}
		}
		if len(kinds) == 0 {
			return d, nil
		}
		id.Kind = kinds[0]
	}
	d.ID = id
	series, err := p.store.SelectContext(ctx, id, match)
	if err != nil || len(series) == 0 {
		return d, err
	}
	b := p.store.NewBatch()
	d.Deleted, err = b.Delete(ctx, id, series, metric.SecOf(p.o.Clock.Now()))
	if err == nil && !dry {
		err = b.Commit()
	}
	if err != nil || dry {
		b.Discard()
		return d, err
	}
	refs := make([]tsdb.Ref, len(series))
	for i := range series {
		refs[i] = series[i].Ref
	}
	if !mutant.On("deleted-refs-kept") {
		p.forget(refs)
	}
	p.republish(func() {
		b.Publish()
		p.places.drop(refs)
		p.changed(change{first: map[metric.ID]metric.UnixSec{id: 0}, all: metric.Never})
	})
	return d, nil
}
