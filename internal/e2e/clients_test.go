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
	"slices"
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

// runClient runs a client of the server to its end. {HOST}, {PORT} and {N} in args
// are replaced.
func runClient(t *testing.T, s *server, env []string, args ...string) {
	t.Helper()
	host, port := hostPort(t, s.UDP)
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

func hostPort(t *testing.T, address string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	return host, port
}

// requireSent waits for the counts in k, for as many other events, of which some
// are notes, and compares everything in every tier: at once, when it is flushed,
// and after a restart.
func requireSent(t *testing.T, s *server, k *known, others, notes int, facts []fact) {
	t.Helper()
	events := k.events + others
	f := s.AwaitReceived(events)
	require.Zero(t, f.sum("cairn_events_rejected_total"), "%v", f.rejected())
	require.Zero(t, f["cairn_timestamps_ignored_total"])
	require.Equal(t, float64(notes), f[noted])
	names := map[string]bool{}
	for name, total := range k.totals {
		names[name] = true
		facts = append(facts, counted(name, total))
	}
	for _, f := range facts {
		names[f.metric] = true
	}
	require.Len(t, s.Metrics(), len(names), "it sent more than we know of")
	k.require(t, s)
	k.require(t, requireKept(t, s, events, facts))
}

// sumTo is 0 + 1 + ... + n-1.
func sumTo(n int) float64 { return float64(n * (n - 1) / 2) }

func TestClientPython(t *testing.T) {
	t.Parallel()
	s, k, n := startServer(t, "--udp", "etsy@127.0.0.1:0", "--tcp", "etsy@127.0.0.1:0"), newKnown(), clientCounts
	host, udp := hostPort(t, s.Listener("UDP", "etsy"))
	_, tcp := hostPort(t, s.Listener("TCP", "etsy"))
	runClient(t, s, nil, "/usr/bin/python3", "clients/send.py", host, udp, tcp, "{N}")
	k.add("py.hits", "", "", float64(n), n)
	k.add("py.sum", "", "", sumTo(n), n)
	k.add("py.stock", "", "", float64(-2*n), n)
	k.add("py.piped", "", "", float64(n-3), n+1)
	k.add("py.large", "", "", float64(4*n), n)
	k.add("pytcp.sum", "", "", sumTo(n), n)
	var facts []fact
	for _, p := range []string{"py.", "pytcp."} {
		facts = append(facts, distribution(p+"timing", 1, n, 1)...)
		facts = append(facts, distribution(p+"delta", 1, n, 1)...)
		facts = append(facts, gauge(p+"level", 100, 120, 69.5)...)
		facts = append(facts, gauge(p+"below", 0, -3)...)
		facts = append(facts, uniques(p+"set", 100))
	}
	requireSent(t, s, k, 2*(3*n+5), 0, facts)
}

func TestClientPythonDogStatsD(t *testing.T) {
	t.Parallel()
	s, k, n := startServer(t), newKnown(), clientCounts
	runClient(t, s, nil, "/usr/bin/python3", "clients/send_aio.py", "{HOST}", "{PORT}", "{N}")
	for i := 1; i <= n; i++ {
		k.add("aio.sum", []string{"prod", "dev"}[i%2], "eu", float64(i), 1)
	}
	k.add("aio.stock", "", "", float64(-2*n), n)
	facts := slices.Concat(levels("aio.level", n), distribution("aio.histogram", 1, n, 1), distribution("aio.distribution", 1, n, 1),
		distribution("aio.timing", 1, n, 1))
	for _, f := range facts {
		f.filter = "app:shop"
		facts = append(facts, f)
	}
	requireSent(t, s, k, 4*n, 0, facts)
}

// levels lists what is known of a gauge that was 0.5, 1.5, ... n-0.5.
func levels(metric string, n int) []fact {
	var readings []float64
	for i := range n {
		readings = append(readings, float64(i)+0.5)
	}
	return gauge(metric, readings...)
}

func TestClientPerl(t *testing.T) {
	t.Parallel()
	s, k, n := startServer(t), newKnown(), clientCounts
	runClient(t, s, nil, "/usr/bin/perl", "clients/send.pl", "{HOST}", "{PORT}", "{N}")
	k.add("perl.hits", "", "", float64(n), n)
	k.add("perl.stock", "", "", float64(-n), n)
	k.add("perl.sum", "", "", sumTo(n)+float64(n), n)
	k.add("perl.one", "", "", float64(5*n), n)
	k.add("perl.two", "", "", float64(5*n), n)
	requireSent(t, s, k, n+5, 0, slices.Concat(distribution("perl.timing", 1, n, 1), gauge("perl.level", 20, 5.25, 12),
		gauge("perl.other", 7), gauge("perl.third", 9.5)))
}

func TestClientRuby(t *testing.T) {
	t.Parallel()
	s, k, n := startServer(t), newKnown(), clientCounts
	runClient(t, s, nil, "/usr/bin/ruby", "clients/send.rb", "{HOST}", "{PORT}", "{N}")
	k.add("rb.Shop.hits", "", "", float64(n), n)
	k.add("rb.stock", "", "", float64(-n), n)
	k.add("rb.sum", "", "", sumTo(n)+float64(n), n)
	k.add("rb.batched", "", "", 1.5*float64(n), n)
	requireSent(t, s, k, 4*n, 0, slices.Concat(distribution("rb.timing", 1, n, 1), distribution("rb.batched_timing", 1, n, 1),
		levels("rb.level", n), []fact{uniques("rb.set", 100)}))
}

func TestClientHotShots(t *testing.T) {
	t.Parallel()
	modules, err := filepath.Abs("../../.tools/clients/node_modules")
	require.NoError(t, err)
	require.DirExists(t, filepath.Join(modules, "hot-shots"), "run internal/e2e/clients/install.sh")
	s := startServer(t, "--tcp", "127.0.0.1:0", "--uds", socketPath(t), "--udp", "127.0.0.1:0,etsy@127.0.0.1:0")
	k, n := newKnown(), clientCounts
	_, tcp := hostPort(t, s.Listener("TCP", "dogstatsd"))
	_, etsy := hostPort(t, s.Listener("UDP", "etsy"))
	env := []string{"NODE_PATH=" + modules}
	path, names := "", []string{"js.plain.", "js.buffered.", "js.tcp.", "js.telegraf."}
	native := exec.CommandContext(t.Context(), "node", "-e", "require('unix-dgram')")
	native.Env = cleanEnv(env)
	if out, err := native.CombinedOutput(); err == nil {
		path, names = s.Listener("UDS", "dogstatsd"), append(names, "js.uds.")
	} else {
		t.Logf("no Unix sockets: %v: %s", err, out)
	}
	runClient(t, s, env, "node", "clients/send.js", "{HOST}", "{PORT}", tcp, etsy, path, "{N}")
	others, facts := 3, gauge("js.changed", 100, 120, 69.5)
	for _, name := range names {
		for i := range n {
			env, region := []string{"prod", "dev"}[i%2], []string{"eu", "us", "ap"}[i%3]
			k.add(name+"hits", "", "", 1, 1)
			k.add(name+"orders", env, region, float64(i), 1)
			k.add(name+"stock", env, "<nil>", -2, 1) // without a region
			k.add(name+"one", "", "", 3, 1)
			k.add(name+"two", "", "", 3, 1)
		}
		others += 5 * n
		if name != "js.telegraf." { // it has no timestamps, events and checks
			k.add(name+"stamped", "prod", "eu", 5, 1)
			others += 3
			facts = append(facts, gauge(name+"measured", 4.25)...)
		}
		facts = slices.Concat(facts, distribution(name+"timing", 1, n, 1), distribution(name+"histogram", 1, n, 1),
			distribution(name+"distribution", 1, n, 1), []fact{
				uniques(name+"set", 100),
				{metric: name + "level", kind: "gauge", fn: "max", want: float64(n) + 0.5},
				{metric: name + "level", kind: "gauge", fn: "count", want: float64(n)},
				{metric: name + "level", kind: "gauge", fn: "min", want: 1.5, filter: "app:shop"},
			})
		if name != "js.uds." { // there it sends a buffer later that found no room, and so in another order
			facts = append(facts, fact{metric: name + "level", kind: "gauge", fn: "last", want: float64(n) + 0.5})
		}
	}
	s.AwaitReceived(k.events + others)
	require.Equal(t, map[string]float64{"shop": clientCounts}, s.By("js.buffered.hits", "1s", "app"))
	requireSent(t, s, k, others, 2*(len(names)-1), facts)
}

func TestClientNetcat(t *testing.T) {
	t.Parallel()
	const n = 20
	s, k := startServer(t, "--tcp", "127.0.0.1:0", "--uds", socketPath(t)), newKnown()
	for range n {
		// Not from a pipe: with -w0 it ends without a word if its input is not
		// there at once, as that of `printf ... | nc` may not be.
		runClient(t, s, nil, "bash", "-c", "nc.openbsd -u -w0 {HOST} {PORT} <<< 'nc.hits:3|c|#env:prod,region:eu'")
		k.add("nc.hits", "prod", "eu", 3, 1)
	}
	runClient(t, s, nil, "bash", "-c", "nc.openbsd -u -w0 {HOST} {PORT} <<< \"$(seq -f 'nc.sum:%.0f|c' 1 100)\"")
	k.add("nc.sum", "", "", 5050, 100)

	_, tcp := hostPort(t, s.Listener("TCP", "dogstatsd"))
	var facts []fact
	for sort, command := range map[string]string{
		"udp": "nc.openbsd -u -w0 {HOST} {PORT}", "tcp": "nc.openbsd -N {HOST} " + tcp, "uds": "nc.openbsd -uU -w0 " + s.Listener("UDS", "dogstatsd"),
	} {
		p := "nc." + sort + "."
		lines := []string{
			p + "level:5|g", p + "level:-3|g", p + "timer:1:2:3:4|ms", p + "timer:5|h|@0.5", p + "set:a|s", p + "set:b|s", "_sc|" + p + "|0",
		}
		runClient(t, s, nil, "bash", "-c", command+" <<< '"+strings.Join(lines, "\n")+"'")
		facts = slices.Concat(facts, gauge(p+"level", 5, -3), []fact{
			uniques(p+"set", 2), {metric: p + "timer", kind: "distribution", fn: "sum", want: 20}, {metric: p + "timer", kind: "distribution", fn: "count", want: 6},
		})
	}
	requireSent(t, s, k, 3*10, 3, facts)
}

func TestClientBash(t *testing.T) {
	t.Parallel()
	s, k := startServer(t, "--tcp", "127.0.0.1:0"), newKnown()
	runClient(t, s, nil, "bash", "-c", "for i in $(seq {N}); do printf \"bash.sum:$i|c\" > /dev/udp/{HOST}/{PORT}; done")
	k.add("bash.sum", "", "", sumTo(clientCounts)+clientCounts, clientCounts)
	_, tcp := hostPort(t, s.Listener("TCP", "dogstatsd"))
	runClient(t, s, nil, "bash", "-c", "for i in $(seq {N}); do echo \"bash.timer:$i|ms\"; done > /dev/tcp/{HOST}/"+tcp)
	// The line that the server suggests when it starts.
	suggested := regexp.MustCompile(`send a count +(.*)\n`).FindStringSubmatch(s.stdout.String())
	require.NotNil(t, suggested)
	runClient(t, s, nil, "bash", "-c", suggested[1])
	k.add("signups", "prod", "<nil>", 1, 1)
	requireSent(t, s, k, clientCounts, 0, distribution("bash.timer", 1, clientCounts, 1))
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
	others := []fact{
		{metric: "shop.gunicorn.request.duration", kind: "distribution", fn: "count", want: found + missing},
		{metric: "shop.gunicorn.workers", kind: "gauge", fn: "max", want: 2},
	}
	requireFacts(t, s, others)
	require.Zero(t, f.sum("cairn_events_rejected_total"), "%v", f.rejected())
	require.GreaterOrEqual(t, f[accepted], float64(k.events+found+missing+1))
	require.GreaterOrEqual(t, len(s.Metrics()), len(k.totals)+2, "%v", s.Metrics())
	s.MustStop()
	s = startServer(t, "--data-dir", s.Dir)
	k.require(t, s)
	requireFacts(t, s, others)
}
