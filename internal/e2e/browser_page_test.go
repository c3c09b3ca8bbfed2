package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// pageLimit is the product's promise: an event is on the page within it.
const pageLimit = 2 * time.Second

func browserFirstVisit(t *testing.T, b *browser) {
	s := startServer(t)
	p := b.open(t, s, "/#explore")
	host, port, err := net.SplitHostPort(s.UDP)
	require.NoError(t, err)
	want := fmt.Sprintf("printf 'signups:1|c|#env:prod' > /dev/udp/%s/%s", host, port)
	const line = `document.querySelector('#send-line')?.textContent ?? ''`
	eventually(t, drawnLimit, func() (bool, string) {
		got := eval[string](p, line)
		return got == want, fmt.Sprintf("the line to copy is %q", got)
	})
	require.Contains(t, s.stdout.String(), want, "the terminal and the page must give the same line")
	require.True(t, p.look().Empty)

	begin := time.Now()
	out, err := exec.Command("bash", "-c", eval[string](p, line)).CombinedOutput()
	require.NoError(t, err, "%s", out)
	got := p.until(drawnLimit, "the first event", func(s shown) bool { return s.Total == 1 })
	took := time.Since(begin)
	t.Logf("the first event was on the page after %s", took)
	require.LessOrEqual(t, took, pageLimit)
	require.False(t, got.Empty)
	got = p.until(drawnLimit, "one bar", func(s shown) bool { return s.Ready && s.Points == 1 })
	require.Equal(t, []string{"signups"}, got.setting("m"))
	require.Equal(t, 1.0, s.Total("signups", "1s"))
}

func browserLatency(t *testing.T, b *browser) {
	const rounds = 6
	s := startServer(t)
	s.Send("beat:1|c|#k:v")
	p := b.open(t, s, "/?m=beat")
	p.untilTotal(1)
	var slowest time.Duration
	for round := range rounds {
		begin := time.Now()
		s.Send("beat:1|c|#k:v")
		want := float64(round + 2)
		p.until(drawnLimit, fmt.Sprint("the total ", want), func(s shown) bool { return s.Total == want })
		took := time.Since(begin)
		require.LessOrEqual(t, took, pageLimit, "round %d", round)
		slowest = max(slowest, took)
	}
	t.Logf("of %d events, the slowest was on the page after %s", rounds, slowest)
}

// browserWatch proves that the other tests would fail: what they forbid is done
// here, and each must be noticed.
func browserWatch(t *testing.T, b *browser) {
	s := startServer(t)
	p := b.open(t, s, "/")
	p.until(drawnLimit, "the empty state", func(s shown) bool { return s.Empty })
	require.Empty(t, p.noted())
	for _, c := range []struct{ fault, script string }{
		{"exception", `setTimeout(() => { throw new Error('on purpose'); }, 0)`},
		{"console.error", `console.error('on purpose')`},
		{"Content Security Policy", `{const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i);}`},
		{"Content Security Policy", `{const i = document.createElement('script'); i.textContent = 'document.title = 1'; document.body.append(i);}`},
		{"Content Security Policy", `{const i = document.createElement('div'); i.setAttribute('onclick', 'alert(1)'); document.body.append(i);}`},
		{"404", `fetch('/nowhere')`},
		{"a dialog", `setTimeout(() => alert('on purpose'), 0)`}, // last: it blocks the page
	} {
		eval[any](p, c.script+`; 1`)
		var all []string
		eventually(t, drawnLimit, func() (bool, string) {
			all = append(all, p.noted()...)
			return strings.Contains(strings.Join(all, "\n"), c.fault), fmt.Sprintf("after %s only %q was noted", c.script, all)
		})
	}
}

func browserRequests(t *testing.T, b *browser) {
	s := startServer(t)
	s.Send("visits:3|c|#env:prod", "other:1|c")
	for _, path := range []string{"/", "/index.html", "/js/main.js", "/api/status", "/nowhere"} {
		resp, _ := s.Get(path, nil)
		policy := resp.Header.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'", path)
		require.NotContains(t, policy, "unsafe", path)
		require.NotContains(t, policy, "http", path)
		require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"), path)
	}
	p := b.open(t, s, "/?m=visits&range=5m")
	p.untilTotal(3)
	for _, id := range []string{"theme", "theme", "theme", "by-env", "type-stacked", "type-lines", "fn-rate", "filter-add", "filter-add", "range-absolute", "range-absolute", "range-24h", "metric-input"} {
		p.click(hook(id))
	}
	// What left for another host, the tab notes as a problem by itself.
	asked := strings.Join(p.requests(), "\n")
	for _, part := range []string{"/js/main.js", "/app.css", "/favicon.svg", "/api/status", "/api/metrics", "/api/tags?", "/api/query?"} {
		require.Contains(t, asked, "http://"+s.HTTP+part)
	}
	require.NotContains(t, asked, "data:text")
}

func browserLostServer(t *testing.T, b *browser) {
	s := startServer(t)
	s.Send("steady:41|c|#env:prod")
	p := b.open(t, s, "/?m=steady&by=env")
	before := p.untilTotal(41)
	require.Empty(t, before.Offline)

	p.serverAway(true)
	s.MustStop()
	lost := p.until(drawnLimit, "that the server is lost", func(s shown) bool { return s.Live == "lost" && s.Offline != "" })
	require.Contains(t, lost.Offline, "Cannot reach Cairn since")
	require.Equal(t, 41.0, lost.Total, "what was known stays on the page")
	require.Empty(t, lost.Error)

	s = startServer(t, "--data-dir", s.Dir, "--udp", s.UDP, "--http", s.HTTP)
	s.Send("steady:1|c|#env:prod")
	after := p.until(drawnLimit, "the old and the new events", func(s shown) bool { return s.Total == 42 && s.Offline == "" })
	require.Equal(t, "ok", after.Live)
	require.Equal(t, before.Href, after.Href)
	require.Equal(t, 42.0, s.Total("steady", "1s"))
}

func browserKeyboard(t *testing.T, b *browser) {
	s := startServer(t)
	s.Send("apples:1|c", "bananas:2|c", "cherries:3|c", "dates:4|c")
	p := b.open(t, s, "/?m=apples")
	p.untilTotal(1)
	eventually(t, drawnLimit, func() (bool, string) {
		p.press(kb.Tab)
		at := eval[string](p, `document.activeElement?.dataset.testid ?? ''`)
		return at == "metric-input", "Tab came to " + at
	})
	options := func(n int) {
		eventually(t, drawnLimit, func() (bool, string) {
			got := eval[int](p, `document.querySelectorAll('[data-testid="metric-option"]').length`)
			return got == n, fmt.Sprintf("%d metrics are listed, not %d", got, n)
		})
	}
	options(4)
	p.press(kb.ArrowDown, kb.ArrowDown, kb.ArrowUp, kb.ArrowDown, kb.Enter)
	got := p.untilTotal(3)
	require.Equal(t, []string{"cherries"}, got.setting("m"))

	// By name: a few letters find it, Escape leaves it as it was.
	p.focus(hook("metric-input"))
	p.press("d", "t", "s")
	options(1)
	p.press(kb.Enter)
	require.Equal(t, []string{"dates"}, p.untilTotal(4).setting("m"))
	p.focus(hook("metric-input"))
	p.press("a", kb.Escape)
	options(0)
	require.Equal(t, []string{"dates"}, p.look().setting("m"))
}

// browserFrozenServer: a server that is there but does not answer.
func browserFrozenServer(t *testing.T, b *browser) {
	s := startServer(t)
	s.Send("steady:41|c")
	p := b.open(t, s, "/?m=steady")
	p.untilTotal(41)
	s.Signal(syscall.SIGSTOP)
	slow := p.until(drawnLimit, "that the server does not answer", func(s shown) bool { return s.Live == "slow" && s.Offline != "" })
	require.Contains(t, slow.Offline, "has not answered since")
	s.Signal(syscall.SIGCONT)
	p.until(drawnLimit, "that all is well", func(s shown) bool { return s.Live == "ok" && s.Offline == "" && s.Total == 41 })
}
