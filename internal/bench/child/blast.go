//go:build linux

package child

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Sent is what the generator says it sent.
type Sent struct {
	Packets uint64  `json:"packets"`
	Events  uint64  `json:"events"`
	Secs    float64 `json:"secs"`
	Errors  uint64  `json:"errors"`
	Per     uint64  `json:"events_per_packet"`
}

// Segments is the generator's -g: how many datagrams it hands to the kernel at once.
// Without it the generator is slower than a null sink, which then wakes for every few
// datagrams: its CPU time would be that of waking, two or three times as much, and a
// ratio to it would flatter Cairn.
const Segments = "32"

// Blast runs the generator, path, on its core until it ends by itself, for at most
// limit. It sends to a port of 127.0.0.1.
func Blast(ctx context.Context, path string, port int, limit time.Duration, args ...string) (s Sent, err error) {
	args = append([]string{"-a", fmt.Sprintf("127.0.0.1:%d", port)}, args...)
	p, err := Start(ctx, GeneratorCore, limit, path, args...)
	if err != nil {
		return s, err
	}
	defer p.Kill()
	if err := p.Wait(); err != nil {
		return s, err
	}
	if err := json.Unmarshal(p.Stdout(), &s); err != nil {
		return s, fmt.Errorf("what blast printed: %w", err)
	}
	if s.Errors > 0 {
		return s, fmt.Errorf("blast could not send %d messages", s.Errors)
	}
	return s, nil
}
