package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

const (
	answerLimit = 20 * time.Second // for one command to the browser, on a busy machine
	drawnLimit  = 15 * time.Second // for the page to show something, where speed is not the question
)

// TestBrowser runs the dashboard in a real browser against a real server. All of
// it shares one browser, because a browser takes a second to start; each test has
// windows of its own, which share no storage.
func TestBrowser(t *testing.T) {
	b := startBrowser(t)
	// First and alone: what they measure should be the product, not our other tests.
	t.Run("FirstVisit", func(t *testing.T) { browserFirstVisit(t, b) })
	t.Run("ACountIsOnThePageWithinTwoSeconds", func(t *testing.T) { browserLatency(t, b) })
	for name, test := range map[string]func(*testing.T, *browser){
		"TheWatchSeesFaults":         browserWatch,
		"OnlyItsOwnServerIsAsked":    browserRequests,
		"FiltersGroupsAndURL":        browserFilters,
		"TiersAgree":                 browserTiers,
		"ChartTypes":                 browserChartTypes,
		"BarsAreAsHighAsTheirCounts": browserBarHeights,
		"OpenBucketsLookOpen":        browserOpenBuckets,
		"ZoomByDrag":                 browserZoom,
		"HostileNamesStayText":       browserHostileNames,
		"ALostServerComesBack":       browserLostServer,
		"AFrozenServerIsNoticed":     browserFrozenServer,
		"MetricByKeyboard":           browserKeyboard,
		"ManyGroups":                 browserManyGroups,
		"EachKindHasItsFunctions":    browserKinds,
		"ConflictAndOverflowMarks":   browserConflictAndOverflow,
		"HostileNamesOfEachKind":     browserHostileKinds,
		"LevelsScaleBarsBeginAtZero": browserLevels,
		"TheLedgerIsShown":           browserLedger,
		"LiveShowsWhatIsSent":        browserLive,
		"PagesAndTheirLinks":         browserPages,
		"LiveHeals":                  browserLiveHeals,
		"LiveKeepsPlaces":            browserLiveOrder,
		"LiveWithoutStreams":         browserWithoutStreams,
		"LiveTellsOfRefusals":        browserLiveRefused,
		"HostileNamesOnTheLists":     browserHostileLive,
		"ManyMetricsStayUsable":      browserManyMetrics,
		"MetricsAndTheirDetails":     browserMetrics,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, b)
		})
	}
}

// browser is a running Chromium.
type browser struct{ ctx context.Context }

// startBrowser starts Chromium and ends it with the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	program := os.Getenv("CAIRN_CHROME")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if program != "" {
			break
		}
		program, _ = exec.LookPath(name) // not finding it is the answer, too
	}
	if program == "" {
		t.Skip("*** NO CHROMIUM: THE BROWSER TESTS DID NOT RUN; install chromium or Chrome, or set CAIRN_CHROME to its path ***")
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program), chromedp.NoSandbox,
		chromedp.Flag("headless", "new"), chromedp.Flag("hide-scrollbars", true), chromedp.Flag("force-color-profile", "srgb"),
		chromedp.Flag("lang", "en-GB"),
	}
	for _, flag := range []string{
		"no-first-run", "no-default-browser-check", "disable-gpu", "disable-quic", "disable-sync", "disable-extensions",
		"disable-background-networking", "disable-component-update", "disable-breakpad", "disable-default-apps",
		// /dev/shm is too small in many containers.
		"disable-dev-shm-usage",
		// Several windows are open at once and none is in front.
		"disable-background-timer-throttling", "disable-backgrounding-occluded-windows", "disable-renderer-backgrounding",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	alloc, free := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(alloc)
	// Both wait: the profile is a temporary directory, which goes once every
	// process of the browser is gone.
	t.Cleanup(func() { stop(); free() })
	require.NoError(t, chromedp.Do(ctx), "start %s", program)
	return &browser{ctx}
}

// tab is one window with a storage of its own. It fails its test at the end for
// anything that went wrong on the page or left for another host.
type tab struct {
	t    testing.TB
	ctx  context.Context
	host string // the server

	mu       sync.Mutex // guards all below
	away     bool       // the server is away on purpose
	asked    []string   // URLs
	problems []string
}

// open opens a window on the server's page at path.
func (b *browser) open(t testing.TB, s *server, path string) *tab {
	t.Helper()
	p := b.blank(t, s)
	p.goTo(path)
	return p
}

// blank opens an empty window of a common size.
func (b *browser) blank(t testing.TB, s *server) *tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	p := &tab{t: t, ctx: ctx, host: s.HTTP}
	t.Cleanup(func() {
		closeTab()
		p.mu.Lock()
		defer p.mu.Unlock()
		require.Empty(t, p.problems, "what the page complained of, and what it asked of others")
	})
	require.NoError(t, chromedp.Listen(ctx, p.watch))
	p.size(1280, 800)
	// The page rests while nobody looks at it; windows in the background count as seen.
	p.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		return err
	}))
	return p
}

// watch notes what the browser reports. It runs between the messages of the
// browser, and so must not ask it anything.
func (p *tab) watch(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	note := func(format string, args ...any) { p.problems = append(p.problems, fmt.Sprintf(format, args...)) }
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		p.asked = append(p.asked, e.Request.URL)
		u, err := url.Parse(e.Request.URL)
		if err != nil || u.Scheme != "data" && u.Scheme != "about" && u.Host != p.host {
			note("a request to %s", e.Request.URL)
		}
	case *network.EventWebSocketCreated:
		note("a websocket to %s", e.URL)
	case *page.EventJavascriptDialogOpening:
		note("a dialog: %s", e.Message)
	case *runtime.EventExceptionThrown:
		d := e.ExceptionDetails
		if d.Exception != nil {
			note("an exception: %s %s", d.Text, d.Exception.Description)
		} else {
			note("an exception: %s", d.Text)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type != runtime.ConsoleAPICalledTypeLog {
			args, _ := json.Marshal(e.Args) // only for people to read
			note("console.%s: %s", e.Type, args)
		}
	case *log.EventEntryAdded:
		if !p.away || e.Entry.Source != log.EntrySourceNetwork {
			note("%s %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	}
}

// serverAway tells the tab whether failed requests are what the test wants.
func (p *tab) serverAway(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
}

// noted returns the problems so far, and forgets them.
func (p *tab) noted() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.problems
	p.problems = nil
	return out
}

// requests returns the URLs asked for so far.
func (p *tab) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.asked...)
}

// act runs one action within a limit of its own.
func act[T any](p *tab, a chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, answerLimit)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		require.FailNow(p.t, "the browser refused", "%v; on the page: %v", err, p.noted())
	}
	return v
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	act(p, chromedp.Steps(steps...))
}

// eval runs a script on the page. Each %s in it becomes an argument as JSON.
func eval[T any](p *tab, script string, args ...any) T {
	p.t.Helper()
	var quoted []any
	for _, a := range args {
		b, err := json.Marshal(a)
		require.NoError(p.t, err)
		quoted = append(quoted, string(b))
	}
	return act(p, chromedp.Evaluate[T](fmt.Sprintf(script, quoted...)))
}

func (p *tab) goTo(path string) {
	p.t.Helper()
	p.do(chromedp.Navigate("http://" + p.host + path))
}

func (p *tab) size(width, height int64) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(width, height))
}

// shown is what the page shows at one moment.
type shown struct {
	Href      string
	Empty     bool    // the state without data
	Total     float64 // in the header, exact; -1 without
	TotalText string  // the same as written
	TotalKind string
	TotalFn   string
	Warnings  []string
	Ready     bool // the chart shows the current view
	Points    int  // drawn
	Tier      string
	Step      string
	Open      bool // the caption explains open buckets
	Live      string
	Offline   string    // the bar's sentence
	Error     string    // the refusal's sentence
	Rows      []float64 // totals in the legend
	Chips     []string  // filters
	Result    answer    // the last answer; the page may not have drawn it yet
}

const shownScript = `(() => {
	const text = (id) => document.querySelector('[data-testid="' + id + '"]')?.textContent ?? '';
	const data = (selector) => document.querySelector(selector)?.dataset ?? {};
	const all = (id) => [...document.querySelectorAll('[data-testid="' + id + '"]')];
	return {
		Href: location.href, Empty: document.querySelector('#empty') !== null,
		Total: JSON.parse(data('#total').value || '-1'), TotalText: document.querySelector('#total')?.textContent ?? '',
		TotalKind: data('[data-testid="total-name"]').kind ?? '', TotalFn: data('[data-testid="total-name"]').fn ?? '',
		Warnings: all('warning').map((w) => w.textContent),
		Ready: data('#chart').ready === '1', Points: Number(data('#chart').points ?? 0),
		Tier: data('[data-testid="tier"]').tier ?? '', Step: data('[data-testid="tier"]').step ?? '',
		Open: document.querySelector('.open-note') !== null, Live: data('[data-testid="live"]').state ?? '',
		Offline: text('offline'), Error: text('error'),
		Rows: all('legend-row').map((r) => JSON.parse(r.dataset.total)), Chips: all('filter-chip').map((c) => c.title),
		Result: window.cairn?.lastResult() ?? {},
	};
})()`

// setting returns the values of a parameter of the page's URL.
func (s shown) setting(name string) []string {
	u, err := url.Parse(s.Href)
	if err != nil {
		return nil
	}
	return u.Query()[name]
}

func (p *tab) look() shown {
	p.t.Helper()
	return eval[shown](p, shownScript)
}

// until looks at the page until it is as it should be, and returns that look.
func (p *tab) until(limit time.Duration, want string, done func(shown) bool) (s shown) {
	p.t.Helper()
	eventually(p.t, limit, func() (bool, string) {
		s = p.look()
		return done(s), fmt.Sprintf("the page should show %s, but shows %+v", want, s)
	})
	return s
}

// untilTotal waits until the chart of the current view and this total are there.
func (p *tab) untilTotal(want float64) shown {
	p.t.Helper()
	return p.until(drawnLimit, fmt.Sprintf("the total %v", want), func(s shown) bool { return s.Ready && s.Total == want })
}

// hook is the selector of a test hook.
func hook(id string) string { return fmt.Sprintf("[data-testid=%q]", id) }

// query asks /api/query what the page's answer was asked for.
func (p *tab) query(s *server, a answer, filters ...string) answer {
	p.t.Helper()
	return s.Query(url.Values{
		"metric": {a.Metric}, "filter": filters, "fn": {a.Fn}, "step": {fmt.Sprintf("%ds", a.Step)},
		"from": {fmt.Sprint(a.From)}, "to": {fmt.Sprint(a.To)},
	})
}

// sum adds up.
func sum(values []float64) (total float64) {
	for _, v := range values {
		total += v
	}
	return total
}

// window is the path of the page with an absolute window and more settings.
func window(metric string, from, to int64, more ...string) string {
	return fmt.Sprintf("/?m=%s&from=%d&to=%d&%s", url.QueryEscape(metric), from, to, strings.Join(more, "&"))
}

// stamped is a line with a timestamp.
func stamped(name string, value, at int64, tags string) string {
	if tags != "" {
		tags = "|#" + tags
	}
	return fmt.Sprintf("%s:%d|c%s|T%d", name, value, tags, at)
}
