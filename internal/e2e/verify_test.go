package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// verified is the answer of GET /api/verify.
type verified struct {
	Equal   bool `json:"equal"`
	Checked struct {
		Metrics, Buckets, Events, From, To int
	} `json:"checked"`
	Differences []any `json:"differences"`
	Tiers       struct {
		Equal          bool `json:"equal"`
		Metrics, Hours int
		Differences    []any `json:"differences"`
	} `json:"tiers"`
	Pending int      `json:"pending"`
	Damaged []string `json:"damaged"`
	Notes   []string `json:"notes"`
	TookMS  *int     `json:"took_ms"`
}

// verify runs `cairn verify` and returns what it says.
func verify(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	var out, errs bytes.Buffer
	c := exec.CommandContext(ctx, binary, append([]string{"verify"}, args...)...)
	c.Env, c.Stdout, c.Stderr = cleanEnv(nil), &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	requireNoTrace(t, errs.String())
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}

// mustVerify verifies, which must find all equal.
func mustVerify(t *testing.T, args ...string) (v verified) {
	t.Helper()
	code, stdout, stderr := verify(t, append(args, "--json")...)
	require.Zero(t, code, "%s%s", stdout, stderr)
	require.NoError(t, json.Unmarshal([]byte(stdout), &v), stdout)
	require.True(t, v.Equal && v.Tiers.Equal, stdout)
	require.NotNil(t, v.Differences)
	require.Empty(t, v.Differences)
	require.Empty(t, v.Damaged)
	require.NotNil(t, v.TookMS)
	return v
}

// fingerprints returns what there is to know of the files of a directory.
func fingerprints(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		out[path] = fmt.Sprint(info.Mode(), info.ModTime())
		if !d.IsDir() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			out[path] += string(b)
		}
		return nil
	}))
	return out
}

// allKinds sends all kinds, by datagram in each dialect and as batches, until the test
// ends or stop is called.
func allKinds(t *testing.T, s *server) (stop func()) {
	t.Helper()
	var status struct{ UDP []string }
	s.getJSON("/api/status", nil, &status)
	require.Len(t, status.UDP, 3)
	var conns []net.Conn
	for _, addr := range status.UDP {
		c, err := net.Dial("udp", addr)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		conns = append(conns, c)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	client := &http.Client{Timeout: 10 * time.Second}
	post := func(kind, body string) {
		resp, err := client.Post("http://"+s.HTTP+"/api/ingest", kind, bytes.NewReader([]byte(body)))
		if err == nil { // it may have been killed
			_ = resp.Body.Close()
		}
	}
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			lines := fmt.Sprintf("hits:%d|c|#k:%d\nlevel:%d|g\ntime:%d|ms|@0.3\nuser:%d|s\npart:0.1|c|@0.7\nmany:1:2:3|d", i%7, i%3, i%9, i%100, i)
			for _, c := range conns {
				_, _ = c.Write([]byte(lines)) // it may have been killed
			}
			_, _ = conns[1].Write([]byte("step:+3|g"))
			if i%10 == 0 {
				now := time.Now().Unix()
				post("text/plain", lines+fmt.Sprintf("\nbad\r\n\r\n\nhits:5|c|T%d\nlevel:1|g|T%d\n_e{1,1}:a|b\n", now-100, now-3))
				post("application/json", fmt.Sprintf(`{"events":[{"metric":"hits","value":1.5,"rate":0.3},{"metric":"level","kind":"gauge","value":%d,"time":%d},
					{"metric":"time","kind":"distribution","value":2.5,"rate":0.5,"tags":{"a":"b"}},{"metric":"user","kind":"set","value":"u%d"}]}`, i, now-2, i))
			}
		}
	})
	stop = sync.OnceFunc(func() { close(done); wg.Wait(); client.CloseIdleConnections() })
	t.Cleanup(stop)
	return stop
}

func TestVerify(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--udp", "127.0.0.1:0,etsy@127.0.0.1:0,brubeck@127.0.0.1:0")
	stop := allKinds(t, s)
	live := []string{"--url", "http://" + s.HTTP}
	var v verified
	eventually(t, seenLimit, func() (bool, string) {
		v = mustVerify(t, live...) // under traffic
		return v.Checked.Metrics == 7 && v.Checked.Buckets > 40, fmt.Sprintf("%+v", v)
	})
	code, stdout, _ := verify(t, live...)
	require.Zero(t, code, stdout)
	require.Regexp(t, `(?m)^journal and store +equal +\d+ events, 7 metrics`, stdout)

	code, _, stderr := verify(t, "--data-dir", s.Dir)
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "--url")

	// A copy of a server that was killed, which nobody can write to.
	s.Kill()
	stop()
	copied := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.CopyFS(copied, os.DirFS(s.Dir)))
	require.NoError(t, filepath.WalkDir(copied, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chmod(path, 0o400)
		}
		return err
	}))
	before := fingerprints(t, copied)
	killed := mustVerify(t, "--data-dir", copied)
	require.Equal(t, 7, killed.Checked.Metrics)
	require.NotZero(t, killed.Pending, "killed under traffic, with nothing that is not stored")
	require.Equal(t, before, fingerprints(t, copied), "something was changed")

	again := startServer(t, "--data-dir", s.Dir, "--udp", "127.0.0.1:0,etsy@127.0.0.1:0,brubeck@127.0.0.1:0")
	mustVerify(t, "--url", "http://"+again.HTTP)
	again.MustStop()
	v = mustVerify(t, "--data-dir", s.Dir)
	require.Equal(t, killed.Checked.Events+killed.Pending, v.Checked.Events, "the journal holds all that was ever counted")
	require.Zero(t, v.Pending)

	// A byte of a batch is another.
	segments, err := filepath.Glob(filepath.Join(s.Dir, "journal", "*.wal"))
	require.NoError(t, err)
	b, err := os.ReadFile(segments[0])
	require.NoError(t, err)
	b[len(b)/2]++
	require.NoError(t, os.WriteFile(segments[0], b, 0o600))
	code, stdout, stderr = verify(t, "--data-dir", s.Dir)
	require.Equal(t, 1, code, stderr)
	require.Contains(t, stdout, "damaged: ")
	require.Contains(t, stderr, "not equal")

	code, _, stderr = verify(t, "--data-dir", filepath.Join(s.Dir, "none"))
	require.Equal(t, 2, code)
	requireSentence(t, stderr)
	code, _, stderr = verify(t, "--url", "http://127.0.0.1:1")
	require.Equal(t, 2, code)
	requireSentence(t, stderr)
}
