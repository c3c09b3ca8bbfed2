//go:build clients

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clientCounts is how often each script sends each of its counts: several
// buffers full.
const clientCounts = 1000

// client runs a client of the server to its end. {HOST}, {PORT} and {N} in args
// are replaced.
func client(t *testing.T, s *server, env []string, args ...string) {
	t.Helper()
	host, port, err := net.SplitHostPort(s.UDP)
	require.NoError(t, err)
	fill := strings.NewReplacer("{HOST}", host, "{PORT}", port, "{N}", strconv.Itoa(clientCounts))
	for i := range args {
		args[i] = fill.Replace(args[i])
	}
	path, err := exec.LookPath(args[0])
	require.NoError(t, err, "run internal/e2e/clients/install.sh")
	cmd := exec.CommandContext(t.Context(), path, args[1:]...)
	cmd.Env = cleanEnv(env)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%v: %s", args, out)
	require.Empty(t, string(out), "%v", args)
}

// requireCounted waits for the events and compares totals in every tier: at
// once, when they are flushed, and after a restart.
func requireCounted(t *testing.T, s *server, k *known) {
	t.Helper()
	s.AwaitReceived(k.events)
	k.require(t, s)
	s.AwaitFlushed(func() { k.require(t, s) })
	require.Zero(t, s.Figures().sum("cairn_events_rejected_total"))
	require.Len(t, s.Metrics(), len(k.totals), "it sent more than we know of")
	s.MustStop()
	k.require(t, startServer(t, "--data-dir", s.Dir))
}

// sumTo is 0 + 1 + ... + n-1.
func sumTo(n int) float64 { return float64(n * (n - 1) / 2) }

func TestClientPython(t *testing.T) {
	t.Parallel()
	s, k, n := startServer(t), newKnown(), clientCounts
	client(t, s, nil, "/usr/bin/python3", "clients/send.py", "{HOST}", "{PORT}", "{N}")
	k.add("py.hits", "", "", float64(n), n)
	k.add("py.sum", "", "", sumTo(n), n)
	k.add("py.stock", "", "", float64(-2*n), n)
	k.add("py.piped", "", "", float64(n-3), n+1)
	k.add("py.large", "", "", float64(4*n), n)
	requireCounted(t, s, k)
}

func TestClientPerl(t *testing.T) {
	t.Parallel()
	s, k, n := startServer(t), newKnown(), clientCounts
	client(t, s, nil, "/usr/bin/perl", "clients/send.pl", "{HOST}", "{PORT}", "{N}")
	k.add("perl.hits", "", "", float64(n), n)
	k.add("perl.stock", "", "", float64(-n), n)
	k.add("perl.sum", "", "", sumTo(n)+float64(n), n)
	k.add("perl.one", "", "", float64(5*n), n)
	k.add("perl.two", "", "", float64(5*n), n)
	requireCounted(t, s, k)
}

func TestClientHotShots(t *testing.T) {
	t.Parallel()
	modules, err := filepath.Abs("../../.tools/clients/node_modules")
	require.NoError(t, err)
	require.DirExists(t, filepath.Join(modules, "hot-shots"), "run internal/e2e/clients/install.sh")
	s, k := startServer(t), newKnown()
	client(t, s, []string{"NODE_PATH=" + modules}, "node", "clients/send.js", "{HOST}", "{PORT}", "{N}")
	for _, name := range []string{"js.plain.", "js.buffered."} {
		for i := range clientCounts {
			env, region := []string{"prod", "dev"}[i%2], []string{"eu", "us", "ap"}[i%3]
			k.add(name+"hits", "", "", 1, 1)
			k.add(name+"orders", env, region, float64(i), 1)
			k.add(name+"stock", env, "<nil>", -2, 1) // without a region
			k.add(name+"one", "", "", 3, 1)
			k.add(name+"two", "", "", 3, 1)
		}
	}
	s.AwaitReceived(k.events)
	require.Equal(t, map[string]float64{"shop": clientCounts}, s.By("js.buffered.hits", "1s", "app"))
	requireCounted(t, s, k)
}

func TestClientNetcat(t *testing.T) {
	t.Parallel()
	const n = 20
	s, k := startServer(t), newKnown()
	for range n {
		// Not from a pipe: with -w0 it ends without a word if its input is not
		// there at once, as that of `printf ... | nc` may not be.
		client(t, s, nil, "bash", "-c", "nc.openbsd -u -w0 {HOST} {PORT} <<< 'nc.hits:3|c|#env:prod,region:eu'")
		k.add("nc.hits", "prod", "eu", 3, 1)
	}
	client(t, s, nil, "bash", "-c", "nc.openbsd -u -w0 {HOST} {PORT} <<< \"$(seq -f 'nc.sum:%.0f|c' 1 100)\"")
	k.add("nc.sum", "", "", 5050, 100)
	requireCounted(t, s, k)
}

func TestClientBash(t *testing.T) {
	t.Parallel()
	s, k := startServer(t), newKnown()
	client(t, s, nil, "bash", "-c", "for i in $(seq {N}); do printf \"bash.sum:$i|c\" > /dev/udp/{HOST}/{PORT}; done")
	k.add("bash.sum", "", "", sumTo(clientCounts)+clientCounts, clientCounts)
	// The line that the server suggests when it starts.
	suggested := regexp.MustCompile(`send a count +(.*)\n`).FindStringSubmatch(s.stdout.String())
	require.NotNil(t, suggested)
	client(t, s, nil, "bash", "-c", suggested[1])
	k.add("signups", "prod", "<nil>", 1, 1)
	requireCounted(t, s, k)
}

// startGunicorn starts gunicorn in front of clients/app.py and returns its
// address and how to stop it.
func startGunicorn(t *testing.T, s *server) (address string, stop func()) {
	t.Helper()
	cmd := exec.Command("/usr/bin/gunicorn", "--statsd-host", s.UDP, "--statsd-prefix", "shop", "--bind", "127.0.0.1:0",
		"--workers", "2", "--worker-tmp-dir", t.TempDir(), "--chdir", "clients", "app:app")
	log := new(transcript)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(cleanEnv(nil), "PYTHONDONTWRITEBYTECODE=1")
	cmd.SysProcAttr = child()
	require.NoError(t, cmd.Start(), "run internal/e2e/clients/install.sh")
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			_ = cmd.Process.Kill() // its workers see that and end
			<-done
		}
	})
	listening := regexp.MustCompile(`Listening at: http://(\S+)`)
	eventually(t, startLimit, func() (bool, string) {
		m := listening.FindStringSubmatch(log.String())
		if m != nil {
			address = m[1]
		}
		return m != nil && strings.Count(log.String(), "Booting worker") == 2, log.String()
	})
	return address, func() {
		t.Helper()
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		limit := time.NewTimer(stopLimit)
		defer limit.Stop()
		select {
		case err := <-done:
			stopped = true
			require.NoError(t, err, log.String())
		case <-limit.C:
			require.FailNow(t, "gunicorn does not end", log.String())
		}
	}
}

func TestClientGunicorn(t *testing.T) {
	t.Parallel()
	const found, missing = 120, 80
	s := startServer(t)
	address, stop := startGunicorn(t, s)
	web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: seenLimit}
	for i := range found + missing {
		path := "/"
		if i >= found {
			path = "/nothing"
		}
		resp, err := web.Get("http://" + address + path)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}

	k := newKnown()
	k.add("shop.gunicorn.requests", "", "", found+missing, found+missing)
	k.add("shop.gunicorn.request.status.200", "", "", found, found)
	k.add("shop.gunicorn.request.status.404", "", "", missing, missing)
	// Before it is stopped: a worker answers first and counts then.
	eventually(t, seenLimit, func() (bool, string) {
		got := s.Total("shop.gunicorn.request.status.404", "1s") + s.Total("shop.gunicorn.request.status.200", "1s")
		return got >= found+missing, fmt.Sprintf("%v requests of %d are counted", got, found+missing)
	})
	stop()
	s.AwaitFlushed(func() {})
	k.require(t, s)
	f := s.Figures()
	requireBalance(t, f)
	// Besides these, a timer for each request, and at least one gauge of the workers.
	require.Zero(t, f.sum("cairn_events_rejected_total"), "%v", f.rejected())
	require.GreaterOrEqual(t, f[accepted], float64(k.events+found+missing+1))
	require.GreaterOrEqual(t, len(s.Metrics()), len(k.totals)+2, "%v", s.Metrics())
	s.MustStop()
	k.require(t, startServer(t, "--data-dir", s.Dir))
}
