package tsdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/metric"
)

// documents is what people write, and what of it is in memory: heads of dashboards, and what
// metrics mean. Each write is synced on its own and takes no part in flushes.
type documents struct {
	life   sync.RWMutex // held by who uses the store for a document; Close holds it alone
	closed bool         // guarded by life

	saving sync.Mutex // held by the one who writes

	mu        sync.RWMutex // guards those below; nobody waits for the disk with it
	heads     map[uint64]DashboardHead
	described map[metric.ID]Description
}

// ErrClosed is returned for a document once the store closes.
var ErrClosed = errors.New("the server stops; ask again once it runs")

// use is held while the store is used for a document.
func (d *documents) use() (done func(), err error) {
	d.life.RLock()
	if d.closed {
		d.life.RUnlock()
		return nil, ErrClosed
	}
	return d.life.RUnlock, nil
}

// write is use for the one who writes.
func (d *documents) write() (done func(), err error) {
	used, err := d.use()
	if err != nil {
		return nil, err
	}
	d.saving.Lock()
	return func() {
		d.saving.Unlock()
		used()
	}, nil
}

func (d *documents) close() {
	d.life.Lock()
	defer d.life.Unlock()
	d.closed = true
}

// readDocuments reads what is kept in memory. What does not decode is left out and logged: counting
// goes on without a dashboard, too.
func (s *Store) readDocuments(log *slog.Logger) error {
	d := &s.documents
	d.heads, d.described = make(map[uint64]DashboardHead), make(map[metric.ID]Description)
	err := s.walkDocuments([]byte{prefixDashboard}, []byte{prefixDashboard + 1}, func(key, value []byte) error {
		h, err := decodeHead(key, value)
		if err != nil {
			log.Warn("a dashboard cannot be read and is left out", "error", err)
			return nil
		}
		d.heads[h.ID] = h
		return nil
	})
	if err != nil {
		return err
	}
	return s.walkDocuments([]byte{prefixDescribed}, []byte{prefixDescribed + 1}, func(key, value []byte) error {
		id, what, err := decodeDescription(key, value)
		if err != nil {
			log.Warn("what a metric means cannot be read and is left out", "error", err)
			return nil
		}
		d.described[id] = what
		return nil
	})
}

// walkDocuments calls visit with the keys in [from, to); what it gets is only valid during the call.
func (s *Store) walkDocuments(from, to []byte, visit func(key, value []byte) error) (err error) {
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return fmt.Errorf("read documents: %w", err)
	}
	defer func() {
		if e := errors.Join(iter.Error(), iter.Close()); err == nil && e != nil {
			err = fmt.Errorf("read documents: %w", e)
		}
	}()
	for ok := iter.First(); ok; ok = iter.Next() {
		v, err := iter.ValueAndErr()
		if err != nil {
			return fmt.Errorf("read documents: %w", err)
		}
		if err := visit(iter.Key(), v); err != nil {
			return err
		}
	}
	return nil
}

// commitDocument makes what fill writes durable, all of it or nothing.
func (s *Store) commitDocument(fill func(b *pebble.Batch) error) error {
	b := s.db.NewBatch()
	err := fill(b)
	if err == nil {
		err = b.Commit(pebble.Sync)
	}
	if err = errors.Join(err, b.Close()); err != nil {
		return fmt.Errorf("write a document: %w", err)
	}
	return nil
}

// text reads a length and as many bytes.
func (r *numbers) text() string {
	n := r.uvarint()
	if r.bad || n > uint64(len(r.b)-r.at) {
		r.bad = true
		return ""
	}
	r.at += int(n)
	return string(r.b[r.at-int(n) : r.at])
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
