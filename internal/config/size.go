package config

import (
	"fmt"
	"strconv"
	"strings"
)

// size is a pflag.Value for a number of bytes, such as 64MiB.
type size struct{ to *int }

func newSize(to *int, def int) size {
	*to = def
	return size{to}
}

var units = []struct {
	name  string
	bytes int
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// String implements pflag.Value.
func (s size) String() string {
	if s.to == nil {
		return ""
	}
	for _, u := range units {
		if *s.to >= u.bytes && *s.to%u.bytes == 0 {
			return strconv.Itoa(*s.to/u.bytes) + u.name
		}
	}
	return strconv.Itoa(*s.to)
}

// Type implements pflag.Value.
func (s size) Type() string { return "size" }

// Set implements pflag.Value.
func (s size) Set(text string) error {
	number, unit := text, 1
	for _, u := range units {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = n, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 40)
	if err != nil || n < 0 || n > 1<<40/int64(unit) {
		return fmt.Errorf("not a size; write bytes, or a number with KiB, MiB or GiB, such as 64MiB")
	}
	*s.to = int(n) * unit
	return nil
}
