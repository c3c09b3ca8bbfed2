package query

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"sync"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// cache keeps what the store held of recent Reads, the least recently used given up first.
// What was open is never in it. A nil cache keeps nothing.
type cache struct {
	room int64

	mu      sync.Mutex // guards those below
	bytes   int64
	entries map[string]*entry
	newest  entry // a ring through all entries: next is the most recently used one
}

type entry struct {
	key        string
	st         *stored
	version    uint64 // of the store
	bytes      int64
	prev, next *entry
}

func newCache(room int64) *cache {
	c := &cache{room: room, entries: make(map[string]*entry)}
	c.newest.prev, c.newest.next = &c.newest, &c.newest
	return c
}

// keyOf tells Reads apart whose columns are not parts of the same ones. ok is false for
// those that are not kept.
func keyOf(r *Read) (key string, ok bool) {
	if r.Grid.bounds != nil {
		return "", false // they are few and long
	}
	var b strings.Builder
	// A panel of an hour and one of a day are kept side by side, or each would push the other out;
	// one that moves on may have a step more or less.
	length := bits.Len(uint(r.Grid.Len()))
	fmt.Fprintf(&b, "%d %d %d %d %d %t", r.Tier, length, r.Grid.Step, int64(r.Grid.From)%r.Grid.Step, r.Group.Mode, r.Group.Name)
	for _, id := range r.IDs {
		fmt.Fprintf(&b, " %d%q", id.Kind, id.Name)
	}
	for _, k := range r.Group.Keys {
		b.WriteString(" k" + strconv.Quote(k))
	}
	for _, m := range r.Filters {
		b.WriteString(" f" + m.String())
	}
	return b.String(), true
}

// find looks for what is known of p's store, and which steps of it are still the same.
func (c *cache) find(p *Prepared) {
	if c == nil || p.rd.v.SameBefore == nil {
		return
	}
	key, ok := keyOf(&p.r)
	if !ok {
		return
	}
	c.mu.Lock()
	e := c.entries[key]
	var version uint64
	if e != nil {
		e.unlink()
		c.link(e)
		version = e.version
	}
	c.mu.Unlock()
	if e == nil {
		return
	}
	g, had := &p.r.Grid, &e.st.grid
	// What has an event after the range's end may have one in it, too: it is not known. And
	// what a later version has may still be open in this view.
	if had.To > g.To || version > p.rd.v.Version {
		return
	}
	same := metric.Never
	for _, id := range p.r.IDs {
		same = min(same, p.rd.v.SameBefore(id, version))
	}
	if same == metric.Never { // it is as good as if it were of this version
		c.mu.Lock()
		e.version = max(e.version, p.rd.v.Version)
		c.mu.Unlock()
	}
	same = min(same, had.To)
	from := max(g.From, had.From, p.r.Since)
	first := g.Until(from) // the first step that begins at from or later
	last := 0
	if same > g.From {
		last = int(int64(min(same, g.To)-g.From) / g.Step) // whole steps before it
	}
	if first < last {
		p.cached, p.keep = e.st, [2]int{first, last}
	}
}

// put keeps what was read of p's store.
func (c *cache) put(p *Prepared, st *stored) {
	if c == nil || p.rd.v.SameBefore == nil {
		return
	}
	key, ok := keyOf(&p.r)
	e := &entry{key: key, st: st, version: p.rd.v.Version, bytes: st.size() + int64(len(key)) + 200}
	if !ok || e.bytes > c.room/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.entries[key]; old != nil {
		if old.version > e.version {
			return
		}
		c.drop(old)
	}
	c.entries[key] = e
	c.link(e)
	for c.bytes += e.bytes; c.bytes > c.room; {
		c.drop(c.newest.prev)
	}
}

func (c *cache) drop(e *entry) {
	e.unlink()
	delete(c.entries, e.key)
	c.bytes -= e.bytes
}

func (c *cache) link(e *entry) {
	e.prev, e.next = &c.newest, c.newest.next
	e.prev.next, e.next.prev = e, e
}

func (e *entry) unlink() {
	if e.prev != nil {
		e.prev.next, e.next.prev = e.next, e.prev
		e.prev, e.next = nil, nil
	}
}

// size is roughly how many bytes of memory it takes.
func (st *stored) size() int64 {
	n := 0
	for i := range st.columns {
		n += len(st.names[i]) + 80 + 8*len(st.columns[i].sums) + 16*len(st.columns[i].buckets)
		for _, b := range st.columns[i].buckets {
			if b != nil {
				n += b.Size()
			}
		}
	}
	for i := range st.series {
		n += 40 + len(st.series[i].tags)
	}
	return int64(n)
}

// read returns what the store holds: what is known of it, and the steps that are not.
func (p *Prepared) read() (*stored, error) {
	g := &p.r.Grid
	if p.cached == nil {
		st, err := p.scanStore(p.r.Since, g.To)
		if err == nil {
			p.rd.cache.put(p, st)
		}
		return st, err
	}
	first, last := p.keep[0], p.keep[1]
	if first == 0 && last == g.Len() && p.cached.grid.equal(g) {
		return p.cached, nil
	}
	out := &stored{grid: *g}
	seen := make(map[seriesKey]int) // the last step with an event
	for _, r := range [][2]metric.UnixSec{{p.r.Since, g.Start(first)}, {g.Start(last), g.To}} {
		if r[0] >= r[1] {
			continue
		}
		st, err := p.scanStore(r[0], r[1])
		if err != nil {
			return nil, err
		}
		out.names, out.columns = st.names, grown(out.columns, len(st.columns))
		for i := range st.columns {
			out.columns[i].join(&st.columns[i])
		}
		for _, s := range st.series {
			seen[s.seriesKey] = s.last // those of the tail come later
		}
	}
	ahead := int(int64(g.From-p.cached.grid.From) / g.Step) // by how much the steps' numbers differ
	for i := range p.cached.columns {
		c := p.cached.columns[i].steps(first, last, ahead, g.Len())
		if c.empty() {
			continue
		}
		no := p.groups.named(p.cached.names[i])
		out.columns = grown(out.columns, no+1)
		out.columns[no].join(&c)
	}
	out.names = p.groups.names[:len(out.columns):len(out.columns)]
	for _, s := range p.cached.series {
		if step := s.last - ahead; step >= first && step < last {
			seen[s.seriesKey] = max(seen[s.seriesKey], step)
		}
	}
	for key, step := range seen {
		out.series = append(out.series, seenSeries{key, step})
	}
	p.rd.cache.put(p, out)
	return out, nil
}

// steps returns a column of n steps with the steps [first, last) of it, which have numbers
// higher by ahead in c.
func (c *column) steps(first, last, ahead, n int) (out column) {
	if c.sums != nil {
		for i := first; i < last; i++ {
			if v := c.sums[i+ahead]; v == v {
				if out.sums == nil {
					out.sums = nan(n)
				}
				out.sums[i] = v
			}
		}
	}
	if c.buckets != nil {
		for i := first; i < last; i++ {
			if b := c.buckets[i+ahead]; b != nil {
				if out.buckets == nil {
					out.buckets = make([]bucket.Bucket, n)
				}
				out.buckets[i] = b
			}
		}
	}
	return out
}
