package metric

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Retention says which tiers are kept, and how long each bucket of theirs at least.
// A tier goes by whole partitions, so that a bucket is there for up to a partition
// longer. The zero Retention keeps nothing.
type Retention [len(Tiers)]int64 // seconds, by tier - 1; 0: the tier is not kept

// DefaultRetention is what the documents promise: a day to look closely, a week to
// compare, a month to plan, a year and a month to see the season.
var DefaultRetention = Retention{24 * 3600, 7 * 24 * 3600, 30 * 24 * 3600, 400 * 24 * 3600}

// MaxRetention is more than a hundred years: everything.
const MaxRetention = 40_000 * 24 * 3600

// Of returns how long a tier is kept, in seconds; 0: it is not.
func (r Retention) Of(t Tier) int64 { return r[t-1] }

// Keeps reports whether a tier is kept.
func (r Retention) Keeps(t Tier) bool { return r[t-1] > 0 }

// Coarsest returns the coarsest tier that is kept, which is kept the longest.
func (r Retention) Coarsest() Tier {
	for i := len(r) - 1; i > 0; i-- {
		if r[i] > 0 {
			return Tiers[i]
		}
	}
	return Tier1s
}

// Longest returns how long the coarsest tier is kept, in seconds.
func (r Retention) Longest() int64 { return r.Of(r.Coarsest()) }

// First returns the first partition of a tier that is held when the retention's clock
// shows now: the one whose end is less than the tier's time ago. Of a tier that is not
// kept none is, and ok is false.
func (r Retention) First(t Tier, now UnixSec) (partition uint32, ok bool) {
	keep := UnixSec(r.Of(t))
	if keep == 0 {
		return 0, false
	}
	if now <= keep {
		return 0, true
	}
	partition, _ = t.Place(now - keep)
	return partition, true
}

// Since returns the first second of which a tier holds what there is, when the
// retention's clock shows now: the start of the first partition that is held.
func (r Retention) Since(t Tier, now UnixSec) (sec UnixSec, ok bool) {
	p, ok := r.First(t, now)
	return t.Start(p), ok
}

// Check returns what is wrong with r.
func (r Retention) Check() error {
	last := Tier(0)
	for _, t := range Tiers {
		switch keep := r.Of(t); {
		case keep == 0:
			continue
		case keep < t.Width() || keep < 0:
			return fmt.Errorf("%s is kept for %s, which is shorter than one bucket", t, Span(keep))
		case keep > MaxRetention:
			return fmt.Errorf("%s is kept for %s; at most %s are allowed", t, Span(keep), Span(MaxRetention))
		case last != 0 && keep < r.Of(last):
			return fmt.Errorf("%s is kept for %s, shorter than %s for %s; a coarser tier must not be shorter", t, Span(keep), last, Span(r.Of(last)))
		}
		last = t
	}
	if last == 0 {
		return errors.New("no tier is kept")
	}
	return nil
}

// String returns the form that ParseRetention reads.
func (r Retention) String() string {
	var parts []string
	for _, t := range Tiers {
		if r.Keeps(t) {
			parts = append(parts, t.String()+":"+Span(r.Of(t)))
		}
	}
	return strings.Join(parts, ",")
}

const retentionForm = "write tiers with how long each is kept, such as 1s:24h,10s:7d,1m:30d,1h:400d; the tiers are 1s, 10s, 1m and 1h, the units s, m, h, d and w"

// ParseRetention reads `1s:24h,10s:7d,1m:30d,1h:400d`, or some of it.
func ParseRetention(text string) (r Retention, err error) {
	for part := range strings.SplitSeq(text, ",") {
		name, span, ok := strings.Cut(strings.TrimSpace(part), ":")
		t, known := tierNamed(name)
		if !ok || !known {
			return r, fmt.Errorf("%q is no tier with its time; %s", part, retentionForm)
		}
		if r.Keeps(t) {
			return r, fmt.Errorf("the tier %s is given twice", t)
		}
		keep, ok := parseSpan(span)
		if !ok || keep == 0 {
			return r, fmt.Errorf("%q is no time for the tier %s; %s", span, t, retentionForm)
		}
		r[t-1] = keep
	}
	return r, r.Check()
}

func tierNamed(name string) (Tier, bool) {
	for _, t := range Tiers {
		if t.String() == name {
			return t, true
		}
	}
	return 0, false
}

// spanUnits are from the longest to the shortest.
var spanUnits = [...]struct {
	name    byte
	seconds int64
}{{'w', 7 * 24 * 3600}, {'d', 24 * 3600}, {'h', 3600}, {'m', 60}, {'s', 1}}

// Span returns seconds as the settings have them: in the longest unit that divides them,
// but no longer than days.
func Span(seconds int64) string {
	for _, u := range spanUnits[1:] {
		if seconds%u.seconds == 0 && seconds != 0 {
			return fmt.Sprintf("%d%c", seconds/u.seconds, u.name)
		}
	}
	return "0s"
}

// parseSpan reads whole numbers with units, such as 36h or 1d12h.
func parseSpan(s string) (seconds int64, ok bool) {
	n, digits := int64(0), 0
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' && digits < 10 {
			n, digits = n*10+int64(c-'0'), digits+1
			continue
		}
		unit := int64(0)
		for _, u := range spanUnits {
			if u.name == c {
				unit = u.seconds
			}
		}
		if unit == 0 || digits == 0 {
			return 0, false
		}
		if seconds += n * unit; seconds > 1<<40 {
			return 0, false
		}
		n, digits = 0, 0
	}
	return seconds, digits == 0 && s != ""
}

// Policy is the retention of every metric.
type Policy struct {
	Default   Retention
	Overrides []Override
}

// Override is the retention of the metrics whose names begin with a prefix. The longest
// prefix that fits decides.
type Override struct {
	Prefix string
	Retention
}

// Of returns the retention of a metric by its name.
func (p *Policy) Of(name string) Retention {
	r, longest := p.Default, -1
	for i := range p.Overrides {
		if o := &p.Overrides[i]; len(o.Prefix) > longest && strings.HasPrefix(name, o.Prefix) {
			r, longest = o.Retention, len(o.Prefix)
		}
	}
	return r
}

// Longest returns how long the longest of all is kept, in seconds: what is older, no
// tier can hold.
func (p *Policy) Longest() int64 {
	longest := p.Default.Longest()
	for i := range p.Overrides {
		longest = max(longest, p.Overrides[i].Longest())
	}
	return longest
}

// String returns the form that ParsePolicy reads: the default, and a line for each
// override, its prefix quoted.
func (p *Policy) String() string {
	var b strings.Builder
	b.WriteString(p.Default.String())
	for i := range p.Overrides {
		fmt.Fprintf(&b, "\n%q %s", p.Overrides[i].Prefix, p.Overrides[i].Retention)
	}
	return b.String()
}

// ParsePolicy reads what String returns.
func ParsePolicy(text string) (p Policy, err error) {
	lines := strings.Split(text, "\n")
	if p.Default, err = ParseRetention(lines[0]); err != nil {
		return p, err
	}
	for _, line := range lines[1:] {
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return p, fmt.Errorf("%q does not begin with a quoted prefix", line)
		}
		r, err := ParseRetention(line[len(quoted):])
		if err != nil {
			return p, err
		}
		prefix, _ := strconv.Unquote(quoted) // it is one: QuotedPrefix says so
		p.Overrides = append(p.Overrides, Override{prefix, r})
	}
	return p, nil
}
