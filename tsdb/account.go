package tsdb

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// An account says how many events of a metric lie in a partition of the coarsest tier
// that is kept of it, so that whoever deletes the partition knows what expires:
//
//	key      15  tier(1)  partition(4)  metric(4)
//	uvarint  events
//	8 bytes  units, float64, little endian; counters only, else 0
//
// It is written by Merge, one operand a flush; operands add.
type account struct {
	events uint64
	units  float64
}

const accountKeyLen = 10

func appendAccountKey(dst []byte, t metric.Tier, partition, metricNo uint32) []byte {
	dst = append(dst, prefixAccount, byte(t))
	dst = binary.BigEndian.AppendUint32(dst, partition)
	return binary.BigEndian.AppendUint32(dst, metricNo)
}

func appendAccount(dst []byte, a account) []byte {
	return appendFloat(binary.AppendUvarint(dst, a.events), a.units)
}

func decodeAccount(b []byte) (a account, err error) {
	r := numbers{b: b}
	a.events, a.units = r.uvarint(), r.float()
	return a, r.end("account")
}

func (a *account) add(o account) {
	a.events += o.events
	a.units += o.units
}

// accountMerger adds accounts.
type accountMerger struct {
	account
	key [accountKeyLen]byte
}

func mergeAccount(key, value []byte) (pebble.ValueMerger, error) {
	if len(key) != accountKeyLen {
		return nil, fmt.Errorf("merge of key %x, which is no account's", key)
	}
	m := &accountMerger{}
	copy(m.key[:], key)
	return m, m.MergeNewer(value)
}

// MergeNewer implements pebble.ValueMerger.
func (m *accountMerger) MergeNewer(value []byte) error {
	a, err := decodeAccount(value)
	if err != nil {
		return fmt.Errorf("account %x: %w", m.key, err)
	}
	m.add(a)
	return nil
}

// MergeOlder implements pebble.ValueMerger.
func (m *accountMerger) MergeOlder(value []byte) error { return m.MergeNewer(value) }

// Finish implements pebble.ValueMerger.
func (m *accountMerger) Finish(bool) ([]byte, io.Closer, error) {
	return appendAccount(nil, m.account), nil, nil
}

// accountOf names an account.
type accountOf struct {
	metric uint32
	place
}

// holding is what of each tier is held of the metrics of one retention, when the
// retention's clock shows a certain time.
type holding struct {
	since    [len(metric.Tiers)]metric.UnixSec // first second, by tier - 1; never: the tier is not kept
	coarsest metric.Tier
}

// never is later than every second.
const never = metric.UnixSec(math.MaxInt64)

func holdingOf(r metric.Retention, now metric.UnixSec) (h holding) {
	for i, t := range metric.Tiers {
		since, ok := r.Since(t, now)
		if !ok {
			since = never
		}
		h.since[i] = since
	}
	h.coarsest = r.Coarsest()
	return h
}

func holdingsOf(list []metric.Retention, now metric.UnixSec) []holding {
	out := make([]holding, len(list))
	for i, r := range list {
		out[i] = holdingOf(r, now)
	}
	return out
}

// held returns the sums that a tier holds.
func (h *holding) held(t metric.Tier, sums []metric.Sum) []metric.Sum {
	since := h.since[t-1]
	if sums[0].Sec >= since {
		return sums
	}
	i, _ := slices.BinarySearchFunc(sums, since, func(s metric.Sum, sec metric.UnixSec) int { return cmp.Compare(s.Sec, sec) })
	return sums[i:]
}

// heldBuckets returns the buckets that a tier holds.
func (h *holding) heldBuckets(t metric.Tier, dated []bucket.Dated) []bucket.Dated {
	since := h.since[t-1]
	if dated[0].Sec >= since {
		return dated
	}
	i, _ := slices.BinarySearchFunc(dated, since, func(d bucket.Dated, sec metric.UnixSec) int { return cmp.Compare(d.Sec, sec) })
	return dated[i:]
}

// accounter adds what a batch adds to the accounts. Rows of one metric often come
// together, and their seconds mostly lie in one partition.
type accounter struct {
	at     map[accountOf]int
	names  []accountOf
	values []account
	last   int // in names
}

// of returns the account of a metric and a place. It is good until the next call.
func (c *accounter) of(metricNo uint32, p place) *account {
	name := accountOf{metricNo, p}
	if c.last < len(c.names) && c.names[c.last] == name {
		return &c.values[c.last]
	}
	i, ok := c.at[name]
	if !ok {
		i = len(c.names)
		c.at[name] = i
		c.names, c.values = append(c.names, name), append(c.values, account{})
	}
	c.last = i
	return &c.values[i]
}

// turn ends a run of seconds of one account, and begins that of a second.
func (b *Batch) turn(at *accountRun, sec metric.UnixSec) {
	b.settle(at)
	h := b.holding
	if since := h.since[h.coarsest-1]; sec < since {
		at.place, at.end = place{}, since
		return
	}
	p, _ := h.coarsest.Place(sec)
	at.place, at.end = place{h.coarsest, p}, h.coarsest.Start(p)+metric.UnixSec(h.coarsest.Span())
}

// accountRun is what a row adds to one account.
type accountRun struct {
	account
	place place          // the zero place: nothing holds it
	end   metric.UnixSec // the place's
}

// settle ends a run.
func (b *Batch) settle(at *accountRun) {
	if at.account == (account{}) {
		return
	}
	b.events += at.events
	b.units += at.units
	if at.place == (place{}) {
		b.expired.add(at.account)
	} else {
		b.accounts.of(b.ref.metric, at.place).add(at.account)
	}
	at.account = account{}
}

// writeAccounts writes the accounts, in the order of their keys.
func (b *Batch) writeAccounts(w writer) error {
	c := &b.accounts
	order := make([]int, len(c.names))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int {
		p, q := c.names[x], c.names[y]
		return cmp.Or(cmp.Compare(p.tier, q.tier), cmp.Compare(p.partition, q.partition), cmp.Compare(p.metric, q.metric))
	})
	var key, value []byte
	for _, i := range order {
		n := c.names[i]
		key = appendAccountKey(key[:0], n.tier, n.partition, n.metric)
		value = appendAccount(value[:0], c.values[i])
		if err := w.Merge(key, value); err != nil {
			return err
		}
	}
	return nil
}
