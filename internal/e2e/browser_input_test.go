package e2e

import (
	"fmt"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// box is a rectangle on the page.
type box struct{ X, Y, Width, Height float64 }

// find waits for the element, brings it into view, and requires that nothing
// covers its middle.
func (p *tab) find(selector string) (b box) {
	p.t.Helper()
	eventually(p.t, drawnLimit, func() (bool, string) {
		found := eval[[]box](p, `(() => {
			const e = document.querySelector(%s);
			if (e === null) return [];
			e.scrollIntoView({block: 'nearest'});
			const r = e.getBoundingClientRect();
			const top = document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2);
			return e.contains(top) ? [{X: r.x, Y: r.y, Width: r.width, Height: r.height}] : [];
		})()`, selector)
		if len(found) > 0 {
			b = found[0]
		}
		return len(found) > 0, "nothing to click on at " + selector
	})
	return b
}

// click clicks with the mouse on the middle of the element.
func (p *tab) click(selector string) {
	p.t.Helper()
	b := p.find(selector)
	p.do(chromedp.MouseClickXY(b.X+b.Width/2, b.Y+b.Height/2))
}

// doubleClick clicks twice, as a quick hand does.
func (p *tab) doubleClick(x, y float64) {
	p.t.Helper()
	p.do(chromedp.MouseClickXY(x, y), chromedp.MouseClickXY(x, y, chromedp.ClickCount(2)))
}

// press presses keys, or types text.
func (p *tab) press(keys ...string) {
	p.t.Helper()
	for _, k := range keys {
		p.do(chromedp.KeyEvent(k))
	}
}

// focus gives the element the focus.
func (p *tab) focus(selector string) {
	p.t.Helper()
	p.do(chromedp.Focus(chromedp.CSS(selector)))
}

// choose chooses in a <select>, whose list is no part of the page.
func (p *tab) choose(id, value string) {
	p.t.Helper()
	p.find(hook(id))
	require.True(p.t, eval[bool](p, `(() => {
		const e = document.querySelector(%s), value = %s;
		e.value = value;
		e.dispatchEvent(new Event('change', {bubbles: true}));
		return e.value === value;
	})()`, hook(id), value), "%s has no choice %s", id, value)
}

// back presses the browser's back button.
func (p *tab) back() {
	p.t.Helper()
	eval[bool](p, `history.back() === undefined`)
}

// placeOf waits until one of the elements reads as text, and returns which; the
// first is 1.
func (p *tab) placeOf(selector, text string) (place int) {
	p.t.Helper()
	eventually(p.t, drawnLimit, func() (bool, string) {
		all := eval[[]string](p, `[...document.querySelectorAll(%s)].map((e) => e.textContent)`, selector)
		for i, got := range all {
			if got == text {
				place = i + 1
			}
		}
		return place > 0, fmt.Sprintf("%q is not among %q", text, all)
	})
	return place
}
