//go:build linux

package child

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Cairn is a running server.
type Cairn struct {
	*Process
	client
	Port int // UDP and TCP, of 127.0.0.1
}

// StartCairn starts a server on core with one reader, room for 1,100,000 series and
// more flags, and waits until it is ready. It is killed after limit.
func StartCairn(ctx context.Context, core int, limit time.Duration, binary, dir string, flags ...string) (*Cairn, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	args := append([]string{"serve", "--udp", address, "--http", address, "--readers", "1",
		"--data-dir", dir, "--max-series", "1100000", "--max-series-per-metric", "1100000"}, flags...)
	p, err := Start(ctx, core, limit, binary, args...)
	if err != nil {
		return nil, err
	}
	s := &Cairn{Process: p, client: newClient(port, 30*time.Second), Port: port}
	if err := until(ctx, func(ctx context.Context) error { _, err := s.Get(ctx, "/-/ready"); return err }); err != nil {
		s.http.CloseIdleConnections()
		return nil, p.failed("wait for cairn", err)
	}
	return s, nil
}

// Close kills the server, if it still runs.
func (s *Cairn) Close() {
	s.Kill()
	s.http.CloseIdleConnections()
}

// Figures are what /metrics says, by name and labels.
type Figures map[string]float64

// Figures asks for them.
func (s *Cairn) Figures(ctx context.Context) (Figures, error) {
	body, err := s.Get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	return parseFigures(string(body))
}

func parseFigures(text string) (Figures, error) {
	out := Figures{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, number, ok := cutLast(line)
		v, err := strconv.ParseFloat(number, 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("/metrics: %q is not a name and a number", line)
		}
		out[name] = v
	}
	return out, nil
}

func cutLast(line string) (name, number string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return "", line, false
	}
	return line[:i], line[i+1:], true
}
