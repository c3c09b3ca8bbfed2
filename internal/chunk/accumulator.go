package chunk

import (
	"fmt"
	"math/bits"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// Accumulator adds operands, in any order and any grouping: sums of counters as
// numbers, buckets of other kinds as bytes, which are only read where two meet in a
// slot. An operand that does not decode, or is of another kind than the first, is isolated beside
// the others. It takes some 400 KiB, twice the
// bytes of the buckets it holds and 1 MiB, and is to be used again.
//
// What is alone is not decoded: it comes out as it went in.
type Accumulator struct {
	limit  uint32
	base   func(slot uint32) metric.UnixSec
	alone  []byte // the only operand so far
	state  int
	kind   metric.Kind // 0 before the first good operand
	used   [(MaxSlots + 63) / 64]uint64
	sums   [MaxSlots]float64
	spans  [MaxSlots]span // of buckets, in bytes
	bytes  []byte
	spare  []byte
	live   int                              // bytes of buckets that spans name
	pair   [metric.Set + 1][2]bucket.Bucket // scratch, by kind
	damage Damage
	why    error // of the latest damage
	out    []byte
	col    []byte
	slots  []uint32
	values []float64
	dec    *Decoder
	enc    encoder
}

type span struct{ at, end uint32 }

const (
	nothing = iota
	one     // operand, not decoded
	several
)

// NewAccumulator returns one that Start is to be called of.
func NewAccumulator() *Accumulator { return &Accumulator{dec: NewDecoder()} }

// Start forgets what was added. Slots are below limit; base tells the first second of one.
func (a *Accumulator) Start(limit uint32, base func(slot uint32) metric.UnixSec) {
	a.limit, a.base = limit, base
	a.state, a.kind = nothing, 0
	a.bytes, a.live = a.bytes[:0], 0
	a.damage, a.why = Damage{}, nil
	clear(a.used[:])
}

// Add adds an operand, or what operands were merged into. It keeps nothing of b.
func (a *Accumulator) Add(b []byte) {
	switch a.state {
	case nothing:
		a.state = one
		a.alone = append(a.alone[:0], b...)
		return
	case one:
		a.state = several
		a.decode(a.alone)
	}
	a.decode(b)
}

// Damaged returns why the latest operand was isolated in this use; nil: none was.
func (a *Accumulator) Damaged() error { return a.why }

func (a *Accumulator) decode(b []byte) {
	if len(b) > 0 && b[0] == isolated {
		d, err := readDamage(b)
		if err != nil {
			a.isolate(b, err)
			return
		}
		if a.damage.Operands += d.Operands; a.damage.Operands < d.Operands {
			a.damage.Operands = 1<<64 - 1
		}
		a.damage.keepAll(d.Kept)
		if b = d.Good; len(b) == 0 {
			return
		}
	}
	if err := a.add(b); err != nil {
		a.isolate(b, err)
	}
}

func (a *Accumulator) isolate(b []byte, err error) {
	a.why = err
	if a.damage.Operands+1 != 0 {
		a.damage.Operands++
	}
	a.damage.keep(b)
}

// add adds all of an operand or, with an error, nothing.
func (a *Accumulator) add(b []byte) error {
	k, ok := KindOf(b)
	switch {
	case !ok:
		return fmt.Errorf("chunk value %.4x at offset 0 has an unknown format", b)
	case a.kind != 0 && k != a.kind:
		return formatError(b, a.kind)
	case k == metric.Counter:
		slots, sums, err := a.dec.Sums(b, a.limit)
		if err != nil {
			return err
		}
		a.kind = k
		for i, slot := range slots {
			a.addSum(slot, sums[i])
		}
		return nil
	}
	// Nothing of a bad operand may be added, so that all of it is read before.
	two := a.scratch(k)
	if err := a.dec.Buckets(b, k, a.limit, func(slot uint32, v []byte) error {
		return a.check(two[1], v, slot)
	}); err != nil {
		return err
	}
	a.kind = k
	return a.dec.Buckets(b, k, a.limit, a.addBucket)
}

func (a *Accumulator) check(b bucket.Bucket, v []byte, slot uint32) error {
	if len(v) == 0 {
		return fmt.Errorf("an empty bucket")
	}
	return b.Decode(v, a.base(slot))
}

func (a *Accumulator) scratch(k metric.Kind) *[2]bucket.Bucket {
	pair := &a.pair[k]
	if pair[0] == nil {
		pair[0], pair[1] = bucket.New(k), bucket.New(k)
	}
	return pair
}

func (a *Accumulator) has(slot uint32) bool { return a.used[slot/64]&(1<<(slot%64)) != 0 }

// use marks a slot and reports whether it was free.
func (a *Accumulator) use(slot uint32) bool {
	free := !a.has(slot)
	a.used[slot/64] |= 1 << (slot % 64)
	return free
}

func (a *Accumulator) addSum(slot uint32, v float64) {
	if a.use(slot) {
		a.sums[slot] = v + 0 // -0 is 0
		return
	}
	// No events add up to more (metric.MaxValue), but bytes from a disk may say anything.
	a.sums[slot] = min(max(a.sums[slot]+v, -maxFloat), maxFloat)
}

const maxFloat = 0x1p1023 * (1 + (1 - 0x1p-52))

func (a *Accumulator) addBucket(slot uint32, b []byte) error {
	at := len(a.bytes)
	if a.use(slot) {
		a.bytes = append(a.bytes, b...)
	} else {
		sp, pair, base := a.spans[slot], a.scratch(a.kind), a.base(slot)
		err := pair[0].Decode(a.bytes[sp.at:sp.end], base)
		if err == nil {
			err = pair[1].Decode(b, base)
		}
		if err != nil { // both were read before; a panic would end every compaction
			a.isolate(AppendBucket([]byte{Run(a.kind)}, 0, slot, b), err)
			return nil
		}
		pair[0].Merge(pair[1])
		a.bytes = pair[0].Append(a.bytes, base)
		a.live -= int(sp.end - sp.at)
	}
	a.spans[slot] = span{uint32(at), uint32(len(a.bytes))}
	a.live += len(a.bytes) - at
	if len(a.bytes) > 2*a.live+1<<20 {
		a.pack()
	}
	return nil
}

// pack lets go of the buckets that others took the place of.
func (a *Accumulator) pack() {
	a.spare = a.spare[:0]
	a.each(func(slot uint32) {
		sp := &a.spans[slot]
		at := uint32(len(a.spare))
		a.spare = append(a.spare, a.bytes[sp.at:sp.end]...)
		*sp = span{at, uint32(len(a.spare))}
	})
	a.bytes, a.spare = a.spare, a.bytes
}

func (a *Accumulator) each(visit func(slot uint32)) {
	for w, set := range a.used {
		for ; set != 0; set &= set - 1 {
			visit(uint32(w*64 + bits.TrailingZeros64(set)))
		}
	}
}

// manySlots is how many slots make columns worth their time where the result is merged
// again soon.
const manySlots = 256

// Finish returns what was added: columns where they are smaller, else a run. last is true where
// the result is likely to stay as it is. The bytes are valid until the next call.
func (a *Accumulator) Finish(last bool) []byte { return a.finish(last, true) }

// FinishRun is Finish, but makes no columns: for what is read at once.
func (a *Accumulator) FinishRun() []byte { return a.finish(false, false) }

func (a *Accumulator) finish(last, columned bool) []byte {
	if a.state == one {
		if k, ok := KindOf(a.alone); !last || ok && a.alone[0] == columns+byte(k) || ok && len(a.alone) < minColumn*2 {
			return a.alone
		}
		if len(a.alone) > 0 && a.alone[0] == isolated {
			return a.alone
		}
		a.state = several
		a.decode(a.alone)
	}
	a.out = a.out[:0]
	if a.damage.Operands > 0 {
		a.out = a.damage.appendTo(a.out)
	}
	if a.kind == 0 {
		return a.out
	}
	a.slots = a.slots[:0]
	a.each(func(slot uint32) { a.slots = append(a.slots, slot) })
	begin := len(a.out)
	a.appendRun()
	if n := len(a.slots); columned && (n >= manySlots || last && n >= minColumn) {
		a.appendColumns(begin)
	}
	return a.out
}

func (a *Accumulator) appendRun() {
	a.out = append(a.out, Run(a.kind))
	prev := uint32(0)
	for _, slot := range a.slots {
		if a.kind == metric.Counter {
			a.out = AppendSum(a.out, prev, slot, a.sums[slot])
		} else {
			a.out = AppendBucket(a.out, prev, slot, a.bucket(slot))
		}
		prev = slot + 1
	}
}

func (a *Accumulator) bucket(slot uint32) []byte {
	sp := a.spans[slot]
	return a.bytes[sp.at:sp.end]
}

// appendColumns puts columns in the place of the run if they are smaller.
func (a *Accumulator) appendColumns(begin int) {
	ok := true
	if a.kind == metric.Counter {
		a.values = a.values[:0]
		for _, slot := range a.slots {
			a.values = append(a.values, a.sums[slot])
		}
		a.col = a.enc.appendSums(a.col[:0], a.slots, a.values)
	} else {
		a.col, ok = a.enc.appendBuckets(a.col[:0], a.kind, a.slots, func(i int) []byte { return a.bucket(a.slots[i]) })
	}
	if ok && len(a.col) < len(a.out)-begin {
		a.out = append(a.out[:begin], a.col...)
	}
}

// Size returns roughly how many bytes of memory it takes beyond its fixed part.
func (a *Accumulator) Size() int {
	return cap(a.bytes) + cap(a.spare) + cap(a.out) + cap(a.col) + cap(a.alone) + cap(a.enc.other) + cap(a.dec.block1)
}
