package agg

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"cairn/internal/metric"
)

// Handle names a series inside this process. Handles count up from 0 and are
// never reused.
type Handle uint32

// Limits bounds what a Registry holds.
type Limits struct {
	Series          int // series in all
	SeriesPerMetric int // series of one metric
	Metrics         int // metrics; each may have one series beyond Series, its overflow
	// Entries bounds what the open seconds of one stripe take, in units of 16 bytes.
	// Beyond it events that need new memory there are shed. 0: 1 GiB.
	Entries int
}

// Registry gives every series a Handle. It is shared by the stripes and touched
// only on the first sight of a key. It is safe for concurrent use.
type Registry struct {
	limits Limits

	mu       sync.RWMutex // guards all below
	byID     map[metric.ID]uint32
	metrics  []registered
	index    *metric.TagIndex // of handles
	text     []byte           // the chunk that tagsets are copied to
	tags     []metric.Tagset  // by handle
	metricOf []uint32         // by handle: place in metrics
	kinds    map[string]uint8 // by name: a bit a kind

	// full says that memory is short: no new series, whatever the limits allow.
	full atomic.Bool

	levelMu sync.Mutex         // guards levels
	levels  map[Handle]float64 // of gauges that are adjusted
}

type registered struct {
	id       metric.ID
	handles  []Handle
	overflow bool // a tagset was folded
}

// NewRegistry returns an empty registry.
func NewRegistry(l Limits) *Registry {
	if l.Entries == 0 {
		l.Entries = maxPartials
	}
	return &Registry{limits: l, byID: make(map[metric.ID]uint32), index: metric.NewTagIndex(), kinds: make(map[string]uint8), levels: make(map[Handle]float64)}
}

// Intern returns the handle of s, which it makes up on first sight. Beyond the
// limits on series it returns that of the metric's overflow series; ok is false
// where even that would be one metric too many.
func (r *Registry) Intern(s metric.Series) (h Handle, ok bool) { return r.intern(s, false) }

// Recall is Intern for a series that was accepted before: no limit on metrics
// turns it away.
func (r *Registry) Recall(s metric.Series) Handle {
	h, _ := r.intern(s, true)
	return h
}

func (r *Registry) intern(s metric.Series, recalled bool) (h Handle, ok bool) {
	r.mu.RLock()
	m, known := r.byID[s.ID]
	if known {
		h, ok = r.find(m, s.Tags)
	}
	r.mu.RUnlock()
	if ok {
		return h, true
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	if m, known = r.byID[s.ID]; !known {
		if len(r.metrics) >= r.limits.Metrics && !recalled {
			return 0, false
		}
		m = uint32(len(r.metrics))
		r.byID[s.ID] = m
		r.metrics = append(r.metrics, registered{id: s.ID})
		r.kinds[s.Name] |= 1 << s.Kind
	}
	e := &r.metrics[m]
	if h, ok = r.find(m, s.Tags); ok {
		return h, true
	}
	if len(r.tags) >= r.limits.Series || len(e.handles) >= r.limits.SeriesPerMetric || r.full.Load() {
		e.overflow = true
		if h, ok = r.find(m, metric.OverflowTags); ok {
			return h, true
		}
		s.Tags = metric.OverflowTags
	}
	h = Handle(len(r.tags))
	r.tags = append(r.tags, r.keep(s.Tags))
	r.metricOf = append(r.metricOf, m)
	r.index.Put(uint32(h), r.keys)
	e.handles = append(e.handles, h)
	return h, true
}

func (r *Registry) find(m uint32, tags metric.Tagset) (Handle, bool) {
	h, ok := r.index.Find(m, tags, r.keys)
	return Handle(h), ok
}

func (r *Registry) keys(h uint32) (uint32, metric.Tagset) { return r.metricOf[h], r.tags[h] }

// textChunk is how much room for tagsets is made at a time.
const textChunk = 256 << 10

// keep copies a tagset to where they lie one behind the other: as strings of
// their own they would take a tenth more, and the collector would visit each.
func (r *Registry) keep(ts metric.Tagset) metric.Tagset {
	if ts == "" {
		return ""
	}
	if cap(r.text)-len(r.text) < len(ts) {
		r.text = make([]byte, 0, max(textChunk, len(ts)))
	}
	at := len(r.text)
	r.text = append(r.text, ts...)
	return metric.Tagset(unsafe.String(&r.text[at], len(ts))) // nothing is written there again
}

// Len returns how many handles there are; all below it are in use.
func (r *Registry) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.tags)
}

// Series returns the series behind a handle.
func (r *Registry) Series(h Handle) metric.Series {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return metric.Series{ID: r.metrics[r.metricOf[h]].id, Tags: r.tags[h]}
}

// Metric returns the place in Metrics of the metric that a handle's series is of.
func (r *Registry) Metric(h Handle) uint32 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.metricOf[h]
}

// Handles returns the handles of a metric, in the order of first sight. The
// caller must not change them.
func (r *Registry) Handles(id metric.ID) []Handle {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m, ok := r.byID[id]
	if !ok {
		return nil
	}
	hs := r.metrics[m].handles
	return hs[:len(hs):len(hs)]
}

// Tags returns the tagsets of handles, in their order.
func (r *Registry) Tags(handles []Handle) []metric.Tagset {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]metric.Tagset, len(handles))
	for i, h := range handles {
		out[i] = r.tags[h]
	}
	return out
}

// Metrics returns every metric seen since the start; a metric's place in the
// slice is the number that metricOf gives.
func (r *Registry) Metrics() []metric.ID {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]metric.ID, len(r.metrics))
	for i := range r.metrics {
		out[i] = r.metrics[i].id
	}
	return out
}

// Overflowed returns the metrics of which a tagset was folded into the overflow
// series.
func (r *Registry) Overflowed() []metric.ID {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []metric.ID
	for i := range r.metrics {
		if r.metrics[i].overflow {
			out = append(out, r.metrics[i].id)
		}
	}
	return out
}

// Conflict is a name under which events of more than one kind came: each kind is
// a metric of its own.
type Conflict struct {
	Name  string
	Kinds []metric.Kind
}

// Conflicts returns the names seen under several kinds since the start, sorted.
func (r *Registry) Conflicts() []Conflict {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []Conflict
	for name, bits := range r.kinds {
		if bits&(bits-1) == 0 {
			continue
		}
		c := Conflict{Name: name}
		for _, k := range metric.Kinds {
			if bits&(1<<k) != 0 {
				c.Kinds = append(c.Kinds, k)
			}
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Conflict) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// SetFull says whether memory is short. While it is, new tagsets fold into the
// overflow series as they do beyond the limits; what is known goes on counting.
func (r *Registry) SetFull(full bool) { r.full.Store(full) }

// Full reports what SetFull said.
func (r *Registry) Full() bool { return r.full.Load() }

// level assigns or adjusts the level of a gauge and returns it. It is shared by
// the stripes, because senders on different sockets adjust one gauge. It begins
// at 0 with the process, as in etsy's StatsD.
func (r *Registry) level(h Handle, v float64, op Op) float64 {
	r.levelMu.Lock()
	defer r.levelMu.Unlock()
	if op == Adjust {
		v += r.levels[h]
		v = min(max(v, -metric.MaxValue), metric.MaxValue)
	}
	r.levels[h] = v
	return v
}

// metricNumbers returns the number of each series' metric, by handle. What is
// added later is not in it.
func (r *Registry) metricNumbers() []uint32 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.metricOf[:len(r.metricOf):len(r.metricOf)]
}
