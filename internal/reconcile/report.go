package reconcile

import (
	"cairn/internal/metric"
)

// maxListed bounds the differences of each check that are listed: who has as many needs
// to know how many there are, and where they begin.
const maxListed = 100

// Report is what a reconciliation found. Its JSON is the answer of GET /api/verify.
type Report struct {
	Equal            bool         `json:"equal"`
	Checked          Checked      `json:"checked"` // with the journal
	Differences      []Difference `json:"differences"`
	DifferencesTotal uint64       `json:"differences_total"`
	Tiers            Tiers        `json:"tiers"`
	Held             Held         `json:"held"`
	Pending          uint64       `json:"pending"` // events that are in the journal, and not in the store yet
	Damaged          []string     `json:"damaged"` // a sentence for each place of the journal that cannot be read
	Notes            []string     `json:"notes"`   // what was not compared, and why
	TookMS           int64        `json:"took_ms"`
}

// Checked is what was compared with the journal: buckets in [From, To).
type Checked struct {
	Metrics int    `json:"metrics"`
	Buckets uint64 `json:"buckets"` // in all tiers
	Expired uint64 `json:"expired"` // buckets of the journal that were not compared, as their tier does not hold them
	Deleted uint64 `json:"deleted"` // and those of which something was deleted
	Events  uint64 `json:"events"`
	From    int64  `json:"from"` // Unix seconds
	To      int64  `json:"to"`
}

// Tiers is what came out of comparing the tiers with one another.
type Tiers struct {
	Equal            bool         `json:"equal"`
	Metrics          int          `json:"metrics"`
	Hours            uint64       `json:"hours"`   // of all metrics
	Skipped          uint64       `json:"skipped"` // hours that not two tiers hold
	Differences      []Difference `json:"differences"`
	DifferencesTotal uint64       `json:"differences_total"`
}

// Held is what came out of comparing what was ever stored with what is there and what
// is gone: Stored = Accounts + Expired + Deleted + Before. All are events.
type Held struct {
	Equal    bool   `json:"equal"`
	Stored   uint64 `json:"stored"`
	Accounts uint64 `json:"accounts"` // that a tier holds
	Expired  uint64 `json:"expired"`
	Deleted  uint64 `json:"deleted"`
	Before   uint64 `json:"before"` // by versions that kept no accounts
	// Of so many counters, and their partitions, the accounts were compared with what
	// the coarsest tier holds.
	Metrics          int          `json:"metrics"`
	Partitions       uint64       `json:"partitions"`
	Differences      []Difference `json:"differences"`
	DifferencesTotal uint64       `json:"differences_total"`
}

// Difference is a figure that is not what it should be.
type Difference struct {
	Metric   string  `json:"metric"`
	Kind     string  `json:"kind"`
	Tier     string  `json:"tier"`
	Bucket   int64   `json:"bucket"`   // its first second; of tiers: the hour's; of what is held: the partition's
	Figure   string  `json:"figure"`   // sum, count, min, max, last or members
	Expected float64 `json:"expected"` // by the journal; of tiers: in the finest that holds it; of what is held: by the accounts
	Stored   float64 `json:"stored"`
}

// list takes differences.
type list struct {
	listed []Difference
	total  uint64
}

func (l *list) add(d Difference) {
	if l.total++; len(l.listed) < maxListed {
		l.listed = append(l.listed, d)
	}
}

func (l *list) addAll(id metric.ID, t metric.Tier, bucket metric.UnixSec, found []unequal) {
	for _, u := range found {
		l.add(Difference{id.Name, id.Kind.String(), t.String(), int64(bucket), u.figure, u.expected, u.stored})
	}
}
