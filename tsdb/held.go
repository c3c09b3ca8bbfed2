package tsdb

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/metric"
)

// pastPolicy is one that was in force before: what it did not keep, a later one does not
// bring back. The store has a list of them, the oldest first:
//
//	uvarint  ended: what the retention's clock showed at last
//	uvarint  behind
//	uvarint  length of the policy
//	bytes    the policy, as metric.Policy.String writes it; none: it is forgotten
type pastPolicy struct {
	policy metric.Policy  // the zero one: nobody knows what it kept
	ended  metric.UnixSec // the retention's clock at last
	behind metric.UnixSec // every second that was stored under it is before this one
}

// maxPast bounds the list: of what was stored before the last so many changes, only what
// came under the oldest of them is not known to be held.
const maxPast = 8

func appendPast(dst []byte, list []pastPolicy) []byte {
	for i := range list {
		p := &list[i]
		text := ""
		if p.policy.Default != (metric.Retention{}) {
			text = p.policy.String()
		}
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(p.ended)), uint64(p.behind))
		dst = append(binary.AppendUvarint(dst, uint64(len(text))), text...)
	}
	return dst
}

func decodePast(b []byte) (list []pastPolicy, err error) {
	for n := (numbers{b: b}); n.more(); {
		p := pastPolicy{ended: metric.UnixSec(n.uvarint()), behind: metric.UnixSec(n.uvarint())}
		size := n.uvarint()
		if n.bad || p.ended < 0 || p.behind < 0 || size > uint64(len(b)-n.at) {
			return nil, fmt.Errorf("%x is no list of policies: it stops making sense at offset %d", b, n.at)
		}
		text := string(b[n.at : n.at+int(size)])
		if n.at += int(size); text != "" {
			if p.policy, err = metric.ParsePolicy(text); err != nil {
				return nil, err
			}
		}
		list = append(list, p)
	}
	return list, nil
}

// addPast adds a policy that ends now.
func addPast(list []pastPolicy, p pastPolicy) []pastPolicy {
	list = append(list, p)
	for len(list) > maxPast {
		list = slices.Delete(list, 0, 1)
		list[0].policy = metric.Policy{}
	}
	return list
}

// behindAll returns the first second behind all that was stored.
func (s *Store) behindAll() (behind metric.UnixSec) {
	for _, m := range s.index.order {
		if m != nil {
			behind = max(behind, m.lastSeen+1)
		}
	}
	return behind
}

// heldBy returns what is held of the metrics of a name.
func heldBy(policy *metric.Policy, past []pastPolicy, now metric.UnixSec, name string) metric.Held {
	h := policy.Of(name).HeldAt(now)
	for i := range past {
		p := &past[i]
		before := p.policy.Of(name).HeldAt(p.ended)
		for j, t := range metric.Tiers {
			if h.Since[j] == metric.Never {
				continue
			}
			since := before.Since[j]
			if since == metric.Never {
				since = p.behind
			}
			h.Since[j] = max(h.Since[j], since.Ceil(t.Width()))
		}
		if before.Retention == (metric.Retention{}) || before.Coarsest() != h.Coarsest() {
			h.Accounted = max(h.Accounted, p.behind)
		}
	}
	h.Accounted = max(h.Accounted, h.From(h.Coarsest()))
	return h
}

// HeldOf returns what the store holds of the metrics of a name.
func (s *Store) HeldOf(name string) metric.Held {
	policy, now := s.Retention()
	return heldBy(policy, s.past, now, name)
}

// HeldOf returns what the snapshot holds of the metrics of a name.
func (sn *Snapshot) HeldOf(name string) metric.Held {
	return heldBy(sn.policy, sn.past, sn.ttl, name)
}

// Account is what was stored of a metric in a partition of the tier that was the coarsest
// one that was kept of it.
type Account struct {
	Tier      metric.Tier
	Partition uint32
	Metric    uint32 // its number
	Events    uint64
	Units     float64 // of a counter
}

// WalkAccounts calls visit for each account, by tier, partition and metric.
func (sn *Snapshot) WalkAccounts(ctx context.Context, visit func(Account) error) error {
	return sn.walk(ctx, []byte{prefixAccount}, []byte{prefixAccount + 1}, func(iter *pebble.Iterator) error {
		key := iter.Key()
		v, err := iter.ValueAndErr()
		var a account
		if err == nil && (len(key) != accountKeyLen || !slices.Contains(metric.Tiers[:], metric.Tier(key[1]))) {
			err = errors.New("the key is no account's")
		}
		if err == nil {
			a, err = decodeAccount(v)
		}
		if err != nil {
			return fmt.Errorf("account %x: %w", key, err)
		}
		return visit(Account{metric.Tier(key[1]), binary.BigEndian.Uint32(key[2:]), binary.BigEndian.Uint32(key[6:]), a.events, a.units})
	})
}
