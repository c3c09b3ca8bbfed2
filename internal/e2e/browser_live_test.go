package e2e

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// tile is a metric on the page Live. Value is -1 without one.
type tile struct {
	Metric, Kind, Href, Text string
	Value                    float64
	Bars                     int // pixels of the picture that are not empty
}

// live is what the page Live shows at one moment.
type live struct {
	Tiles    []tile
	From, To int64
	Empty    bool
	Count    string
	Rate     string
}

const liveScript = `(() => {
	const one = (id, inside = document) => inside.querySelector('[data-testid="' + id + '"]');
	const copy = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
	const drawn = (c) => {
		if (c.width === 0) return 0;
		Object.assign(copy.canvas, {width: c.width, height: c.height});
		copy.drawImage(c, 0, 0);
		return copy.getImageData(0, 0, c.width, c.height - 1).data.filter((v, i) => (i & 3) === 3 && v > 100).length;
	};
	return {
		Tiles: [...document.querySelectorAll('[data-testid="live-tile"]')].map((e) => ({
			Metric: e.dataset.metric, Kind: e.dataset.kind, Href: e.href, Text: e.textContent,
			Value: JSON.parse(one('live-figure', e).dataset.value || '-1'), Bars: drawn(e.querySelector('canvas')),
		})),
		From: Number(one('live-span')?.dataset.from ?? 0), To: Number(one('live-span')?.dataset.to ?? 0),
		Empty: document.querySelector('#empty') !== null,
		Count: one('live-count')?.textContent ?? '', Rate: one('events-rate')?.textContent ?? '',
	};
})()`

// of returns the tile of a metric.
func (l live) of(metric, kind string) (tile, bool) {
	for _, x := range l.Tiles {
		if x.Metric == metric && x.Kind == kind {
			return x, true
		}
	}
	return tile{}, false
}

// untilLive looks at Live until it is as it should be.
func (p *tab) untilLive(want string, done func(live) bool) (l live) {
	p.t.Helper()
	eventually(p.t, drawnLimit, func() (bool, string) {
		l = eval[live](p, liveScript)
		return done(l), fmt.Sprintf("Live should show %s, but shows %+v", want, l)
	})
	return l
}

// untilTile waits for a metric with this figure and a picture.
func (p *tab) untilTile(metric, kind string, value float64) (live, tile) {
	p.t.Helper()
	l := p.untilLive(fmt.Sprint(metric, " with ", value), func(l live) bool {
		x, ok := l.of(metric, kind)
		return ok && x.Value == value && x.Bars > 0
	})
	x, _ := l.of(metric, kind)
	return l, x
}

// mark leaves something on the page that loading it anew would lose.
func (p *tab) mark() { eval[int](p, `window.marked = 1`) }

func (p *tab) requireNotReloaded() {
	p.t.Helper()
	require.Equal(p.t, 1, eval[int](p, `window.marked ?? 0`), "the page was loaded anew")
}

// browserLive: what is sent appears by itself, with the figure that the API gives, and a
// click leads to Explore.
func browserLive(t *testing.T, b *browser) {
	s := startServer(t)
	p := b.open(t, s, "/")
	p.untilLive("how to send the first event", func(l live) bool { return l.Empty })
	require.Equal(t, "Live – Cairn", eval[string](p, `document.title`))
	p.mark()

	s.Send("signups:3|c|#env:prod", "signups:4|c|#env:dev")
	l, x := p.untilTile("signups", "counter", 7)
	require.False(t, l.Empty)
	q := s.Query(url.Values{"metric": {"signups"}, "from": {fmt.Sprint(l.From)}, "to": {fmt.Sprint(l.To)}, "step": {"2s"}})
	require.Equal(t, x.Value, q.Total)

	s.Send("level:20.5|g", "wait:120|ms", "wait:120|ms", "people:a|s", "people:b|s", "people:a|s", "signups:1|c")
	p.untilTile("signups", "counter", 8)
	p.untilTile("level", "gauge", 20.5)
	l = p.untilLive("all kinds", func(l live) bool {
		wait, ok := l.of("wait", "distribution")
		people, ok2 := l.of("people", "set")
		return ok && ok2 && wait.Value > 118 && wait.Value < 122 && people.Value == 2
	})
	require.Equal(t, "4 moving", l.Count)
	p.untilLive("how many events come", func(l live) bool { return l.Rate != "–" })

	p.click(hook("live-search"))
	p.press("s", "g", "n")
	p.untilLive("what was searched for", func(l live) bool { return len(l.Tiles) == 1 && l.Count == "1 of 4" })
	p.press("x", "q")
	p.untilLive("that nothing is", func(l live) bool { return len(l.Tiles) == 0 && l.Count == "0 of 4" })
	p.press(kb.Backspace, kb.Backspace)
	p.untilTile("signups", "counter", 8)
	p.click(hook("live-tile") + `[data-metric="signups"]`)
	got := p.untilTotal(8)
	require.Equal(t, []string{"signups"}, got.setting("m"))
	require.Equal(t, "signups – Cairn", eval[string](p, `document.title`))
	p.back()
	p.untilTile("signups", "counter", 8)
	p.requireNotReloaded()
}

// browserPages goes through the pages by keyboard, and by links.
func browserPages(t *testing.T, b *browser) {
	s := startServer(t)
	s.Send("apples:1|c", "pears:2|c")
	s.AwaitReceived(2)
	p := b.open(t, s, "/")
	p.mark()
	current := func(want string) {
		t.Helper()
		eventually(t, drawnLimit, func() (bool, string) {
			got := eval[[]string](p, `[...document.querySelectorAll('nav [aria-current="page"]')].map((e) => e.textContent).concat(document.title)`)
			return len(got) == 2 && got[0] == want && (got[1] == want+" – Cairn" || want == "Explore"), fmt.Sprintf("the current page is %q", got)
		})
	}
	current("Live")
	p.untilTile("pears", "counter", 2)
	for range 2 {
		eventually(t, drawnLimit, func() (bool, string) {
			p.press(kb.Tab)
			at := eval[string](p, `document.activeElement?.dataset.testid ?? ''`)
			return at == "page-metrics", "Tab came to " + at
		})
		p.press(kb.Enter)
		current("Metrics")
		p.find(hook("metrics-row"))
		p.click(hook("page-explore"))
		p.until(drawnLimit, "a chart", func(s shown) bool { return s.Ready && s.Total > 0 })
		current("Explore")
		p.click(hook("page-live"))
		current("Live")
		p.untilTile("apples", "counter", 1)
	}
	p.back()
	current("Explore")
	p.requireNotReloaded()
	for _, x := range []struct{ path, name string }{
		{"/?m=apples", "Explore"}, {"/#explore", "Explore"}, {"/#metrics", "Metrics"}, {"/", "Live"}, {"/#nonsense", "Live"}, {"/#metrics/counter/%E0%A4%A", "Metrics"},
	} {
		p.do(chromedp.Navigate("about:blank")) // a fragment alone would load nothing
		p.goTo(x.path)
		current(x.name)
	}
}

// browserLiveHeals: the page shows that the server is away, and goes on by itself.
func browserLiveHeals(t *testing.T, b *browser) {
	s := startServer(t)
	s.Send("steady:41|c")
	p := b.open(t, s, "/")
	p.untilTile("steady", "counter", 41)
	p.mark()
	p.serverAway(true)
	s.MustStop()
	lost := p.until(drawnLimit, "that the server is lost", func(s shown) bool { return s.Live == "lost" && s.Offline != "" })
	require.Contains(t, lost.Offline, "Cannot reach Cairn since")
	x, ok := eval[live](p, liveScript).of("steady", "counter")
	require.True(t, ok, "what was known stays on the page")
	require.Equal(t, 41.0, x.Value)

	s = startServer(t, "--data-dir", s.Dir, "--udp", s.UDP, "--http", s.HTTP)
	s.Send("steady:1|c", "fresh:5|c")
	p.untilTile("steady", "counter", 42)
	p.untilTile("fresh", "counter", 5)
	p.until(drawnLimit, "that all is well", func(s shown) bool { return s.Live == "ok" && s.Offline == "" })
	p.requireNotReloaded()
	streams := 0
	for _, u := range p.requests() {
		if strings.Contains(u, "/api/stream?") {
			streams++
		}
	}
	require.GreaterOrEqual(t, streams, 3, "two streams, and at least one anew")
}

// browserLiveOrder: the busiest metric is first, and a later one takes its place, but not
// while somebody points at the tiles.
func browserLiveOrder(t *testing.T, b *browser) {
	s := startServer(t)
	p := b.open(t, s, "/")
	until := func(busy, calm, first string) {
		t.Helper()
		p.untilLive(first+" first", func(l live) bool {
			s.Send(append(slices.Repeat([]string{busy + ":1|c"}, 30), calm+":1|c")...)
			return len(l.Tiles) == 2 && l.Tiles[0].Metric == first
		})
	}
	until("busy", "calm", "busy")
	until("calm", "busy", "calm")
	tile := p.find(hook("live-tile"))
	p.do(chromedp.MouseEvent("mouseMoved", tile.X+4, tile.Y+4))
	until("busy", "calm", "calm") // at once
	count := 0
	const figure = `document.querySelector('[data-metric="busy"] [data-testid="live-figure"]').dataset.value`
	was := eval[string](p, figure)
	eventually(t, drawnLimit, func() (bool, string) {
		s.Send(slices.Repeat([]string{"busy:1|c"}, 30)...)
		if now := eval[string](p, figure); now != was {
			was = now
			count++
		}
		return count > 6, fmt.Sprintf("%d answers came", count)
	})
	require.Equal(t, "calm", eval[live](p, liveScript).Tiles[0].Metric, "a tile left the pointer")
	p.do(chromedp.MouseEvent("mouseMoved", 4, 4))
	until("busy", "calm", "busy")
}

// browserWithoutStreams: where streams fail, the page asks each second.
func browserWithoutStreams(t *testing.T, b *browser) {
	s := startServer(t)
	s.Send("steady:41|c")
	p := b.blank(t, s)
	p.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
			Source: `window.EventSource = class {
				addEventListener(name, f) { if (name === 'error') setTimeout(() => f(new Event(name))); }
				close() {}
			}`,
		})
		return err
	}))
	p.goTo("/")
	p.untilTile("steady", "counter", 41)
	s.Send("steady:1|c", "fresh:5|c")
	p.untilTile("steady", "counter", 42)
	p.untilTile("fresh", "counter", 5)
	require.NotContains(t, strings.Join(p.requests(), "\n"), "/api/stream")
}

// browserHostileLive: names and tags stay text on Live and Metrics.
func browserHostileLive(t *testing.T, b *browser) {
	s := startServer(t)
	s.Send("plain:1|c")
	s.AwaitReceived(1)
	names := []string{"plain"}
	p := b.open(t, s, "/")
	p.untilTile("plain", "counter", 1)
	const count = `document.querySelectorAll('script, img, svg, iframe, object, embed, [onerror], [onload]').length`
	elements := eval[int](p, count)
	for i, text := range hostile {
		name := strings.NewReplacer(":", "-", "/", "-", " ", "_").Replace(fmt.Sprintf("%d%s", i, text))
		s.Send(fmt.Sprintf("%s:%d|c|#k:%s", name, i+2, text))
		names = append(names, name)
	}
	p.size(1280, 2400) // all are in the window
	p.untilLive("all names", func(l live) bool {
		for _, name := range names {
			if _, ok := l.of(name, "counter"); !ok {
				return false
			}
		}
		return true
	})
	for _, x := range eval[live](p, liveScript).Tiles {
		require.Contains(t, x.Text, x.Metric)
	}
	const tooWide = `document.documentElement.scrollWidth - innerWidth`
	require.Equal(t, elements, eval[int](p, count))
	require.LessOrEqual(t, eval[int](p, tooWide), 0)

	for i, name := range names[1:] {
		p.goTo("/?m=plain")
		p.goTo("/#metrics/counter/" + url.PathEscape(name))
		eventually(t, drawnLimit, func() (bool, string) {
			got := eval[string](p, `document.querySelector('[data-testid="metric-detail"]')?.textContent ?? ''`)
			return strings.Contains(got, name) && strings.Contains(got, "1 value"), fmt.Sprintf("the details of %q are %q", name, got)
		})
		require.Equal(t, elements, eval[int](p, count))
		require.LessOrEqual(t, eval[int](p, tooWide), 0)
		p.click(hook("detail-key") + " summary")
		p.click(hook("detail-value"))
		p.untilTotal(float64(i + 2))
	}
}

// browserManyMetrics: 1,000 metrics stay usable, because only what is seen is on the page.
func browserManyMetrics(t *testing.T, b *browser) {
	const many = 1000
	s := startServer(t)
	for i := range many {
		s.Send(fmt.Sprintf("many.m%04d:%d|c|#k:v", i, i+1))
	}
	s.AwaitReceived(many)
	p := b.open(t, s, "/")
	l := p.untilLive("1,000 metrics", func(l live) bool { return l.Count == "1,000 moving" })
	require.Less(t, len(l.Tiles), 100)
	p.click(hook("live-search"))
	p.press("m0777")
	p.untilLive("the one", func(l live) bool { return len(l.Tiles) == 1 && l.Tiles[0].Value == 778 })
	p.press(kb.Backspace, kb.Backspace, kb.Backspace, kb.Backspace, kb.Backspace)
	p.untilLive("all again", func(l live) bool { return l.Count == "1,000 moving" && len(l.Tiles) > 10 })
	eval[bool](p, `scrollTo(0, document.documentElement.scrollHeight) === undefined`)
	first := l.Tiles[0].Metric
	p.untilLive("the last ones", func(l live) bool {
		_, top := l.of(first, "counter")
		return !top && len(l.Tiles) > 10
	})

	p.goTo("/#metrics")
	rows := func(want string, done func(rows []string, count string) bool) {
		t.Helper()
		eventually(t, drawnLimit, func() (bool, string) {
			got := eval[[]string](p, `[...document.querySelectorAll('[data-testid="metrics-row"]')].map((e) => e.dataset.metric)`)
			count := eval[string](p, `document.querySelector('[data-testid="metrics-count"]')?.textContent ?? ''`)
			return done(got, count), fmt.Sprintf("want %s; there are %q, and %q", want, count, got)
		})
	}
	rows("all", func(rows []string, count string) bool {
		return count == "1,000 in all" && len(rows) > 10 && len(rows) < 100 && rows[0] == "many.m0000"
	})
	p.click(hook("metrics-sort-metric"))
	rows("the last first", func(rows []string, _ string) bool { return len(rows) > 0 && rows[0] == "many.m0999" })
	eval[bool](p, `scrollTo(0, document.documentElement.scrollHeight) === undefined`)
	rows("the first last", func(rows []string, _ string) bool {
		return len(rows) > 10 && rows[len(rows)-1] == "many.m0000"
	})
}

// browserMetrics searches, sorts and opens details.
func browserMetrics(t *testing.T, b *browser) {
	s := startServer(t)
	s.Send("few:1|c|#env:prod", "wide:1|c|#env:prod,host:a", "wide:2|c|#env:prod,host:b", "wide:4|c|#env:dev,host:c", "temperature:3|g", "both:1|c", "both:1|g")
	s.AwaitReceived(7)
	p := b.open(t, s, "/#metrics")
	p.mark()
	is := func(want ...string) {
		t.Helper()
		eventually(t, drawnLimit, func() (bool, string) {
			got := eval[[]string](p, `[...document.querySelectorAll('[data-testid="metrics-row"]')].map((e) => e.dataset.kind[0] + ' ' + e.dataset.metric)`)
			return strings.Join(got, ",") == strings.Join(want, ","), fmt.Sprintf("the rows are %q, not %q", got, want)
		})
	}
	is("c both", "g both", "c few", "g temperature", "c wide")
	require.Equal(t, 2, eval[int](p, `document.querySelectorAll('[data-testid="mark-conflict"]').length`))
	p.click(hook("metrics-sort-series"))
	is("c wide", "c both", "g both", "c few", "g temperature")
	p.click(hook("metrics-sort-kind"))
	is("c both", "c few", "c wide", "g both", "g temperature")
	p.click(hook("metrics-search"))
	p.press("w", "d")
	is("c wide")
	p.click(hook("metrics-row"))
	detail := func(want ...string) {
		t.Helper()
		eventually(t, drawnLimit, func() (bool, string) {
			got := eval[string](p, `document.querySelector('[data-testid="metric-detail"]')?.innerText ?? ''`)
			ok := got != ""
			for _, part := range want {
				ok = ok && strings.Contains(got, part)
			}
			return ok, fmt.Sprintf("the details should have %q, but are %q", want, got)
		})
	}
	detail("wide", "3 series", "3 values", "2 values", "most values")
	require.Equal(t, "host", eval[string](p, `document.querySelector('[data-testid="detail-drives"]').closest('details').dataset.key`))
	require.Equal(t, "/#metrics/counter/wide", eval[string](p, `location.pathname + location.hash`))
	p.click(hook("detail-key") + `[data-key="env"] summary`)
	require.Equal(t, "prod 2", eval[string](p, `document.querySelector('[data-key="env"] li').innerText.replace(/\s+/g, ' ')`))
	p.click(hook("detail-key") + `[data-key="env"] [data-value="prod"]`)
	got := p.untilTotal(3)
	require.Equal(t, []string{"wide"}, got.setting("m"))
	require.Equal(t, []string{"env:prod"}, got.setting("f"))
	p.back()
	detail("wide", "most values")

	eventually(t, drawnLimit, func() (bool, string) {
		s.Send("wide:8|c|#env:prod,host:d") // what is over soon is not busy any more
		got := eval[[]string](p, `[...document.querySelectorAll('[data-testid="detail-hot"]')].map((e) => e.textContent)`)
		return strings.Contains(strings.Join(got, "\n"), "hostd"), fmt.Sprintf("the busiest series are %q", got)
	})
	p.goTo("/#metrics/gauge/both")
	detail("both", "gauge", "Its events have no tags.")
	p.click(hook("detail-explore"))
	got = p.until(drawnLimit, "the gauge", func(s shown) bool { return s.Ready && s.TotalKind == "gauge" && s.Total == 1 })
	require.Equal(t, []string{"gauge"}, got.setting("kind"))
	p.requireNotReloaded()
}

// browserLiveRefused: a query that reaches a limit is told of, and those of other kinds go on.
func browserLiveRefused(t *testing.T, b *browser) {
	s := startServer(t, "--max-query-series", "2")
	s.Send("a:1|c", "b:2|c", "c:3|c", "level:4|g")
	s.AwaitReceived(4)
	p := b.blank(t, s)
	p.serverAway(true) // the browser notes what is refused
	p.goTo("/")
	p.untilTile("level", "gauge", 4)
	eventually(t, drawnLimit, func() (bool, string) {
		got := p.look().Error
		return strings.Contains(got, "series") && strings.Contains(got, "The counters below are those of the last answer"), got
	})
	s.Send("level:5|g")
	p.untilTile("level", "gauge", 5)
}
