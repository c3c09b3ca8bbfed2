package ingest

import (
	"bytes"
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"cairn/internal/metric"
)

// Limits on what is remembered of rejected lines: enough to find the sender and
// the mistake by, and little memory however hostile the lines are.
const (
	maxRejectKeys    = 256 // senders, and names, each
	maxRejectName    = 64  // bytes of a name
	samplesPerReason = 5
)

// Names of senders that have no address.
const (
	unixSender = "unix"  // a socket on this host
	ownSender  = "cairn" // this process
	// unknownSender is one of the first lines to be rejected from a socket so busy
	// that the kernel was not asked for senders.
	unknownSender = "unknown"
	// otherKey takes the senders and names beyond maxRejectKeys.
	otherKey = "other"
)

// Report is what was rejected since the start, for people to find its cause.
type Report struct {
	Total   uint64         `json:"total"`
	Reasons []RejectReason `json:"reasons"` // most first, none without a rejection
	Senders []RejectCount  `json:"senders"` // most first; at most 256 and "other"
	Metrics []RejectCount  `json:"metrics"` // the same, by name as it was sent, escaped and cut to 64 bytes
}

// RejectReason is what was rejected for one reason.
type RejectReason struct {
	Reason  string         `json:"reason"`
	Count   uint64         `json:"count"`
	Samples []RejectSample `json:"samples"` // newest first, at most 5
}

// RejectSample is one rejected line.
type RejectSample struct {
	Time   int64  `json:"time"` // Unix milliseconds
	Sender string `json:"sender"`
	Line   string `json:"line"` // escaped as in Go's strings, cut to 160 bytes
}

// RejectCount is how many lines of one sender or name were rejected.
type RejectCount struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
}

// rejectTable is what one Feeder rejected. Its size is bounded.
type rejectTable struct {
	mu      sync.Mutex // guards all below; taken only when something is rejected, and to report
	reasons [metric.NumReasons]reasonSamples
	senders map[netip.Addr]uint64
	names   map[string]uint64
	// What found no room in the maps.
	otherSenders, otherNames uint64
	origin                   string
}

type reasonSamples struct {
	count   uint64
	samples []sample // a ring; the next one goes to at
	at      int
}

type sample struct {
	time   metric.UnixMilli
	sender netip.Addr
	n      int // bytes of line
	line   [maxSample]byte
}

// begin takes the table, until end; origin is what to call a sender without an
// address.
func (t *rejectTable) begin(origin string) {
	t.mu.Lock()
	if t.senders == nil {
		t.senders, t.names = make(map[netip.Addr]uint64), make(map[string]uint64)
	}
	t.origin = origin
}

func (t *rejectTable) end() { t.mu.Unlock() }

// addAll takes f.rejected, whose lines are in buf.
func (t *rejectTable) addAll(f *Feeder, buf []byte, now metric.UnixMilli) {
	t.begin(f.origin)
	defer t.end()
	for _, r := range f.rejected {
		var sender netip.Addr
		if f.sender != nil {
			sender = f.sender(int(r.packet))
		}
		l := buf[r.at:r.end]
		t.add(l, sentName(l), sender, r.reason, now)
	}
}

// add takes what was sent under a name. The caller has called begin.
func (t *rejectTable) add(text, name []byte, sender netip.Addr, reason metric.Reason, now metric.UnixMilli) {
	if n, ok := t.senders[sender]; ok || len(t.senders) < maxRejectKeys {
		t.senders[sender] = n + 1
	} else {
		t.otherSenders++
	}
	// The compiler makes no string of a key that is only looked up.
	if n, ok := t.names[string(name)]; ok || len(t.names) < maxRejectKeys {
		t.names[string(name)] = n + 1
	} else {
		t.otherNames++
	}
	t.reasons[reason].add(text, sender, now)
}

// sentName returns what stands where a name should, cut to what is kept of it.
func sentName(l []byte) []byte {
	if i := bytes.IndexAny(l, ":|"); i >= 0 {
		l = l[:i]
	}
	return l[:min(len(l), maxRejectName)]
}

func (r *reasonSamples) add(l []byte, sender netip.Addr, now metric.UnixMilli) {
	r.count++
	if len(r.samples) < samplesPerReason {
		r.samples = append(r.samples, sample{})
	}
	s := &r.samples[r.at]
	s.time, s.sender, s.n = now, sender, copy(s.line[:], l)
	r.at = (r.at + 1) % samplesPerReason
}

// Rejects adds up what feeders and batches rejected; batches nil: there are none.
func Rejects(batches *Batches, feeders ...*Feeder) Report {
	var reasons [metric.NumReasons]RejectReason
	senders, names := make(map[string]uint64), make(map[string]uint64)
	for _, f := range feeders {
		f.table.addTo(&reasons, senders, names)
	}
	if batches != nil {
		batches.table.addTo(&reasons, senders, names)
	}
	report := Report{Reasons: []RejectReason{}, Senders: topRejects(senders), Metrics: topRejects(names)}
	for reason, r := range reasons {
		if r.Count == 0 {
			continue
		}
		r.Reason = metric.Reason(reason).String()
		slices.SortStableFunc(r.Samples, func(a, b RejectSample) int { return cmp.Compare(b.Time, a.Time) })
		r.Samples = r.Samples[:min(len(r.Samples), samplesPerReason)]
		report.Reasons = append(report.Reasons, r)
		report.Total += r.Count
	}
	slices.SortStableFunc(report.Reasons, func(a, b RejectReason) int { return cmp.Compare(b.Count, a.Count) })
	return report
}

func (t *rejectTable) addTo(reasons *[metric.NumReasons]RejectReason, senders, names map[string]uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.reasons {
		r := &t.reasons[i]
		reasons[i].Count += r.count
		for k := range len(r.samples) { // newest first
			s := &r.samples[(r.at-1-k+2*samplesPerReason)%samplesPerReason]
			reasons[i].Samples = append(reasons[i].Samples, RejectSample{int64(s.time), t.senderName(s.sender), escape(string(s.line[:s.n]))})
		}
	}
	for a, n := range t.senders {
		senders[t.senderName(a)] += n
	}
	for name, n := range t.names {
		names[escape(name)] += n
	}
	// A name that is sent as "other" shares its row; nothing is lost by that.
	if t.otherSenders > 0 {
		senders[otherKey] += t.otherSenders
	}
	if t.otherNames > 0 {
		names[otherKey] += t.otherNames
	}
}

func (t *rejectTable) senderName(a netip.Addr) string {
	if a.IsValid() {
		return a.String()
	}
	return t.origin
}

// escape writes control characters, invalid UTF-8 and what does not print as
// escapes, so that no line can act on a terminal or hide in a page.
func escape(s string) string {
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// topRejects returns the counts, most first, those beyond maxRejectKeys as one.
func topRejects(counts map[string]uint64) []RejectCount {
	other := counts[otherKey]
	delete(counts, otherKey)
	out := make([]RejectCount, 0, len(counts)+1)
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, RejectCount{name, counts[name]})
	}
	slices.SortStableFunc(out, func(a, b RejectCount) int { return cmp.Compare(b.Count, a.Count) })
	if len(out) > maxRejectKeys {
		for _, r := range out[maxRejectKeys:] {
			other += r.Count
		}
		out = out[:maxRejectKeys]
	}
	if other > 0 {
		out = append(out, RejectCount{otherKey, other})
	}
	return out
}
