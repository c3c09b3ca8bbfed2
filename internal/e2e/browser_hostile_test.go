package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// hostile is text that a careless page would run, cut or misread. None of it has
// a character that ends a part of a StatsD line.
var hostile = []string{
	`<img src=x onerror=alert(1)>`,
	`"><script>alert(2)</script>`,
	`'"` + "`" + ` quoted & \back\slash`,
	`${alert(3)} {{7*7}} </title><svg/onload=alert(4)>`,
	`javascript:alert(5)`,
	strings.Repeat("long-", 49),
	"\u202eשלום-مرحبا",
	"🪨 Ωλ—naïve \u200bzero",
	`!not*any?a=b&c=d%%25+e`,
	`__proto__`,
}

func browserHostileNames(t *testing.T, b *browser) {
	s := startServer(t)
	names := map[string]string{} // by the text in the tags
	for i, text := range hostile {
		// A name ends at a colon, a tag's value may hold one; the server makes
		// names tidy. A ';' would begin tags.
		name := fmt.Sprintf("%d%s", i, strings.ReplaceAll(text, ":", "."))
		names[text] = strings.NewReplacer("/", "-", " ", "_").Replace(name)
		s.Send(fmt.Sprintf("%s:%d|c|#k:%s", name, i+2, text), fmt.Sprintf("all:%d|c|#k:%s,%s", i+2, text, text))
	}
	s.AwaitReceived(2 * len(hostile))
	p := b.open(t, s, "/?m=all")
	p.until(drawnLimit, "all", func(s shown) bool { return s.Ready && s.Total > 0 })
	const count = `document.querySelectorAll('script, img, svg, iframe, object, embed, [onerror], [onload], [style*="expression"]').length`
	elements := eval[int](p, count)
	known := s.Metrics()

	p.click(hook("by-k"))
	got := p.until(drawnLimit, "a row each", func(s shown) bool { return s.Ready && len(s.Rows) == len(hostile) })
	require.Equal(t, got.Total, sum(got.Rows))
	legend := eval[string](p, `document.querySelector('.legend').textContent`)
	for i, text := range hostile {
		require.Contains(t, legend, text)
		require.Contains(t, known, names[text])
		want := float64(i + 2)

		// As a filter, by clicks; the API must understand what the page makes of it.
		p.goTo("/?m=all&range=1h")
		p.click(hook("filter-add"))
		p.click(hook("filter-key") + `[data-key="k"]`)
		p.click(fmt.Sprintf(`%s:nth-child(%d)`, hook("filter-value"), p.placeOf(hook("filter-value")+" .cut", text)))
		p.untilTotal(want)
		require.Empty(t, p.look().Error, text)

		// As a key to group by; all the others have no such key.
		key, _, _ := strings.Cut(text, ":")
		p.goTo("/?m=all&range=1h")
		p.click(fmt.Sprintf(`[aria-label="Group by"] button:nth-of-type(%d)`, p.placeOf(`[aria-label="Group by"] button`, key)))
		groups := p.until(drawnLimit, "two groups", func(s shown) bool { return s.Ready && len(s.Rows) == 2 })
		require.Equal(t, []string{key}, groups.setting("by"))
		require.Contains(t, groups.Rows, want)

		// As a metric, from the list.
		p.click(hook("metric-input"))
		p.click(fmt.Sprintf(`%s:nth-child(%d)`, hook("metric-option"), p.placeOf(hook("metric-option")+" .cut", names[text])))
		chosen := p.untilTotal(want)
		require.Equal(t, []string{names[text]}, chosen.setting("m"))
		require.Equal(t, names[text], eval[string](p, `document.querySelector('h1').textContent`))
		require.Equal(t, names[text]+" – Cairn", eval[string](p, `document.title`))
		require.Equal(t, elements, eval[int](p, count), "an element came out of %s", text)
		require.LessOrEqual(t, eval[int](p, `document.documentElement.scrollWidth - innerWidth`), 0, "the page is wider than the window for %s", text)
	}
}
