package ingest

import (
	"encoding/binary"
	"fmt"
	"math"

	"cairn/agg"
	"cairn/internal/dedupe"
	"cairn/internal/journal"
	"cairn/internal/metric"
)

// RecordBatch is the kind of a batch in the journal. Its head is
//
//	byte      version: 01
//	byte      flags
//	            01  a producer and a sequence follow
//	            02  the fields c:, e: and card: became tags
//	            04  structured: events, and not lines, are in the body
//	            30  the dialect: 00 DogStatsD, 10 etsy, 20 brubeck
//	16 bytes  producer    } only if the flag says so
//	uvarint   sequence    }
//	...       the verdict, as dedupe.Verdict writes it: hash of the payload, arrival,
//	          accepted events, lines that were not counted
//
// The body of lines is as it came, with the lines that did not count. A structured
// one has the events that counted, one after the other:
//
//	byte      flags
//	            03  what a gauge's number does (agg.Op)
//	            04  name and key are those of the event before
//	            08  a time follows
//	uvarint   length of the name   } not if they are those before
//	...       the name             }
//	uvarint   length of the key    }
//	...       the key, structured  }
//	varint    time - arrival, in seconds; only if the flag says so
//	8 bytes   the number, or the hash of a set's member, little endian
const RecordBatch journal.Kind = 1

const (
	recordVersion = 1

	recordProducer   = 0x01
	recordOrigin     = 0x02
	recordStructured = 0x04
	recordDialect    = 4 // how far its bits are shifted
	recordKnown      = recordProducer | recordOrigin | recordStructured | 3<<recordDialect

	eventOp    = 0x03
	eventAgain = 0x04
	eventTime  = 0x08
	eventKnown = eventOp | eventAgain | eventTime
)

// Record is a batch as the journal holds it.
type Record struct {
	Named      bool // Producer and Sequence are set
	Producer   dedupe.Producer
	Sequence   uint64
	OriginTags bool
	Dialect    Dialect
	Structured bool
	Verdict    dedupe.Verdict
	Body       []byte // lines or events; it belongs to who gave it
}

// appendHead appends the head of the record.
func (r *Record) appendHead(dst []byte) []byte {
	flags := byte(r.Dialect) << recordDialect
	if r.Named {
		flags |= recordProducer
	}
	if r.OriginTags {
		flags |= recordOrigin
	}
	if r.Structured {
		flags |= recordStructured
	}
	dst = append(dst, recordVersion, flags)
	if r.Named {
		dst = binary.AppendUvarint(append(dst, r.Producer[:]...), r.Sequence)
	}
	return r.Verdict.Append(dst)
}

// DecodeRecord reads a record of kind RecordBatch. The result's Body is j's.
func DecodeRecord(j *journal.Record) (r Record, err error) {
	bad := func(why string, args ...any) (Record, error) {
		return Record{}, fmt.Errorf("a batch with a head of %d bytes: %s", len(j.Head), fmt.Sprintf(why, args...))
	}
	if j.Kind != RecordBatch {
		return bad("its kind is %d", j.Kind)
	}
	if len(j.Head) < 2 || j.Head[0] != recordVersion {
		return bad("it begins with %.2x; this version of cairn reads version %d", j.Head, recordVersion)
	}
	flags, rest := j.Head[1], j.Head[2:]
	r = Record{
		Named: flags&recordProducer != 0, OriginTags: flags&recordOrigin != 0, Structured: flags&recordStructured != 0,
		Dialect: Dialect(flags >> recordDialect & 3), Body: j.Body,
	}
	if flags&^recordKnown != 0 || r.Dialect >= numDialects {
		return bad("unknown flags %02x", flags)
	}
	if r.Named {
		if len(rest) < len(r.Producer) {
			return bad("no room for a producer")
		}
		rest = rest[copy(r.Producer[:], rest):]
		n := 0
		if r.Sequence, n = binary.Uvarint(rest); n <= 0 || r.Sequence == 0 || r.Sequence > dedupe.MaxSequence {
			return bad("a sequence that is none")
		}
		rest = rest[n:]
	}
	if r.Verdict, err = dedupe.DecodeVerdict(rest); err != nil {
		return bad("%v", err)
	}
	if v := &r.Verdict; len(v.Rejected) != int(v.RejectedTotal) {
		return bad("%d of %d rejected lines are listed", len(v.Rejected), v.RejectedTotal)
	}
	for i, x := range r.Verdict.Rejected {
		if x.Line == 0 || i > 0 && x.Line <= r.Verdict.Rejected[i-1].Line {
			return bad("rejected lines are out of order")
		}
	}
	return r, nil
}

// appendEvents appends the events of b that were admitted, as a structured body.
func (b *parsed) appendEvents(dst []byte, now metric.UnixSec) []byte {
	var before *agg.Raw
	for i := range b.events {
		e := &b.events[i]
		if e.Reason != metric.OK {
			continue
		}
		flags := byte(e.Op)
		again := before != nil && before.Name == e.Name
		if again {
			flags |= eventAgain
		}
		if e.Sec != 0 {
			flags |= eventTime
		}
		dst = append(dst, flags)
		if !again {
			dst = binary.AppendUvarint(dst, uint64(e.NameLen))
			dst = append(dst, b.buf[e.Name:e.Name+uint32(e.NameLen)]...)
			dst = binary.AppendUvarint(dst, uint64(e.RestLen))
			dst = append(dst, b.buf[e.Rest:e.Rest+uint32(e.RestLen)]...)
		}
		if e.Sec != 0 {
			dst = binary.AppendVarint(dst, int64(e.Sec-now))
		}
		dst = binary.LittleEndian.AppendUint64(dst, e.Bits)
		before = e
	}
	return dst
}

// readEvents reads a structured body. Their names and keys stay in body.
func (b *parsed) readEvents(body []byte, now metric.UnixSec) error {
	b.buf = body
	var e agg.Raw
	at := 0
	bad := func() error {
		return fmt.Errorf("a batch of %d bytes: the event after %d others, at offset %d, is broken", len(body), len(b.events), at)
	}
	key := func(i int) (begin uint32, n uint16, next int, ok bool) {
		size, w := binary.Uvarint(body[i:])
		if w <= 0 || size > maxKey || int(size) > len(body)-i-w {
			return 0, 0, 0, false
		}
		return uint32(i + w), uint16(size), i + w + int(size), true
	}
	for at < len(body) {
		flags, i, ok := body[at], at+1, true
		if flags&^eventKnown != 0 || agg.Op(flags&eventOp) > agg.Adjust || flags&eventAgain != 0 && len(b.events) == 0 {
			return bad()
		}
		if flags&eventAgain == 0 {
			if e.Name, e.NameLen, i, ok = key(i); !ok {
				return bad()
			}
			if e.Rest, e.RestLen, i, ok = key(i); !ok {
				return bad()
			}
			if _, _, _, err := cutStructured(body[e.Rest:i]); err != nil || e.NameLen == 0 {
				return bad()
			}
		}
		e.Op, e.Sec = agg.Op(flags&eventOp), 0
		if flags&eventTime != 0 {
			d, w := binary.Varint(body[i:])
			if w <= 0 || d > metric.MaxFuture || d < -metric.MaxRetention {
				return bad()
			}
			if e.Sec, i = now+metric.UnixSec(d), i+w; e.Sec <= 0 {
				return bad()
			}
		}
		if len(body)-i < 8 {
			return bad()
		}
		e.Bits = binary.LittleEndian.Uint64(body[i:])
		b.events = append(b.events, e)
		at = i + 8
	}
	return nil
}

// widest are limits that no setting goes beyond: what was accepted once is accepted
// by them.
var widest = metric.LineLimits{Line: math.MaxUint16, Name: math.MaxUint16, Tag: math.MaxUint16, Tags: math.MaxUint16}
