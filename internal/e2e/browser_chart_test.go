package e2e

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// shopping sends counts over the ten minutes before now, and returns their sum.
func shopping(s *server, now int64) float64 {
	total := int64(0)
	for env, weight := range map[string]int64{"prod": 7, "staging": 2, "dev": 1} {
		for region, more := range map[string]int64{"eu": 1, "us": 3} {
			for host := range int64(2) {
				var lines []string
				for i := range int64(10) {
					n := weight*more + i*host
					lines = append(lines, stamped("orders", n, now-30-i*60, fmt.Sprintf("env:%s,region:%s,host:web-%d", env, region, host)))
					total += n
				}
				s.Send(lines...)
			}
		}
	}
	s.AwaitReceived(120)
	return float64(total)
}

func browserFilters(t *testing.T, b *browser) {
	s := startServer(t)
	now := time.Now().Unix()
	all := shopping(s, now)
	p := b.open(t, s, window("orders", now-900, now+60))
	first := p.untilTotal(all)
	require.Equal(t, all, p.query(s, first.Result).Total)

	p.click(hook("by-env"))
	p.until(drawnLimit, "three groups", func(s shown) bool { return s.Ready && len(s.Rows) == 3 })
	p.click(hook("by-region"))
	grouped := p.until(drawnLimit, "six groups", func(s shown) bool { return s.Ready && len(s.Rows) == 6 })
	require.Equal(t, all, grouped.Total)
	require.Equal(t, all, sum(grouped.Rows))

	p.click(hook("filter-add"))
	p.click(hook("filter-key") + `[data-key="region"]`)
	p.click(hook("filter-value") + `[data-value="eu"]`)
	eu := p.query(s, first.Result, "region:eu").Total
	require.Less(t, eu, all)
	p.untilTotal(eu)
	p.click(hook("filter-key") + `[data-key="env"]`)
	p.click(hook("filter-exclude"))
	p.click(hook("filter-value") + `[data-value="dev"]`)
	want := p.query(s, first.Result, "region:eu", "!env:dev").Total
	require.Less(t, want, eu)
	both := p.untilTotal(want)
	require.Equal(t, []string{"region:eu", "!env:dev"}, both.setting("f"))
	require.Equal(t, []string{"region:eu", "!env:dev"}, both.Chips)
	require.Equal(t, []string{"env", "region"}, both.setting("by"))
	require.Len(t, both.Rows, 2)
	require.Equal(t, want, sum(both.Rows))

	// The link alone, in a window that shares nothing with this one.
	u, err := url.Parse(both.Href)
	require.NoError(t, err)
	copied := b.open(t, s, u.RequestURI()).untilTotal(want)
	require.Equal(t, both.Rows, copied.Rows)
	require.Equal(t, both.Chips, copied.Chips)
	require.Equal(t, both.Points, copied.Points)

	p.back()
	require.Equal(t, []string{"region:eu"}, p.untilTotal(eu).Chips)
	p.back()
	require.Empty(t, p.untilTotal(all).Chips)
	p.back()
	p.until(drawnLimit, "three groups again", func(s shown) bool { return s.Ready && len(s.Rows) == 3 })
	p.back()
	p.until(drawnLimit, "no group again", func(s shown) bool { return s.Ready && len(s.Rows) == 1 && len(s.setting("by")) == 0 })

	// Operators in a link are kept as they are, beside what the panel adds.
	p.goTo(window("orders", now-900, now+60, "f="+url.QueryEscape("region=~e.*")))
	require.Equal(t, []string{"region=~e.*"}, p.untilTotal(eu).Chips)
	p.click(hook("filter-add"))
	p.click(hook("filter-key") + `[data-key="env"]`)
	p.click(hook("filter-exclude"))
	p.click(hook("filter-value") + `[data-value="dev"]`)
	require.Equal(t, []string{"region=~e.*", "!env:dev"}, p.untilTotal(want).Chips)
}

func browserTiers(t *testing.T, b *browser) {
	s := startServer(t)
	now := time.Now().Unix()
	var lines []string
	want := int64(0)
	for i := range int64(100) {
		lines = append(lines, stamped("steps", i+1, now-1-i*70, ""))
		want += i + 1
	}
	s.Send(lines...)
	s.AwaitReceived(100)
	p := b.open(t, s, window("steps", now-7200, now+60))
	p.untilTotal(float64(want))
	for step, seconds := range map[string]string{"1s": "1", "10s": "10", "1m": "60", "1h": "3600"} {
		p.choose("step", step)
		got := p.until(drawnLimit, "step "+step, func(s shown) bool { return s.Ready && s.Step == seconds })
		require.Equal(t, step, got.Tier)
		require.Equal(t, float64(want), got.Total)
		require.Equal(t, []string{step}, got.setting("step"))
		require.Equal(t, filled(got.Result), got.Points, "each bucket with an event is drawn")
	}
}

// filled counts the buckets with an event.
func filled(a answer) (n int) {
	for _, row := range a.Series {
		for _, v := range row.Values {
			if v != nil {
				n++
			}
		}
	}
	return n
}

func browserChartTypes(t *testing.T, b *browser) {
	s := startServer(t)
	now := time.Now().Unix()
	all := shopping(s, now)
	// Sealed as a whole, so that nothing but the type changes the picture.
	from, to := now-600-now%60, now-60-now%60
	p := b.open(t, s, window("orders", from, to, "by=env", "step=1m"))
	eventually(t, drawnLimit, func() (bool, string) {
		r := p.look().Result
		return r.SealedUntil >= r.To && r.To == to, "the window is not sealed"
	})
	first := p.until(drawnLimit, "three groups", func(s shown) bool { return s.Ready && len(s.Rows) == 3 })
	require.Less(t, first.Total, all)
	require.Equal(t, p.query(s, first.Result).Total, first.Total)
	pictures := map[string]string{}
	for _, kind := range []string{"stacked", "lines", "bars"} {
		p.click(hook("type-" + kind))
		got := p.until(drawnLimit, kind, func(s shown) bool { return s.Ready && len(s.setting("type")) == 1 && s.setting("type")[0] == kind })
		require.Equal(t, first.Total, got.Total)
		require.Equal(t, first.Total, sum(got.Rows))
		require.Equal(t, filled(first.Result), got.Points)
		picture := eval[string](p, `document.querySelector('#chart canvas').toDataURL()`)
		for other, old := range pictures {
			require.NotEqual(t, old, picture, "%s looks like %s", kind, other)
		}
		pictures[kind] = picture
	}
}

// bars is what the canvas shows of each bucket of a window: how high its ink
// reaches above the zero line as a part of the plotting area, and how much of
// that is ink. Grid is where the lines of the value axis are, by the last bucket
// without an event.
type bars struct{ Height, Ink, Grid []float64 }

// readBars reads the middle half of each of n equal buckets. Grid lines are too
// faint to be taken for ink.
func (p *tab) readBars(n int) bars {
	p.t.Helper()
	return eval[bars](p, `(() => {
		const n = %s, canvas = document.querySelector('#chart canvas'), over = document.querySelector('#chart .u-over');
		const copy = document.createElement('canvas');
		copy.width = canvas.width;
		copy.height = canvas.height;
		const ctx = copy.getContext('2d', {willReadFrequently: true});
		ctx.drawImage(canvas, 0, 0);
		const c = canvas.getBoundingClientRect(), o = over.getBoundingClientRect(), ratio = canvas.width / c.width;
		const left = (o.x - c.x) * ratio, top = Math.round((o.y - c.y) * ratio), width = o.width * ratio / n, height = Math.round(o.height * ratio);
		const out = {Height: [], Ink: [], Grid: []};
		for (let i = 0; i < n; i++) {
			const w = Math.max(1, Math.round(width / 2));
			const px = ctx.getImageData(Math.round(left + (i + 0.25) * width), top, w, height).data;
			let highest = 0, ink = 0;
			for (let y = 0; y < height; y++) for (let x = 0; x < w; x++) {
				const alpha = px[4 * (y * w + x) + 3];
				if (alpha < 40) continue;
				highest = Math.max(highest, height - y);
				ink += alpha / 255;
			}
			const line = (y) => highest === 0 && px.subarray(4 * y * w, 4 * (y + 1) * w).every((v, j) => j %% 4 !== 3 || v > 0);
			const grid = Array.from({length: height}, (_, y) => y).filter(line).map((y) => (height - y) / height);
			if (grid.length > 0) out.Grid = grid;
			out.Height.push(highest / height);
			out.Ink.push(highest === 0 ? 0 : ink / (highest * w));
		}
		return out;
	})()`, n)
}

func browserBarHeights(t *testing.T, b *browser) {
	const n, highest = 20, 300
	s := startServer(t)
	from := time.Now().Unix() - 120
	counts := make([]float64, n)
	var lines []string
	for i := range int64(n) {
		if i%5 == 4 {
			continue // a second without an event
		}
		count := highest - (n-2-i)*16
		counts[i] = float64(count)
		lines = append(lines, stamped("heights", count, from+i, ""))
	}
	s.Send(lines...)
	s.AwaitReceived(len(lines))
	p := b.open(t, s, window("heights", from, from+n, "step=1s"))
	got := p.untilTotal(sum(counts))
	require.Equal(t, len(lines), got.Points)
	for i, v := range got.Result.Series[0].Values {
		if counts[i] == 0 {
			require.Nil(t, v, "bucket %d", i)
		} else {
			require.Equal(t, counts[i], *v, "bucket %d", i)
		}
	}
	seen := p.readBars(n)
	require.Greater(t, seen.Height[n-2], 0.8, "the highest bar fills the chart")
	// The axis has a line at 300, whether it counts in fifties or in hundreds.
	require.NotEmpty(t, seen.Grid)
	slices.Sort(seen.Grid)
	require.InDelta(t, seen.Grid[len(seen.Grid)-1], seen.Height[n-2], 0.008, "the highest bar ends at the line of its count; the lines are %v", seen.Grid)
	for i, count := range counts {
		// Two pixels of 270: rounding to whole pixels at both ends.
		require.InDelta(t, count/counts[n-2], seen.Height[i]/seen.Height[n-2], 0.008, "the height of bucket %d, which counts %v of %v", i, count, highest)
		if count > 0 {
			require.Greater(t, seen.Ink[i], 0.99, "bucket %d is sealed, and so solid", i)
		}
	}
}

func browserOpenBuckets(t *testing.T, b *browser) {
	const n, grace = 20, 5
	s := startServer(t, "--grace", strconv.Itoa(grace)+"s")
	now := time.Now().Unix()
	from := now - n + 2
	s.Send(stamped("wet", 10, from+1, ""), stamped("wet", 10, now, ""))
	s.AwaitReceived(2)
	p := b.open(t, s, window("wet", from, from+n, "step=1s"))
	open := p.untilTotal(20)
	require.True(t, open.Open, "the legend must explain the hatching")
	seen := p.readBars(n)
	require.Greater(t, seen.Ink[1], 0.99, "a sealed bar is solid")
	require.Less(t, seen.Ink[n-2], 0.8, "an open bar is hatched")
	require.Greater(t, seen.Ink[n-2], 0.2, "an open bar can be seen")
	require.InDelta(t, seen.Height[1], seen.Height[n-2], 0.008)

	// The page asks again by itself until all is sealed.
	done := p.until(drawnLimit, "no open bucket", func(s shown) bool { return s.Ready && !s.Open })
	require.Equal(t, 20.0, done.Total)
	require.GreaterOrEqual(t, time.Now().Unix(), from+n+grace, "sealed before the grace was over")
	require.Greater(t, p.readBars(n).Ink[n-2], 0.99, "it is sealed now, and so solid")
}

func browserZoom(t *testing.T, b *browser) {
	s := startServer(t)
	now := time.Now().Unix()
	all := shopping(s, now)
	p := b.open(t, s, "/?m=orders&range=15m")
	p.untilTotal(all)
	area := p.find("#chart .u-over")
	x := func(part float64) float64 { return area.X + part*area.Width }
	p.do(chromedp.DragAndDropXY(x(0.5), area.Y+100, x(0.8), area.Y+120))
	zoomed := p.until(drawnLimit, "a part of the window", func(s shown) bool { return s.Ready && len(s.setting("from")) == 1 && s.Total < all })
	r := zoomed.Result
	require.Equal(t, []string{fmt.Sprint(r.From)}, zoomed.setting("from"))
	require.Equal(t, []string{fmt.Sprint(r.To)}, zoomed.setting("to"))
	require.Empty(t, zoomed.setting("range"))
	require.InDelta(t, 0.3*900, float64(r.To-r.From), 15, "the part that was dragged over")
	require.Positive(t, zoomed.Total)
	require.Equal(t, p.query(s, r).Total, zoomed.Total)

	area = p.find("#chart .u-over")
	p.doubleClick(x(0.4), area.Y+100)
	back := p.untilTotal(all)
	require.Equal(t, []string{"15m"}, back.setting("range"))
	require.Empty(t, back.setting("from"))
}

// browserManyGroups: more groups than an answer lists stay exact and quick.
func browserManyGroups(t *testing.T, b *browser) {
	const groups = 150
	s := startServer(t)
	now := time.Now().Unix()
	want := 0.0
	for g := range int64(groups) {
		var lines []string
		for i := range int64(30) {
			lines = append(lines, stamped("busy", g+1, now-5-i*100, fmt.Sprintf("shard:s%03d", g)))
			want += float64(g + 1)
		}
		s.Send(lines...)
		s.AwaitReceived(int(g+1) * 30)
	}
	p := b.open(t, s, "/?m=busy&range=1h")
	p.untilTotal(want)
	begin := time.Now()
	p.click(hook("by-shard"))
	got := p.until(drawnLimit, "a hundred groups", func(s shown) bool { return s.Ready && len(s.Rows) == 100 })
	t.Logf("a hundred of %d groups were drawn after %s", groups, time.Since(begin))
	require.True(t, got.Result.Truncated)
	require.Equal(t, want, got.Total)
	require.Less(t, sum(got.Rows), want)
	note := eval[string](p, `document.querySelector('.legend').textContent`)
	rest := int(want - sum(got.Rows))
	require.Contains(t, note, fmt.Sprintf("together %d,%03d", rest/1000, rest%1000))
	for _, kind := range []string{"stacked", "lines", "bars"} {
		p.click(hook("type-" + kind))
		p.until(drawnLimit, kind, func(s shown) bool { return s.Ready && s.setting("type")[0] == kind && s.Points == got.Points })
	}
}
