//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// sent is what the generator says it sent.
type sent struct {
	Packets uint64  `json:"packets"`
	Events  uint64  `json:"events"`
	Secs    float64 `json:"secs"`
	Errors  uint64  `json:"errors"`
	Per     uint64  `json:"events_per_packet"`
}

// blast sends to a port until the generator ends, for at most limit.
func (b *bench) blast(ctx context.Context, port int, limit time.Duration, args ...string) (s sent, err error) {
	args = append([]string{"-a", fmt.Sprintf("127.0.0.1:%d", port)}, args...)
	p, err := start(ctx, generatorCore, limit, b.tools.blast, args...)
	if err != nil {
		return s, err
	}
	defer p.kill()
	if err := p.wait(); err != nil {
		return s, err
	}
	if err := json.Unmarshal(p.stdout.Bytes(), &s); err != nil {
		return s, fmt.Errorf("what blast printed: %w", err)
	}
	if s.Errors > 0 {
		return s, fmt.Errorf("blast could not send %d messages", s.Errors)
	}
	return s, nil
}

// setupTime bounds what is done before and after the sending: the generator makes
// its packets, a server starts, or writes what it holds.
const setupTime = 2 * time.Minute

// pollEvery is how often something is looked at that another process does.
const pollEvery = 10 * time.Millisecond

// drained waits until the server has read its socket empty, and returns the
// kernel's drops.
func drained(ctx context.Context, port int) (drops uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	for {
		s, err := socketOn(port)
		if err != nil || s.queued == 0 {
			return s.drops, err
		}
		if err := wait(ctx, pollEvery); err != nil {
			return 0, fmt.Errorf("wait for an empty socket: %w", err)
		}
	}
}

// freePort returns a port of 127.0.0.1 that nobody has, for UDP and TCP.
func freePort() (int, error) {
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			if err := l.Close(); err != nil {
				return 0, err
			}
			continue
		}
		return port, errors.Join(l.Close(), u.Close())
	}
	return 0, errors.New("no port of 127.0.0.1 is free for UDP and TCP")
}

// startSink starts the null sink and waits for its socket.
func (b *bench) startSink(ctx context.Context, limit time.Duration) (*process, int, error) {
	port, err := freePort()
	if err != nil {
		return nil, 0, err
	}
	p, err := start(ctx, serverCore, limit, b.tools.sink, "-port", strconv.Itoa(port))
	if err != nil {
		return nil, 0, err
	}
	limited, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	for {
		if _, err := socketOn(port); err == nil {
			return p, port, nil
		}
		if err := wait(limited, pollEvery); err != nil {
			p.kill()
			return nil, 0, fmt.Errorf("wait for the sink: %w\n%s", err, p.stderr.Bytes())
		}
	}
}

// server is a running Cairn with a data dir of its own.
type server struct {
	*process
	port int // UDP and TCP
	dir  string
	http *http.Client
}

// startCairn starts Cairn with one reader and the defaults, but room for
// 1,100,000 series, and waits until it is ready.
func (b *bench) startCairn(ctx context.Context, limit time.Duration) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "data-")
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	args := append([]string{"serve", "--udp", address, "--http", address, "--readers", "1",
		"--data-dir", filepath.Join(dir, "store"), "--max-series", "1100000", "--max-series-per-metric", "1100000"}, b.serve...)
	p, err := start(ctx, serverCore, limit, b.tools.cairn, args...)
	if err != nil {
		return nil, err
	}
	s := &server{process: p, port: port, dir: dir, http: &http.Client{Timeout: 30 * time.Second}}
	limited, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	for {
		if _, err = s.get(limited, "/-/ready"); err == nil {
			return s, nil
		}
		if stopped := wait(limited, pollEvery); stopped != nil {
			s.close()
			return nil, fmt.Errorf("wait for cairn: %w\n%s", err, p.stderr.Bytes())
		}
	}
}

// close ends the server, if it still runs, and removes its data.
func (s *server) close() {
	s.kill()
	s.http.CloseIdleConnections()
	_ = os.RemoveAll(s.dir) // what is left goes with the folder around it
}

// get returns the body of a 200.
func (s *server) get(ctx context.Context, path string) (body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", s.port, path), nil)
	if err != nil {
		return nil, err
	}
	res, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	body, err = io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", path, res.Status, body)
	}
	return body, err
}

// figures are what /metrics says, by name and labels.
type figures map[string]float64

func (s *server) figures(ctx context.Context) (figures, error) {
	body, err := s.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	return parseFigures(string(body))
}

func parseFigures(text string) (figures, error) {
	out := figures{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if i < 0 || err != nil {
			return nil, fmt.Errorf("/metrics: %q is not a name and a number", line)
		}
		out[line[:i]] = v
	}
	return out, nil
}

// reading is a server's state at one instant, its socket empty.
type reading struct {
	cpu                        time.Duration
	packets, accepted, receive uint64
	drops                      uint64
}

// read waits for an empty socket and for the batch that was read last.
func (s *server) read(ctx context.Context) (r reading, err error) {
	if r.drops, err = drained(ctx, s.port); err != nil {
		return r, err
	}
	if r.cpu, err = cpuOf(s.pid()); err != nil {
		return r, err
	}
	for {
		f, err := s.figures(ctx)
		if err != nil {
			return r, err
		}
		r.accepted = uint64(f["cairn_events_accepted_total"])
		r.receive = uint64(f["cairn_events_received_total"])
		packets := uint64(f["cairn_udp_packets_total"])
		if packets == r.packets && packets > 0 || packets == 0 && r.receive == 0 {
			r.packets = packets
			return r, nil // two readings agree
		}
		r.packets = packets
		if err := wait(ctx, pollEvery); err != nil {
			return r, err
		}
	}
}
