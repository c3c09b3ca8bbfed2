package e2e

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// heaviest is how many bytes a picture of the docs may have.
const heaviest = 150_000

// settled tells whether the page shows all that it is going to show: on Live, the metrics in
// order, and how many events come.
const settled = `document.querySelector('#chart')?.dataset.ready === '1' || document.querySelector('#send-line') !== null ||
	document.querySelectorAll('[data-testid="metrics-row"]').length > 5 && (!location.hash.includes('/') || document.querySelector('[data-testid="detail-hot"]') !== null) ||
	document.querySelectorAll('[data-testid="live-tile"]').length > 5 && document.querySelector('[data-testid="events-rate"]').textContent !== '–' &&
	[...document.querySelectorAll('[data-testid="live-rate"]')].every((e) => e.textContent !== '')`

// TestBrowserScreenshots takes the pictures of the docs; `make screenshots` runs it.
func TestBrowserScreenshots(t *testing.T) {
	dir := os.Getenv("CAIRN_SCREENSHOTS")
	if dir == "" {
		t.Skip("CAIRN_SCREENSHOTS names no directory to put pictures in")
	}
	require.NoError(t, os.MkdirAll(dir, 0o755))
	b := startBrowser(t)
	demo := startDemo(t)
	for _, shot := range []struct {
		file, theme   string
		width, height int64
		server        *server
		path          string
	}{
		{"explore-light.png", "light", 1280, 800, demo, "/?m=shop.orders&by=region&type=stacked&range=1h&step=1m"},
		{"explore-dark.png", "dark", 1280, 800, demo, "/?m=shop.orders&by=region&type=stacked&range=1h&step=1m"},
		{"incident.png", "light", 1280, 800, demo, "/?m=shop.errors&by=service&by=region&type=lines&range=1h&step=1m"},
		{"phone.png", "light", 390, 844, demo, "/?m=shop.orders&by=region&type=stacked&range=1h&step=1m"},
		{"live-light.png", "light", 1280, 800, demo, "/"},
		{"live-dark.png", "dark", 1280, 800, demo, "/"},
		{"live-phone-light.png", "light", 390, 844, demo, "/"},
		{"live-phone-dark.png", "dark", 390, 844, demo, "/"},
		{"metrics-light.png", "light", 1280, 800, demo, "/#metrics/counter/shop.orders"},
		{"metrics-dark.png", "dark", 1280, 800, demo, "/#metrics/counter/shop.orders"},
		{"metrics-phone-light.png", "light", 390, 844, demo, "/#metrics"},
		{"metrics-phone-dark.png", "dark", 390, 844, demo, "/#metrics/counter/shop.orders"},
		{"empty.png", "light", 1280, 800, startServer(t, usualPort()...), "/"},
	} {
		p := b.blank(t, shot.server)
		p.size(shot.width, shot.height)
		p.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
			_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: shot.theme}},
			})
			return err
		}))
		p.goTo(shot.path)
		// No scrollbar is drawn, so the space for it would puzzle.
		eval[string](p, `document.documentElement.style.scrollbarGutter = 'auto'`)
		eventually(t, drawnLimit, func() (bool, string) {
			return eval[bool](p, settled), shot.file + " is not drawn"
		})
		picture := act(p, chromedp.CaptureScreenshot())
		require.Less(t, len(picture), heaviest, shot.file)
		require.NoError(t, os.WriteFile(filepath.Join(dir, shot.file), picture, 0o644))
	}
}

// usualPort asks for the port that readers will have, if it is free.
func usualPort() []string {
	const usual = "127.0.0.1:8125"
	c, err := net.ListenPacket("udp", usual)
	if err != nil {
		return nil
	}
	_ = c.Close() // nothing was sent
	return []string{"--udp", usual}
}

// startDemo starts `cairn demo` and waits until it has made up its history.
func startDemo(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, stdout: new(transcript), client: &http.Client{Timeout: 15 * time.Second}}
	s.cmd = exec.Command(binary, "demo", "--seed", "7", "--udp", "127.0.0.1:0", "--http", "127.0.0.1:0")
	s.cmd.Env = cleanEnv(nil)
	s.cmd.Stdout, s.cmd.Stderr = s.stdout, s.stdout
	s.cmd.SysProcAttr = child()
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it removes its data dir
		require.NoError(t, s.cmd.Wait(), s.stdout)
	})
	ready := regexp.MustCompile(`dashboard +http://(\S+)\n`)
	eventually(t, startLimit, func() (bool, string) {
		m := ready.FindStringSubmatch(s.stdout.String())
		if m != nil {
			s.HTTP = m[1]
		}
		return m != nil, s.stdout.String()
	})
	eventually(t, startLimit, func() (bool, string) {
		// The latest hour comes first, so the oldest is the last.
		day := s.Query(map[string][]string{"metric": {"shop.page_views"}, "from": {"-24h"}, "step": {"1h"}})
		return len(day.Series) == 1 && day.Series[0].Values[1] != nil, "the history is not complete"
	})
	return s
}
