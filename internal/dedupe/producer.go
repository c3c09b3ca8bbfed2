package dedupe

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
)

// Producer is who numbers batches: a UUID.
type Producer [16]byte

// dashes is where they stand in the text of a UUID.
var dashes = [...]int{8, 13, 18, 23}

const textLen = 36

// ParseProducer reads a UUID: 8-4-4-4-12 hexadecimal digits of any case. The nil
// UUID names nobody.
func ParseProducer(s string) (p Producer, err error) {
	digits := make([]byte, 0, 2*len(p))
	ok := len(s) == textLen
	for i := 0; ok && i < len(s); i++ {
		if i == dashes[0] || i == dashes[1] || i == dashes[2] || i == dashes[3] {
			ok = s[i] == '-'
		} else {
			digits = append(digits, s[i])
		}
	}
	if ok {
		_, err = hex.Decode(p[:], digits)
		ok = err == nil
	}
	if !ok {
		return Producer{}, fmt.Errorf("%.40q is not a producer; it must be a UUID like 6ba7b810-9dad-41d1-80b4-00c04fd430c8, which each producer makes for itself once", s)
	}
	if p == (Producer{}) {
		return Producer{}, errors.New("the producer is the nil UUID, which names nobody; each producer must make a UUID for itself once")
	}
	return p, nil
}

// String returns the UUID in lower case.
func (p Producer) String() string {
	s := hex.EncodeToString(p[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// MaxSequence is the highest sequence: what fits in a signed number of 64 bits, as
// most languages have no other.
const MaxSequence = 1<<63 - 1

// ParseSequence reads a sequence: a decimal number from 1 to MaxSequence.
func ParseSequence(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%.40q is not a sequence; it must be a whole number from 1 to %d", s, uint64(MaxSequence))
	}
	return n, nil
}

func mustBeSequence(n uint64) {
	if n == 0 || n > MaxSequence {
		panic(fmt.Sprintf("BUG: sequence %d is out of range", n))
	}
}
