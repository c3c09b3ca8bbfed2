package metric

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Tag is one key:value pair. A bare tag has an empty value.
type Tag struct{ Key, Value string }

// String returns the tag the way DogStatsD writes it; a bare tag has no colon.
func (t Tag) String() string {
	if t.Value == "" {
		return t.Key
	}
	return t.Key + ":" + t.Value
}

// Tagset is the canonical form of a set of tags: sorted by key, then value,
// identical pairs merged, each key and value with its length before it:
//
//	uvarint(len key) key uvarint(len value) value ...
//
// Two sets of tags are equal exactly if their Tagsets are, whatever bytes keys
// and values hold. One key may have several values. The empty Tagset is "".
type Tagset string

// NewTagset returns the canonical form of tags, which it sorts in place.
func NewTagset(tags []Tag) Tagset {
	if len(tags) == 0 {
		return ""
	}
	slices.SortFunc(tags, func(a, b Tag) int {
		if c := strings.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		return strings.Compare(a.Value, b.Value)
	})
	size := 0
	for _, t := range tags {
		size += 4 + len(t.Key) + len(t.Value)
	}
	b := make([]byte, 0, size)
	for i, t := range tags {
		if i > 0 && t == tags[i-1] {
			continue
		}
		b = appendString(b, t.Key)
		b = appendString(b, t.Value)
	}
	return Tagset(b)
}

// Tagsets are made by NewTagset or checked by DecodeTagset, so that reading one
// needs no error.
func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// DecodeTagset checks bytes that came from disk and returns them as a Tagset.
func DecodeTagset(b []byte) (Tagset, error) { return ParseTagset(string(b)) }

// ParseTagset is DecodeTagset for text, which it does not copy.
func ParseTagset(b string) (Tagset, error) {
	var prev Tag
	for rest, n := b, 0; rest != ""; n++ {
		var t Tag
		var ok bool
		if t.Key, rest, ok = cutString(rest); !ok {
			return "", fmt.Errorf("tagset of %d bytes: tag %d has a broken key", len(b), n)
		}
		if t.Value, rest, ok = cutString(rest); !ok {
			return "", fmt.Errorf("tagset of %d bytes: tag %d has a broken value", len(b), n)
		}
		if n > 0 && (t.Key < prev.Key || t.Key == prev.Key && t.Value <= prev.Value) {
			return "", fmt.Errorf("tagset of %d bytes: tag %d is out of order", len(b), n)
		}
		prev = t
	}
	return Tagset(b), nil
}

func cutString(s string) (head, rest string, ok bool) {
	var n uint64
	for i := 0; i < len(s) && i < binary.MaxVarintLen32; i++ {
		n |= uint64(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			i++
			if n > uint64(len(s)-i) || i > 1 && s[i-1] == 0 {
				return "", "", false // too long, or a length written in more bytes than it needs
			}
			return s[i : i+int(n)], s[i+int(n):], true
		}
	}
	return "", "", false
}

// All yields the tags in order.
func (ts Tagset) All() iter.Seq[Tag] {
	return func(yield func(Tag) bool) {
		for rest := string(ts); rest != ""; {
			var t Tag
			var ok1, ok2 bool
			t.Key, rest, ok1 = cutString(rest)
			t.Value, rest, ok2 = cutString(rest)
			if !ok1 || !ok2 {
				panic(fmt.Sprintf("BUG: a Tagset that is not canonical: %q", string(ts)))
			}
			if !yield(t) {
				return
			}
		}
	}
}

// Tags returns the tags in order.
func (ts Tagset) Tags() []Tag { return slices.Collect(ts.All()) }

// String returns the tags the way DogStatsD writes them, joined by commas. It
// is for people: a comma in a value makes it ambiguous.
func (ts Tagset) String() string {
	var b strings.Builder
	for t := range ts.All() {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(t.String())
	}
	return b.String()
}
