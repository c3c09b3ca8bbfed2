package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	startLimit = 20 * time.Second // for a process to be ready, on a busy machine
	stopLimit  = 10 * time.Second // for a process to flush and exit
	seenLimit  = 10 * time.Second // for what was sent to be counted, where speed is not the question
)

// steps are the widths of the four tiers, as a query names them.
var steps = []string{"1s", "10s", "1m", "1h"}

// transcript collects what a process prints.
type transcript struct {
	mu sync.Mutex // guards b
	b  strings.Builder
}

func (o *transcript) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// server is one running `cairn serve`.
type server struct {
	t              testing.TB
	cmd            *exec.Cmd
	Dir            string // data dir
	HTTP, UDP      string // host:port
	PID            int
	stdout, stderr *transcript
	exited         chan struct{}
	client         *http.Client
	sender         net.Conn
}

// startServer starts a server that seals and flushes every second. args come
// after the harness' own, and so go before them.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	return startWith(t, nil, append([]string{"--grace", "1s", "--flush-interval", "1s"}, args...)...)
}

// startWith starts a server with env and args, on ports and in a data dir of its
// own unless they say otherwise, and waits until it says that it is ready.
func startWith(t testing.TB, env []string, args ...string) *server {
	t.Helper()
	s := launch(t, env, args...)
	var ready = regexp.MustCompile(`(?s)dashboard +http://(\S+)\n.*StatsD \(UDP\) +(\S+)(?:  dialect \w+)?\n.*send a count .*\n`)
	eventually(t, startLimit, func() (bool, string) {
		if m := ready.FindStringSubmatch(s.stdout.String()); m != nil {
			s.HTTP, s.UDP = m[1], m[2]
			return true, ""
		}
		select {
		case <-s.exited:
			require.FailNow(t, "the server did not start", "%s", s.Output())
		default:
		}
		return false, "not ready: " + s.Output()
	})
	s.sender = s.Dial()
	return s
}

// launch starts the process and does not wait.
func launch(t testing.TB, env []string, args ...string) *server {
	t.Helper()
	s := &server{
		t: t, stdout: new(transcript), stderr: new(transcript), exited: make(chan struct{}),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: 15 * time.Second},
	}
	all := []string{"serve", "--http", "127.0.0.1:0"}
	if !slices.Contains(args, "--udp") {
		all = append(all, "--udp", "127.0.0.1:0") // a second one would be added to it
	}
	for i, a := range args {
		if a == "--data-dir" {
			s.Dir = args[i+1]
		}
	}
	if s.Dir == "" {
		s.Dir = t.TempDir()
		all = append(all, "--data-dir", s.Dir)
	}
	s.cmd = exec.Command(binary, append(all, args...)...)
	s.cmd.Env = cleanEnv(env)
	s.cmd.Stdout, s.cmd.Stderr = s.stdout, s.stderr
	s.cmd.SysProcAttr = child()
	require.NoError(t, s.cmd.Start())
	s.PID = s.cmd.Process.Pid
	go func() {
		defer close(s.exited)
		_ = s.cmd.Wait() // the exit code says it
	}()
	t.Cleanup(func() {
		s.Kill()
		s.client.CloseIdleConnections()
		if t.Failed() {
			t.Logf("output of the server with PID %d:\n%s", s.PID, s.Output())
		}
	})
	return s
}

// cleanEnv is the environment without the settings of whoever runs the tests.
func cleanEnv(more []string) []string {
	var out []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CAIRN_") {
			out = append(out, v)
		}
	}
	return append(out, more...)
}

// Output is everything that the process printed so far.
func (s *server) Output() string { return s.stdout.String() + s.stderr.String() }

// Signal sends a signal to the process.
func (s *server) Signal(sig syscall.Signal) {
	s.t.Helper()
	require.NoError(s.t, s.cmd.Process.Signal(sig))
}

// Wait waits for the process to exit and returns its status.
func (s *server) Wait() int {
	s.t.Helper()
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-s.exited:
	case <-limit.C:
		require.FailNow(s.t, "the process does not exit", "after %s:\n%s", stopLimit, s.Output())
	}
	return s.cmd.ProcessState.ExitCode()
}

// Stop sends SIGTERM and returns the exit status, how long it took, and all output.
func (s *server) Stop() (code int, took time.Duration, output string) {
	s.t.Helper()
	begin := time.Now()
	s.Signal(syscall.SIGTERM)
	code = s.Wait()
	return code, time.Since(begin), s.Output()
}

// MustStop stops the server in order.
func (s *server) MustStop() {
	s.t.Helper()
	code, _, output := s.Stop()
	require.Zero(s.t, code, output)
	requireNoTrace(s.t, output)
}

// Kill ends the process at once, if it is still there.
func (s *server) Kill() {
	if s.sender != nil {
		_ = s.sender.Close()
	}
	select {
	case <-s.exited:
	default:
		_ = s.cmd.Process.Kill() // it may have exited just now
		<-s.exited
	}
}

// requireNoTrace fails if a program showed its insides instead of a sentence.
func requireNoTrace(t testing.TB, output string) {
	t.Helper()
	for _, sign := range []string{"goroutine", "panic", ".go:", "BUG", "runtime error"} {
		require.NotContains(t, output, sign)
	}
}

// Dial returns a socket that sends to the server.
func (s *server) Dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("udp", s.UDP)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Send sends the lines in one datagram.
func (s *server) Send(lines ...string) {
	s.t.Helper()
	_, err := s.sender.Write([]byte(strings.Join(lines, "\n")))
	require.NoError(s.t, err)
}

// Get asks for a path and returns the status and the body.
func (s *server) Get(path string, args url.Values) (*http.Response, []byte) {
	s.t.Helper()
	return s.Do(http.MethodGet, path, args, nil)
}

// Do makes any request.
func (s *server) Do(method, path string, args url.Values, body io.Reader) (*http.Response, []byte) {
	s.t.Helper()
	u := url.URL{Scheme: "http", Host: s.HTTP, Path: path, RawQuery: args.Encode()}
	req, err := http.NewRequest(method, u.String(), body)
	require.NoError(s.t, err)
	resp, err := s.client.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return resp, b
}

func (s *server) getJSON(path string, args url.Values, into any) {
	s.t.Helper()
	resp, body := s.Get(path, args)
	require.Equal(s.t, http.StatusOK, resp.StatusCode, "%s?%s: %s", path, args.Encode(), body)
	require.NoError(s.t, json.Unmarshal(body, into), "%s", body)
}

// Query asks /api/query.
func (s *server) Query(args url.Values) answer {
	s.t.Helper()
	var a answer
	s.getJSON("/api/query", args, &a)
	return a
}

// span is the range of every total: timestamps of tests lie in it, and at a step
// of 1s it makes fewer points than a query may have.
func span() url.Values {
	now := time.Now().Unix()
	return url.Values{"from": {strconv.FormatInt(now-7200, 10)}, "to": {strconv.FormatInt(now+60, 10)}}
}

// Total returns the sum of a metric over two hours at one step.
func (s *server) Total(metric, step string) float64 {
	s.t.Helper()
	args := span()
	args.Set("metric", metric)
	args.Set("step", step)
	return s.Query(args).Total
}

// By returns the totals of a metric at one step, by the values of tag keys
// joined with a slash.
func (s *server) By(metric, step string, keys ...string) map[string]float64 {
	s.t.Helper()
	args := span()
	args.Set("metric", metric)
	args.Set("step", step)
	args["by"] = keys
	out := map[string]float64{}
	for _, row := range s.Query(args).Series {
		var values []string
		for _, k := range keys {
			values = append(values, fmt.Sprint(row.Tags[k]))
		}
		sum := 0.0
		for _, v := range row.Values {
			if v != nil {
				sum += *v
			}
		}
		require.Equal(s.t, row.Total, sum, "the points of a series of %s do not add up to its total", metric)
		out[strings.Join(values, "/")] += row.Total
	}
	return out
}

// RequireTotal compares a metric's total in every tier.
func (s *server) RequireTotal(want float64, metric string) {
	s.t.Helper()
	for _, step := range steps {
		require.Equal(s.t, want, s.Total(metric, step), "%s at step %s", metric, step)
	}
}
