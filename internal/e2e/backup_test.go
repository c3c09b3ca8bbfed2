package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// numbered sends batches of one event of one producer each, one after the other, until
// stop is called.
type numbered struct {
	client      *http.Client
	url         string
	sent, acked atomic.Int64
}

func (n *numbered) post(sequence int64) (duplicate bool, err error) {
	req, err := http.NewRequest(http.MethodPost, n.url, strings.NewReader("acked:1|c"))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "text/plain")
	req.Header.Set("Cairn-Producer", "00000000-0000-4000-8000-000000000009")
	req.Header.Set("Cairn-Sequence", strconv.FormatInt(sequence, 10))
	resp, err := n.client.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	var answer struct {
		Accepted  int
		Duplicate bool
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK || answer.Accepted != 1 {
		return false, fmt.Errorf("%s, %+v, %w", resp.Status, answer, err)
	}
	return answer.Duplicate, nil
}

func startNumbered(t *testing.T, s *server) (n *numbered, stop func()) {
	n = &numbered{client: &http.Client{Timeout: 10 * time.Second}, url: "http://" + s.HTTP + "/api/ingest"}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := n.post(n.sent.Add(1)); err != nil {
				t.Errorf("a batch beside a backup: %v", err)
				return
			}
			n.acked.Add(1)
		}
	})
	stop = sync.OnceFunc(func() { close(done); wg.Wait(); n.client.CloseIdleConnections() })
	t.Cleanup(stop)
	return n, stop
}

// TestBackup takes backups of a server under traffic, on its own disk and on another, and
// starts what is restored of them.
func TestBackup(t *testing.T) {
	t.Parallel()
	udp := []string{"--udp", "127.0.0.1:0,etsy@127.0.0.1:0,brubeck@127.0.0.1:0"}
	s := startServer(t, udp...)
	stopAll := allKinds(t, s)
	n, stopNumbered := startNumbered(t, s)
	eventually(t, seenLimit, func() (bool, string) {
		return s.Total("acked", "1h") > 20 && s.Total("hits", "1h") > 20, "nothing is counted"
	})
	places := map[string]string{"the disk of the data dir": t.TempDir()}
	if shm, err := os.MkdirTemp("/dev/shm", "cairn-e2e-"); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(shm) })
		places["another disk"] = shm
	}
	for name, place := range places {
		backup := filepath.Join(place, "backup")
		before := n.acked.Load()
		r := runCairn(t, "backup", backup, "--url", "http://"+s.HTTP)
		after := n.sent.Load()
		require.Zero(t, r.code, r.stderr)
		require.Regexp(t, `holds \d+ stored events up to .*, and the journal, in \d+ bytes`, r.stdout)
		requireBackup(t, name, backup, udp, before, after)
	}
	mustVerify(t, "--url", "http://"+s.HTTP)
	requireRefusals(t, s, filepath.Join(places["the disk of the data dir"], "backup"))
	stopAll()
	stopNumbered()

	// What is stored is the same in the backup of a data dir that is not in use.
	s.MustStop()
	last := filepath.Join(t.TempDir(), "last")
	before := fingerprints(t, s.Dir)
	r := runCairn(t, "backup", last, "--data-dir", s.Dir)
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, before, fingerprints(t, s.Dir))
	original := startServer(t, append(udp, "--data-dir", s.Dir)...)
	restored := filepath.Join(t.TempDir(), "restored")
	r = runCairn(t, "restore", last, "--data-dir", restored)
	require.Zero(t, r.code, r.stderr)
	copied := startServer(t, append(udp, "--data-dir", restored)...)
	for _, metric := range []string{"acked", "hits", "part"} {
		for _, step := range steps {
			require.NotZero(t, original.Total(metric, step))
			require.Equal(t, original.Total(metric, step), copied.Total(metric, step), "%s at %s", metric, step)
		}
	}
	copied.MustStop()
	original.MustStop()
}

// requireBackup restores a backup that nobody can write to, and looks at what a server
// makes of it.
func requireBackup(t *testing.T, name, backup string, udp []string, before, after int64) {
	t.Helper()
	require.NoFileExists(t, backup+".partial")
	require.NoError(t, filepath.WalkDir(backup, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".sst") && !strings.HasSuffix(path, ".wal") { // those are the source's
			err = os.Chmod(path, 0o400)
		}
		return err
	}))
	was := fingerprints(t, backup)
	mustVerify(t, "--data-dir", backup)
	dir := filepath.Join(t.TempDir(), "data")
	r := runCairn(t, "restore", backup, "--data-dir", dir)
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stdout, "cairn serve --data-dir "+dir)
	mustVerify(t, "--data-dir", dir)
	again := startServer(t, append(udp, "--data-dir", dir)...)
	var total float64
	eventually(t, startLimit, func() (bool, string) {
		total = again.Total("acked", "1h")
		return total >= float64(before), fmt.Sprintf("%s: %v of the %d acknowledged before", name, total, before)
	})
	require.LessOrEqual(t, total, float64(after), name)
	again.RequireTotal(total, "acked")
	retry := &numbered{client: &http.Client{Timeout: 10 * time.Second}, url: "http://" + again.HTTP + "/api/ingest"}
	defer retry.client.CloseIdleConnections()
	for _, sequence := range []int64{max(1, before-900), before} {
		duplicate, err := retry.post(sequence)
		require.NoError(t, err)
		require.True(t, duplicate, "%s: batch %d is counted again", name, sequence)
	}
	mustVerify(t, "--url", "http://"+again.HTTP)
	again.RequireTotal(total, "acked")
	again.MustStop()
	mustVerify(t, "--data-dir", dir)
	require.Equal(t, was, fingerprints(t, backup), "%s: the backup was changed", name)
}

// requireRefusals asks for what cannot be done.
func requireRefusals(t *testing.T, s *server, backup string) {
	t.Helper()
	url := []string{"--url", "http://" + s.HTTP}
	for _, args := range [][]string{
		append([]string{"backup", backup}, url...),
		append([]string{"backup", filepath.Join(s.Dir, "b")}, url...),
		append([]string{"backup", filepath.Join(t.TempDir(), "none", "b")}, url...),
		{"backup", filepath.Join(t.TempDir(), "b"), "--data-dir", s.Dir},
		{"backup", filepath.Join(t.TempDir(), "b"), "--url", "http://127.0.0.1:1"},
		{"restore", backup, "--data-dir", s.Dir},
		{"restore", s.Dir, "--data-dir", filepath.Join(t.TempDir(), "r")},
		{"serve", "--data-dir", backup, "--udp", "127.0.0.1:0", "--http", "127.0.0.1:0"},
	} {
		r := runCairn(t, args...)
		require.Equal(t, 1, r.code, "%v: %s", args, r.stdout)
		requireSentence(t, r.stderr)
	}
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(filepath.Join(s.Dir, "store"), link))
	for body, want := range map[string]int{
		`{"dir":"` + backup + `"}`: 409, `{"dir":"` + s.Dir + `/store/b"}`: 400, `{"dir":"` + link + `/b"}`: 400, `{"dir":"/"}`: 409, `{"dir":"/b\u0000"}`: 400,
		`{"dir":"b"}`: 400, `{"dir":"/` + strings.Repeat("x", 5000) + `"}`: 400,
	} {
		resp, err := s.client.Post("http://"+s.HTTP+"/api/backup", "application/json", bytes.NewReader([]byte(body)))
		require.NoError(t, err)
		var answer struct{ Error string }
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, resp.StatusCode, "%.80s: %s", body, answer.Error)
		require.NotEmpty(t, answer.Error)
	}
}
