package ingest

import (
	"net/netip"

	"cairn/internal/dedupe"
	"cairn/internal/metric"
)

// BatchCounts is what came as batches. At every instant Received is the sum of
// Accepted, Noted, Rejected, Duplicate and Shed. What a batch held that was refused
// before it was read is not known; such are counted in batches and bytes.
type BatchCounts struct {
	Counts               // Packets: batches that were taken; Bytes: of them, as they were sent
	Units        float64 // what the counters among the accepted counted
	Duplicate    uint64  // events, of batches that counted already
	Shed         [NumSheds]uint64
	Duplicates   uint64 // batches that counted already
	Refused      uint64 // batches in which something was wrong
	ShedBatches  [NumSheds]uint64
	RefusedBytes uint64 // of batches that were refused or shed, as far as they are known
}

// ProducerCounts is what came from one producer.
type ProducerCounts struct {
	Received, Accepted, Noted, Rejected, Duplicate, Shed uint64 // events; the first is the sum of the others
	Batches, Duplicates, Refused, ShedBatches            uint64
	Units                                                float64 // what the counters among the accepted counted
}

// maxTallied bounds the producers that are counted on their own, as many as sequences
// are remembered of; those beyond share one row.
const maxTallied = 10_000

// batchTally is what Batches counts.
type batchTally struct {
	all       BatchCounts
	samples   Samples
	producers map[dedupe.Producer]*ProducerCounts
	anonymous ProducerCounts // batches without a producer
	others    ProducerCounts // of producers beyond maxTallied
}

// of returns the row of a batch's producer.
func (t *batchTally) of(h *batchHead) *ProducerCounts {
	if !h.named {
		return &t.anonymous
	}
	c := t.producers[h.producer]
	if c == nil {
		if len(t.producers) >= maxTallied {
			return &t.others
		}
		if t.producers == nil {
			t.producers = make(map[dedupe.Producer]*ProducerCounts)
		}
		c = new(ProducerCounts)
		t.producers[h.producer] = c
	}
	return c
}

func (b *Batches) countTaken(h *batchHead, w *work, v *dedupe.Verdict) {
	o := &w.parsed
	accepted, rejected, noted := uint64(v.Accepted), uint64(len(o.rejects)), uint64(o.notes)
	b.tallyMu.Lock()
	defer b.tallyMu.Unlock()
	t := &b.tally
	t.all.Packets++
	t.all.Bytes += uint64(len(w.wire))
	t.all.Received += accepted + rejected + noted
	t.all.Accepted += accepted
	t.all.Units += w.admission.Units()
	t.all.Noted += noted
	t.all.TimeIgnored += o.ignored
	p := t.of(h)
	p.Batches++
	p.Received += accepted + rejected + noted
	p.Accepted += accepted
	p.Units += w.admission.Units()
	p.Rejected += rejected
	p.Noted += noted
	if rejected == 0 {
		return
	}
	for _, r := range o.rejects {
		t.all.Rejected[r.Reason]++
	}
	b.table.begin(ownSender)
	defer b.table.end()
	var from netip.Addr
	if h.from.IsValid() {
		from = h.from
	}
	shown := o.rejects[:min(len(o.rejects), maxSamples)]
	for _, r := range o.rejects[len(shown):] { // first: the last samples stay
		b.table.add(nil, nil, from, r.Reason, v.At)
	}
	w.texts(h.format, shown, func(i int, text []byte) {
		t.samples[shown[i].Reason] = string(text[:min(len(text), maxSample)])
		name := sentName(text)
		if h.format != formatLines {
			name = jsonName(text)
		}
		b.table.add(text, name, from, shown[i].Reason, v.At)
	})
}

func (b *Batches) countDuplicate(h *batchHead, v *dedupe.Verdict, bytes int) {
	n := uint64(v.Accepted) + uint64(max(v.RejectedTotal, uint32(len(v.Rejected))))
	b.tallyMu.Lock()
	defer b.tallyMu.Unlock()
	b.tally.all.Duplicates++
	b.tally.all.Bytes += uint64(bytes)
	b.tally.all.Received += n
	b.tally.all.Duplicate += n
	p := b.tally.of(h)
	p.Duplicates++
	p.Received += n
	p.Duplicate += n
}

// countRefusal counts a batch that was not taken. o is what was read out of it; nil:
// nothing.
func (b *Batches) countRefusal(h *batchHead, r *Refusal, o *parsed, bytes int) {
	b.tallyMu.Lock()
	defer b.tallyMu.Unlock()
	t := &b.tally
	p := t.of(h)
	t.all.RefusedBytes += uint64(bytes)
	if r.Shed == ShedNone {
		t.all.Refused++
		p.Refused++
		return
	}
	t.all.ShedBatches[r.Shed]++
	p.ShedBatches++
	if o != nil {
		n := o.size()
		t.all.Received += n
		t.all.Shed[r.Shed] += n
		p.Received += n
		p.Shed += n
	}
}

// size returns how many events and wrong lines were read.
func (b *parsed) size() (n uint64) {
	for i := range b.events {
		if b.events[i].Reason == metric.OK {
			n++
		}
	}
	return n + uint64(len(b.rejects)) + uint64(b.notes)
}

// Counts returns what came so far, with samples of what was rejected.
func (b *Batches) Counts() (BatchCounts, Samples) {
	b.tallyMu.Lock()
	c, samples := b.tally.all, b.tally.samples
	b.tallyMu.Unlock()
	for _, s := range b.o.Stripes {
		s.Lock()
		c.TimeIgnored += s.IgnoredTimes() // those that stand among the fields
		s.Unlock()
	}
	return c, samples
}

// Producers calls visit for each producer; what has none, and what found no room, is
// under the producer that names nobody.
func (b *Batches) Producers(visit func(dedupe.Producer, ProducerCounts)) {
	b.tallyMu.Lock()
	rest := b.tally.anonymous
	rest.add(&b.tally.others)
	rows := make(map[dedupe.Producer]ProducerCounts, len(b.tally.producers)+1)
	for p, c := range b.tally.producers {
		rows[p] = *c
	}
	b.tallyMu.Unlock()
	rows[dedupe.Producer{}] = rest
	for p, c := range rows {
		visit(p, c)
	}
}

func (c *ProducerCounts) add(o *ProducerCounts) {
	c.Received += o.Received
	c.Accepted += o.Accepted
	c.Noted += o.Noted
	c.Rejected += o.Rejected
	c.Duplicate += o.Duplicate
	c.Shed += o.Shed
	c.Batches += o.Batches
	c.Duplicates += o.Duplicates
	c.Refused += o.Refused
	c.ShedBatches += o.ShedBatches
}

// Duplicate returns how many events came in batches that counted already.
func (b *Batches) Duplicate() uint64 {
	b.tallyMu.Lock()
	defer b.tallyMu.Unlock()
	return b.tally.all.Duplicate
}
