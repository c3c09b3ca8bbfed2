package tally

import (
	"encoding/hex"
	"os"
	"strings"
)

// bootID returns the number that the kernel gave to this start of the machine.
func bootID() (id [16]byte) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return id // a system without it: every figure is "at least"
	}
	text := strings.ReplaceAll(strings.TrimSpace(string(b)), "-", "")
	if len(text) != 2*len(id) {
		return id
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil {
		return [16]byte{}
	}
	return id
}
