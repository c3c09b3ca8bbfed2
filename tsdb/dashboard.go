package tsdb

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/metric"
)

// Bounds on what is kept of dashboards.
const (
	// MaxDashboards is more than a list can be read through.
	MaxDashboards = 1_000
	// MaxDashboard is bytes of one version's text.
	MaxDashboard = 256 << 10
	// KeepVersions of a dashboard are kept, the latest, if KeepBytes of text hold as many; the
	// newest always is. So dashboards take 2 GiB at most, and usually some kilobytes each.
	KeepVersions = 50
	KeepBytes    = 2 << 20
)

// DashboardHead is what is known of a version of a dashboard beside its text.
type DashboardHead struct {
	ID      uint64 // random, not 0
	Version uint32 // each save counts it up by one, from 1
	Saved   metric.UnixSec
	Title   string
}

// Dashboard is a version of one. What its text means is the caller's affair.
type Dashboard struct {
	DashboardHead
	Text []byte
}

var (
	// ErrNoDashboard is returned where none has the number.
	ErrNoDashboard = errors.New("there is no such dashboard; GET /api/dashboards lists those that there are")
	// ErrNoVersion is returned where a dashboard has no such version, or not any more.
	ErrNoVersion = fmt.Errorf("the dashboard has no such version; of each the last %d are kept, or fewer if they take more than %d KiB", KeepVersions, KeepBytes>>10)
	// ErrManyDashboards is returned where one more would be too many.
	ErrManyDashboards = fmt.Errorf("there are %d dashboards, and no more are kept; delete one first", MaxDashboards)
	// ErrLargeDashboard is returned for a text that is too long.
	ErrLargeDashboard = fmt.Errorf("a dashboard takes %d KiB at most", MaxDashboard>>10)
	// ErrChanged is returned where somebody else has saved or deleted meanwhile.
	ErrChanged = errors.New("somebody else has saved this dashboard meanwhile")
)

// formatDashboard is the first byte of both values:
//
//	of a dashboard:  byte 01, uvarint version, uvarint saved, uvarint length of title, title
//	of a version:    byte 01, uvarint saved, uvarint length of title, title, the text
const formatDashboard = 0x01

func dashboardKey(id uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixDashboard}, id)
}

func versionKey(id uint64, version uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64([]byte{prefixVersion}, id), version)
}

func appendHead(dst []byte, h *DashboardHead) []byte {
	dst = binary.AppendUvarint(append(dst, formatDashboard), uint64(h.Version))
	return appendText(binary.AppendUvarint(dst, uint64(h.Saved)), h.Title)
}

func decodeHead(key, value []byte) (h DashboardHead, err error) {
	if len(key) != 9 || len(value) == 0 || value[0] != formatDashboard {
		return h, fmt.Errorf("key %x is no dashboard's: %.2x; this version reads 0x%02x", key, value, formatDashboard)
	}
	r := numbers{b: value, at: 1}
	version := r.uvarint()
	h = DashboardHead{ID: binary.BigEndian.Uint64(key[1:]), Version: uint32(version), Saved: r.second(), Title: r.text()}
	if version == 0 || version > math.MaxUint32 {
		r.bad = true
	}
	return h, r.end("dashboard")
}

func (r *numbers) second() metric.UnixSec {
	v := r.uvarint()
	if v > uint64(metric.MaxSec) {
		r.bad = true
	}
	return metric.UnixSec(v)
}

func appendVersion(dst []byte, d *Dashboard) []byte {
	dst = binary.AppendUvarint(append(dst, formatDashboard), uint64(d.Saved))
	return append(appendText(dst, d.Title), d.Text...)
}

func decodeVersion(key, value []byte) (d Dashboard, err error) {
	if len(key) != 13 || len(value) == 0 || value[0] != formatDashboard {
		return d, fmt.Errorf("key %x is no version of a dashboard: %.2x; this version reads 0x%02x", key, value, formatDashboard)
	}
	d.ID, d.Version = binary.BigEndian.Uint64(key[1:]), binary.BigEndian.Uint32(key[9:])
	r := numbers{b: value, at: 1}
	d.Saved, d.Title = r.second(), r.text()
	if r.bad {
		return d, fmt.Errorf("key %x: version of a dashboard of %d bytes: it stops making sense at offset %d", key, len(value), r.at)
	}
	d.Text = bytes.Clone(value[r.at:])
	return d, nil
}

// Dashboards returns the newest version of each without its text, by title and then by number.
func (s *Store) Dashboards() []DashboardHead {
	d := &s.documents
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := make([]DashboardHead, 0, len(d.heads))
	for _, h := range d.heads {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b DashboardHead) int { return cmp.Or(cmp.Compare(a.Title, b.Title), cmp.Compare(a.ID, b.ID)) })
	return out
}

func (d *documents) head(id uint64) (DashboardHead, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	h, ok := d.heads[id]
	if !ok {
		return h, ErrNoDashboard
	}
	return h, nil
}

// Dashboard returns a version of a dashboard; 0: the newest.
func (s *Store) Dashboard(id uint64, version uint32) (d Dashboard, err error) {
	done, err := s.documents.use()
	if err != nil {
		return d, err
	}
	defer done()
	// Who saves may remove a version between head and read, but not the newest of a save
	// before; it is looked up again then.
	for {
		h, err := s.documents.head(id)
		if err != nil {
			return d, err
		}
		no := version
		if no == 0 {
			no = h.Version
		}
		key := versionKey(id, no)
		d, err = get(s.db, key, func(b []byte) (Dashboard, error) { return decodeVersion(key, b) })
		if err != nil || d.Version != 0 {
			return d, err
		}
		if now, err := s.documents.head(id); err != nil || version != 0 || now == h {
			return d, cmp.Or(err, ErrNoVersion)
		}
	}
}

// DashboardVersions returns the versions that are kept of a dashboard without their texts, the
// newest first.
func (s *Store) DashboardVersions(id uint64) (list []DashboardHead, err error) {
	done, err := s.documents.use()
	if err != nil {
		return nil, err
	}
	defer done()
	if _, err := s.documents.head(id); err != nil {
		return nil, err
	}
	err = s.walkDocuments(versionKey(id, 0), versionKey(id, math.MaxUint32), func(key, value []byte) error {
		d, err := decodeVersion(key, value)
		list = append(list, d.DashboardHead)
		return err
	})
	slices.Reverse(list)
	return list, err
}

// AddDashboard keeps a new dashboard, whose number and version it chooses.
func (s *Store) AddDashboard(title string, text []byte, now metric.UnixSec) (h DashboardHead, err error) {
	d := &s.documents
	done, err := d.write()
	if err != nil {
		return h, err
	}
	defer done()
	d.mu.RLock()
	n := len(d.heads)
	for taken := true; taken; _, taken = d.heads[h.ID] {
		var b [8]byte
		_, _ = rand.Read(b[:]) // it cannot fail
		h.ID = max(1, binary.BigEndian.Uint64(b[:]))
	}
	d.mu.RUnlock()
	if n >= MaxDashboards {
		return h, ErrManyDashboards
	}
	return s.putDashboard(Dashboard{DashboardHead{h.ID, 1, now, title}, text})
}

// SaveDashboard keeps a new version of a dashboard, if version had is the newest.
func (s *Store) SaveDashboard(id uint64, had uint32, title string, text []byte, now metric.UnixSec) (h DashboardHead, err error) {
	done, err := s.documents.write()
	if err != nil {
		return h, err
	}
	defer done()
	if h, err = s.documents.head(id); err != nil {
		return h, err
	}
	if h.Version != had {
		return h, changed(h.Version, had)
	}
	if had == math.MaxUint32-1 {
		return h, errors.New("this dashboard was saved too often; make another of it")
	}
	return s.putDashboard(Dashboard{DashboardHead{id, had + 1, now, title}, text})
}

func changed(is, had uint32) error {
	return fmt.Errorf("%w: it has version %d, and this change is one of version %d; look at the newer one and save again", ErrChanged, is, had)
}

// putDashboard makes d the newest version, and lets go of those that are too old.
func (s *Store) putDashboard(d Dashboard) (DashboardHead, error) {
	if len(d.Text) > MaxDashboard {
		return d.DashboardHead, ErrLargeDashboard
	}
	kept, err := s.oldestKept(&d)
	if err == nil {
		err = s.commitDocument(func(b *pebble.Batch) error {
			return errors.Join(
				b.Set(versionKey(d.ID, d.Version), appendVersion(nil, &d), nil), b.Set(dashboardKey(d.ID), appendHead(nil, &d.DashboardHead), nil),
				b.DeleteRange(versionKey(d.ID, 0), versionKey(d.ID, kept), nil),
			)
		})
	}
	if err == nil {
		s.documents.mu.Lock()
		s.documents.heads[d.ID] = d.DashboardHead
		s.documents.mu.Unlock()
	}
	return d.DashboardHead, err
}

// oldestKept returns the first version that is kept beside d.
func (s *Store) oldestKept(d *Dashboard) (uint32, error) {
	first := max(d.Version, KeepVersions) - KeepVersions + 1
	type old struct {
		no    uint32
		bytes int
	}
	var list []old
	err := s.walkDocuments(versionKey(d.ID, first), versionKey(d.ID, d.Version), func(key, value []byte) error {
		list = append(list, old{binary.BigEndian.Uint32(key[9:]), len(value)})
		return nil
	})
	room, kept := KeepBytes-len(d.Text), d.Version
	for _, v := range slices.Backward(list) {
		if room -= v.bytes; room < 0 {
			break
		}
		kept = v.no
	}
	return kept, err
}

// DeleteDashboard deletes a dashboard with all versions, if version had is the newest; 0:
// whatever the newest is.
func (s *Store) DeleteDashboard(id uint64, had uint32) error {
	done, err := s.documents.write()
	if err != nil {
		return err
	}
	defer done()
	h, err := s.documents.head(id)
	if err != nil {
		return err
	}
	if had != 0 && h.Version != had {
		return changed(h.Version, had)
	}
	err = s.commitDocument(func(b *pebble.Batch) error {
		return errors.Join(b.Delete(dashboardKey(id), nil), b.DeleteRange(versionKey(id, 0), versionKey(id, math.MaxUint32), nil))
	})
	if err == nil {
		s.documents.mu.Lock()
		delete(s.documents.heads, id)
		s.documents.mu.Unlock()
	}
	return err
}
