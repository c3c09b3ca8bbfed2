package e2e

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// untilFn waits until the page shows a function's number, and requires that it is
// the API's, and that the chart has a point for each bucket with an event.
func (p *tab) untilFn(s *server, kind, fn, text string) shown {
	p.t.Helper()
	got := p.until(drawnLimit, kind+" "+fn, func(s shown) bool {
		return s.Ready && s.TotalKind == kind && s.TotalFn == fn && s.Result.Fn == fn && s.TotalText == text
	})
	r := got.Result
	require.Equal(p.t, kind, r.Kind)
	want := s.Query(url.Values{
		"metric": {r.Metric}, "kind": {kind}, "fn": {fn}, "step": {fmt.Sprintf("%ds", r.Step)},
		"from": {fmt.Sprint(r.From)}, "to": {fmt.Sprint(r.To)},
	})
	require.Equal(p.t, want.Total, got.Total)
	require.Equal(p.t, filled(want), got.Points)
	return got
}

// pressed returns which of the chart types is chosen.
func (p *tab) pressed() string {
	p.t.Helper()
	return eval[string](p, `document.querySelector('[data-testid^="type-"][aria-pressed="true"]').dataset.testid`)
}

func (p *tab) count(selector string) int {
	p.t.Helper()
	return eval[int](p, `document.querySelectorAll(%s).length`, selector)
}

func browserKinds(t *testing.T, b *browser) {
	s := startServer(t)
	for i := range 100 {
		s.Send(fmt.Sprintf("took:%d|ms|#k:a", i+1), fmt.Sprintf("who:user%d|s", i%7))
	}
	s.Send("hits:20|c|#k:a", "hits:22|c|#k:b", "level:12|g|#k:a", "level:8.5|g|#k:a", "took:1000|ms|#k:b", "level:3|g|#k:b")
	s.AwaitReceived(206)
	p := b.open(t, s, "/?m=hits&range=15m")

	got := p.untilFn(s, "counter", "count", "42")
	require.Equal(t, "type-bars", p.pressed())
	require.Empty(t, got.setting("fn"))
	require.Empty(t, got.setting("type"))
	p.click(hook("fn-rate"))
	got = p.untilFn(s, "counter", "rate", "42")
	require.Equal(t, "type-lines", p.pressed())
	require.Equal(t, []string{"rate"}, got.setting("fn"))
	require.Equal(t, 1, p.count(hook("type-stacked")))

	// A gauge has no rate; its default takes over.
	p.pick("level")
	got = p.untilFn(s, "gauge", "last", brief(s, "level", "last"))
	require.Empty(t, got.setting("fn"))
	require.Empty(t, got.setting("kind"), "the name alone tells")
	require.Equal(t, "type-lines", p.pressed())
	require.Zero(t, p.count(hook("type-stacked")), "readings on one another are no reading")
	require.Zero(t, p.count(hook("sort-rate")), "a reading has no rate")
	p.choose("fn", "max")
	got = p.untilFn(s, "gauge", "max", "12")
	require.Equal(t, []string{"max"}, got.setting("fn"))

	// A distribution has a maximum, too.
	p.pick("took")
	p.untilFn(s, "distribution", "max", "1,000")
	p.choose("fn", "p95")
	got = p.untilFn(s, "distribution", "p95", brief(s, "took", "p95"))
	require.Empty(t, got.setting("fn"), "the default is not in the link")
	require.InDelta(t, 95, got.Total, 2)
	p.choose("fn", "count")
	p.untilFn(s, "distribution", "count", "101")
	require.Equal(t, "type-bars", p.pressed())
	p.choose("fn", "above")
	p.untilFn(s, "distribution", "above:0", "100%")
	p.choose("fn-threshold", "500")
	got = p.untilFn(s, "distribution", "above:500", "0.9901%")
	require.Equal(t, []string{"above:500"}, got.setting("fn"))
	require.InDelta(t, 1.0/101, got.Total, 1e-9)
	p.choose("fn", "below")
	got = p.untilFn(s, "distribution", "below:500", "99.01%")

	// The link alone shows the same.
	u, err := url.Parse(got.Href)
	require.NoError(t, err)
	b.open(t, s, u.RequestURI()).untilFn(s, "distribution", "below:500", "99.01%")

	p.pick("who")
	got = p.untilFn(s, "set", "uniques", "7")
	require.Empty(t, got.setting("fn"))
	require.Equal(t, "type-bars", p.pressed())
	require.Zero(t, p.count(hook("type-stacked")), "who comes twice is one")

	// An average of nothing is no number, and no zero.
	p.goTo(window("level", 1_600_000_000, 1_600_000_600, "fn=avg"))
	none := p.until(drawnLimit, "no number", func(s shown) bool { return s.Ready && s.TotalFn == "avg" })
	require.Equal(t, "–", none.TotalText)
	require.Equal(t, -1.0, none.Total)
	require.Empty(t, none.Error)

	// What a link asks for and the kind lacks is refused in a sentence.
	p.goTo("/?m=level&fn=p95&type=stacked")
	refused := p.until(drawnLimit, "a refusal", func(s shown) bool { return s.Error != "" })
	require.Contains(t, refused.Error, "gauge")
	p.serverRefuses()
}

// serverRefuses forgets the browser's own note of a refused request.
func (p *tab) serverRefuses() {
	p.t.Helper()
	for _, n := range p.noted() {
		require.Contains(p.t, n, "400", "only the refusal is to be noted")
	}
	p.serverAway(true)
}

// brief is how the page writes a number of the last quarter of an hour, which has
// no more than four digits.
func brief(s *server, metric, fn string) string {
	s.t.Helper()
	v := s.Query(url.Values{"metric": {metric}, "fn": {fn}, "from": {"-15m"}}).Total
	return strings.TrimSuffix(fmt.Sprintf("%.4g", v), ".0")
}

// pick chooses a metric from the list; kind is needed where the name has several.
func (p *tab) pick(name string, kind ...string) {
	p.t.Helper()
	p.click(hook("metric-input"))
	p.click(fmt.Sprintf(`%s[title=%q]%s`, hook("metric-option"), name, func() string {
		if len(kind) == 0 {
			return ""
		}
		return fmt.Sprintf("[data-kind=%q]", kind[0])
	}()))
}

func browserConflictAndOverflow(t *testing.T, b *browser) {
	s := startServer(t, "--max-series-per-metric", "3")
	s.Send("twice:5|c", "twice:7|g", "plain:1|c", "plain:1|c")
	for i := range 6 {
		s.Send(fmt.Sprintf("wide:1|c|#k:%d", i))
	}
	s.AwaitReceived(10)
	p := b.open(t, s, "/?m=twice&range=15m")
	got := p.untilTotal(5)
	warning := eval[string](p, `document.querySelector('[data-testid="warning"]').textContent`)
	require.Contains(t, warning, "a counter and a gauge")
	require.Equal(t, "counter", eval[string](p, `document.querySelector('[data-testid="metric-kind"]').textContent`))
	require.Empty(t, got.setting("kind"))

	p.click(hook("metric-input"))
	marks := func(metric, mark string) int {
		return p.count(hook("metric-option") + fmt.Sprintf("[title=%q] ", metric) + hook(mark))
	}
	require.Equal(t, 2, marks("twice", "mark-conflict"), "a mark at each kind of the name")
	require.Equal(t, 0, marks("twice", "mark-overflow"))
	require.Equal(t, 1, marks("wide", "mark-overflow"))
	require.Equal(t, 0, marks("wide", "mark-conflict"))
	require.Equal(t, 0, marks("plain", "mark-conflict")+marks("plain", "mark-overflow"))
	for _, mark := range []string{"mark-conflict", "mark-overflow"} {
		require.Regexp(t, `^[A-Z].*\.$`, eval[string](p, `document.querySelector(%s).title`, hook(mark)))
	}
	p.click(hook("metric-option") + `[data-kind="gauge"]`)
	gauge := p.untilFn(s, "gauge", "last", "7")
	require.Equal(t, []string{"gauge"}, gauge.setting("kind"))
	require.Empty(t, gauge.Warnings, "the link says which one it is")
	p.choose("fn", "count")
	require.Equal(t, []string{"gauge"}, p.untilFn(s, "gauge", "count", "1").setting("kind"))

	p.pick("wide")
	wide := p.untilFn(s, "counter", "count", "6")
	require.Empty(t, wide.setting("kind"))
	require.Len(t, wide.Warnings, 1)
	require.Contains(t, wide.Warnings[0], "cardinality limit")
	p.pick("twice", "counter")
	require.Equal(t, []string{"counter"}, p.untilFn(s, "counter", "count", "5").setting("kind"))

	// A link without a kind stays with the kind that it showed.
	p.goTo("/?m=twice&range=15m&fn=avg")
	p.untilFn(s, "gauge", "avg", "7")
	p.choose("fn", "count")
	require.Equal(t, []string{"gauge"}, p.untilFn(s, "gauge", "count", "1").setting("kind"))
}

// browserHostileKinds: names, tags and functions in links stay text for the other
// kinds, too.
func browserHostileKinds(t *testing.T, b *browser) {
	s := startServer(t)
	const evil = `<img-src=x-onerror=alert(1)>`
	for _, line := range []string{evil + ":1.5|g|#k:" + evil, evil + ":3|c|#k:" + evil, evil + ":4|ms|#k:" + evil, evil + ":" + evil + "|s|#k:" + evil} {
		s.Send(line)
	}
	s.AwaitReceived(4)
	p := b.open(t, s, "/?m="+url.QueryEscape(evil)+"&range=15m&by=k")
	p.untilTotal(3)
	elements := p.count("img, script, svg, iframe, [onerror]")
	// The first pick is of what is shown already: then only the link changes.
	for _, of := range [][2]string{{"counter", "3"}, {"gauge", "1.5"}, {"distribution", ""}, {"set", "1"}, {"counter", "3"}} {
		kind, want := of[0], of[1]
		p.pick(evil, kind)
		p.until(drawnLimit, kind, func(s shown) bool {
			return s.Ready && s.TotalKind == kind && (want == "" || s.TotalText == want) && slices.Equal(s.setting("kind"), []string{kind})
		})
		require.Equal(t, evil, eval[string](p, `document.querySelector('h1').textContent`))
		require.Equal(t, elements, p.count("img, script, svg, iframe, [onerror]"))
	}
	for _, link := range []string{"&kind=__proto__", "&kind=distribution&fn=" + url.QueryEscape(evil), "&kind=distribution&fn=above:" + url.QueryEscape(evil), "&kind=constructor&fn=toString"} {
		p.goTo("/?m=" + url.QueryEscape(evil) + link)
		p.until(drawnLimit, "a refusal of "+link, func(s shown) bool { return s.Error != "" })
		require.Equal(t, elements, p.count("img, script, svg, iframe, [onerror]"))
		p.serverRefuses()
	}
}

// browserLevels: lines scale to their values, bars begin at zero, and a second
// without a reading is a gap in both.
func browserLevels(t *testing.T, b *browser) {
	const n, gap = 12, 6
	s := startServer(t)
	from := time.Now().Unix() - 60
	var lines []string
	for i := range int64(n) {
		if i != gap {
			lines = append(lines, fmt.Sprintf("temperature:%d|g|T%d", 1000+10*(i/3%2), from+i))
		}
	}
	s.Send(lines...)
	s.AwaitReceived(len(lines))
	p := b.open(t, s, window("temperature", from, from+n, "step=1s"))
	p.untilFn(s, "gauge", "last", "1,010")
	seen := p.readBars(n)
	require.Less(t, seen.Height[1], 0.2, "the lowest reading is at the bottom")
	require.Greater(t, seen.Height[4], 0.8, "the highest one is at the top")
	require.Zero(t, seen.Height[gap])

	p.click(hook("type-bars"))
	p.until(drawnLimit, "bars", func(s shown) bool { return s.Ready && len(s.setting("type")) == 1 })
	seen = p.readBars(n)
	require.InDelta(t, 1000.0/1010, seen.Height[1]/seen.Height[4], 0.01, "the length of a bar is its value")
	require.Zero(t, seen.Height[gap])
}
