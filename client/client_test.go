package client

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"cairn/internal/metric"
	"cairn/internal/reference"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The servers of these tests: fasthttp writes the Date header from one goroutine for the
		// process, and its worker pool sleeps out its last round.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

// recorder is a transport that keeps what it is given, and fails as it is told.
type recorder struct {
	mu    sync.Mutex
	lines []string
	fail  func(b *batch) outcome
}

func (r *recorder) encode(lines []byte) []byte { return append([]byte(nil), lines...) }
func (r *recorder) most() int                  { return maxLine }
func (r *recorder) exact() bool                { return true }
func (r *recorder) close() error               { return nil }

func (r *recorder) send(_ context.Context, _ string, b *batch) outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		if o := r.fail(b); o.err != nil {
			return o
		}
	}
	r.lines = append(r.lines, strings.Split(strings.TrimSuffix(string(b.payload), "\n"), "\n")...)
	return outcome{}
}

// take returns the lines that came since the last take.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.lines
	r.lines = nil
	return out
}

func recorded(t *testing.T, opts ...Option) (*Client, *recorder) {
	t.Helper()
	o := defaults()
	for _, opt := range opts {
		require.NoError(t, opt(&o))
	}
	r := &recorder{}
	c, err := start(r, o)
	require.NoError(t, err)
	return c, r
}

func TestALineASeriesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(300 * time.Millisecond) // the bubble's clock: not at a full second
		c, r := recorded(t, Tags(Tag("env", "prod"), Tag("host", "a")))
		began := time.Now().Unix()
		n := c.Counter("n", Tag("b", "2"), Tag("a", "1"), Tag("host", "own"))
		g := c.Gauge("g")
		for range 5 {
			n.Inc()
			c.Count("n", 2, Tag("a", "1"), Tag("host", "own"), Tag("b", "2"))
		}
		g.Set(1)
		g.Set(2.5)
		g.Set(math.NaN())
		d := c.Distribution("d")
		d.Observe(1)
		d.Observe(2)
		c.Set("s").Add("x")
		c.Set("s").Add("x")
		time.Sleep(699 * time.Millisecond)
		synctest.Wait()
		require.Empty(t, r.take(), "the second has not ended")
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, []string{
			fmt.Sprintf("n:15|c|#a:1,b:2,env:prod,host:own|T%d", began), fmt.Sprintf("g:2.5|g|#env:prod,host:a|T%d", began),
			"d:1:2|d|#env:prod,host:a", "s:x|s|#env:prod,host:a",
		}, r.take())
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Empty(t, r.take(), "nothing has happened")
		n.Add(-4)
		require.NoError(t, c.Flush(context.Background()))
		require.Equal(t, []string{fmt.Sprintf("n:-4|c|#a:1,b:2,env:prod,host:own|T%d", time.Now().Unix())}, r.take())
		require.NoError(t, c.Close(context.Background()))
	})
}

func TestEachSecondKeepsItsStamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := recorded(t, FlushInterval(5*time.Second))
		began := time.Now().Unix()
		n := c.Counter("n")
		time.Sleep(500 * time.Millisecond)
		for range 5 {
			n.Inc()
			time.Sleep(time.Second)
		}
		synctest.Wait()
		var want []string
		for i := range int64(5) {
			want = append(want, fmt.Sprintf("n:1|c|T%d", began+i))
		}
		require.Equal(t, want, r.take())
		require.NoError(t, c.Close(context.Background()))
	})
}

func TestEverythingIsCountedUnderConcurrency(t *testing.T) {
	c, r := recorded(t)
	n := c.Counter("n")
	var callers sync.WaitGroup
	const goroutines, each = 16, 20_000
	for g := range goroutines {
		callers.Go(func() {
			for i := range each {
				n.Inc()
				c.Count("n", 1, Tag("k", fmt.Sprint((g+i)%7)))
				if i%1000 == 0 {
					require.NoError(t, c.Flush(context.Background()))
				}
			}
		})
	}
	callers.Wait()
	require.NoError(t, c.Close(context.Background()))
	var sum, tagged int64
	for _, l := range r.take() {
		var n int64
		var rest string
		_, err := fmt.Sscanf(l, "n:%d|c|%s", &n, &rest)
		require.NoError(t, err, l)
		if strings.HasPrefix(rest, "#") {
			tagged += n
		} else {
			sum += n
		}
	}
	require.EqualValues(t, goroutines*each, sum)
	require.EqualValues(t, goroutines*each, tagged)
}

func TestCellsKeepEveryIncrement(t *testing.T) {
	n := &Counter{}
	n.cells.Store(newCells())
	n.Add(3)
	n.base.Add(2) // of somebody who saw no cells
	for range 100 {
		n.meet(1)
		n.cells.Load().meet(&n.cells.Load().cell[0].n, 1)
	}
	require.EqualValues(t, 205, n.take())
	require.Zero(t, n.take())
}

func TestNothingAndClosedDoNothing(t *testing.T) {
	closed, r := recorded(t)
	n, d, s := closed.Counter("n"), closed.Distribution("d"), closed.Set("s")
	require.NoError(t, closed.Close(context.Background()))
	n.Inc()
	d.Observe(1)
	s.Add("x")
	for _, c := range []*Client{nil, closed} {
		c.Counter("n").Inc()
		c.Gauge("n").Set(1)
		c.Distribution("n").Observe(1)
		c.Set("n").Add("x")
		c.Timer("n").Observe(time.Second)
		c.Timer("n").Time()()
		c.Count("n", 1)
		c.Collect(func() {})
		c.CollectRuntime()
		c.CollectExpvar("")
		require.NoError(t, c.Flush(context.Background()))
		require.NoError(t, c.Close(context.Background()))
		_ = c.Stats()
	}
	require.Empty(t, r.take())
	require.Empty(t, d.values)
}

func TestSeriesBeyondTheLimitAreStillSent(t *testing.T) {
	c, r := recorded(t, MaxSeries(0))
	c.Count("n", 3, Tag("a", "1"))
	c.Count("n", 4, Tag("a", "1"))
	stamp := time.Now().Unix()
	require.NoError(t, c.Close(context.Background()))
	got := r.take()
	require.Len(t, got, 2)
	require.Contains(t, []string{fmt.Sprintf("n:3|c|#a:1|T%d", stamp), fmt.Sprintf("n:3|c|#a:1|T%d", stamp-1)}, got[0])
}

func TestWhatCannotBeSentIsRefused(t *testing.T) {
	var told []string
	c, r := recorded(t, OnError(func(err error) { told = append(told, err.Error()) }))
	require.Nil(t, c.Counter(""))
	require.Nil(t, c.Counter(strings.Repeat("x", 256)))
	require.Nil(t, c.Counter("n", Tag("", "x")))
	require.Nil(t, c.Gauge("n", Tag("k", strings.Repeat("x", 255))))
	require.Nil(t, c.Distribution("n", make([]Pair, 1)...))
	c.Count("", 1)
	c.Set("s").Add("a|b")
	c.Set("s").Add("a\nb:1|c")
	require.Len(t, told, 8)
	require.EqualValues(t, 8, c.Stats().Refused)
	require.NoError(t, c.Close(context.Background()))
	require.Len(t, r.take(), 1, "only that so many were refused")
}

func TestLongDistributionsAreCutIntoLines(t *testing.T) {
	c, r := recorded(t)
	d := c.Distribution("d", Tag("k", "v"))
	for i := range 10_000 {
		d.Observe(float64(i) + 0.1234567890123)
	}
	require.NoError(t, c.Close(context.Background()))
	rules := reference.Rules{Limits: metric.DefaultLineLimits}
	seen := 0
	for _, l := range r.take() {
		events, faults := rules.Read(l, metric.UnixSec(time.Now().Unix()))
		require.Empty(t, faults, l)
		seen += len(events)
	}
	require.Equal(t, 10_000, seen)
}

// checkLines compares what the reference reads of a client's lines with what was meant.
func checkLines(t require.TestingT, name, key, value string) {
	rules := reference.Rules{Limits: metric.DefaultLineLimits}
	now := metric.UnixSec(1_800_000_000)
	for _, typ := range []string{"c", "g", "d", "s"} {
		s, why := newSeries(name, typ, nil, []Pair{Tag(key, value), Tag("last", "1")}, nil, maxLine)
		if why != "" {
			continue
		}
		l := s.prefix + "1" + s.suffix
		if typ == "c" || typ == "g" {
			l += "1800000000"
		}
		require.NotContains(t, l, "\n")
		require.False(t, reference.IsAnnotation(l), "%q", l)
		events, faults := rules.Read(l, now)
		require.Empty(t, faults, "%q", l)
		require.Len(t, events, 1, "%q", l)
		tags := metric.NewTagset(events[0].Tags).Tags()
		require.Contains(t, tags, metric.Tag{Key: "last", Value: "1"}, "%q", l)
		require.Contains(t, []int{1, 2}, len(tags), "%q", l)
		if typ == "c" {
			require.Equal(t, now, events[0].Sec)
		}
	}
}

func TestNamesAndTagsInjectNothing(t *testing.T) {
	for _, s := range []string{
		"a:1|c\nb", "a|b", "a,b", "#a", "##a", "a#b", "a;b=c", "a[b=c]d", "_e{1,2}", "_sc", "\x00", "\xff\xfe", "a b", "a/b", "é\u0085", "a:b", "|T1", "a\r\n", "\u2028",
	} {
		checkLines(t, s, s, s)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("ab:|,;#[]=\n\t\r /{_eTé\u0085\u2028\ufffd")))
		checkLines(t, text.Draw(t, "name"), text.Draw(t, "key"), text.Draw(t, "value"))
	})
	tags, why := cleanTags(nil, []Pair{Tag("a:b", "c:d|e,f\n")})
	require.Empty(t, why)
	require.Equal(t, []Pair{{"a_b", "c:d_e_f_"}}, tags, "a ':' in a value stays")
}

func FuzzSeries(f *testing.F) {
	f.Add("signups", "env", "prod")
	f.Add("_e{1}:x|c", "#k", "a|T1\nb:1|c")
	f.Fuzz(func(t *testing.T, name, key, value string) { checkLines(t, name, key, value) })
}

func TestRequestsAreCounted(t *testing.T) {
	c, r := recorded(t)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/quiet", func(http.ResponseWriter, *http.Request) {})
	h := c.CountRequests(mux)
	for _, path := range []string{"/users/1", "/users/2", "/none", "/quiet"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
	}
	require.Panics(t, func() { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("BREW", "/panic", nil)) })
	require.NoError(t, c.Close(context.Background()))
	got := strings.Join(r.take(), "\n")
	require.Contains(t, got, "http.requests:2|c|#method:GET,route:/users/{id},status:418|T")
	require.Contains(t, got, "http.requests:1|c|#method:GET,route:other,status:404|T")
	require.Contains(t, got, "http.requests:1|c|#method:GET,route:/quiet,status:200|T")
	require.Contains(t, got, "http.requests:1|c|#method:other,route:/panic,status:500|T")
}

func TestTheRuntimeIsCollected(t *testing.T) {
	c, r := recorded(t)
	c.CollectRuntime()
	c.CollectRuntime("/none:none", "/sched/latencies:seconds")
	c.CollectRuntime("/sched/goroutines:goroutines")
	require.NoError(t, c.Close(context.Background()))
	got := strings.Join(r.take(), "\n")
	require.Contains(t, got, "go.sched.goroutines.goroutines:")
	require.Len(t, strings.Split(got, "\n"), len(runtimeMetrics()))
}

func TestAddresses(t *testing.T) {
	for _, name := range []string{"CAIRN_ADDR", "DD_AGENT_HOST", "DD_DOGSTATSD_URL", "DD_DOGSTATSD_PORT"} {
		t.Setenv(name, "")
	}
	for _, bad := range []string{"x", "tcp://a:1", "udp://", "unixgram://relative", "http://", "%", "udp://:8125"} {
		_, err := New(bad)
		require.Error(t, err, bad)
	}
	o := defaults()
	to := func(address string) datagrams {
		d, err := dial(address, &o)
		require.NoError(t, err)
		return datagrams{network: d.(*datagrams).network, address: d.(*datagrams).address, size: d.(*datagrams).size}
	}
	require.Equal(t, datagrams{network: "udp", address: "127.0.0.1:8125", size: 8192}, to(""))
	require.Equal(t, datagrams{network: "udp", address: "10.0.0.1:8125", size: 1432}, to("udp://10.0.0.1"))
	require.Equal(t, datagrams{network: "udp", address: "[::1]:9", size: 8192}, to("udp://[::1]:9"))
	t.Setenv("DD_AGENT_HOST", "agent")
	require.Equal(t, "agent:8125", to("").address)
	t.Setenv("DD_DOGSTATSD_URL", "unix:///run/dsd.sock")
	require.Equal(t, datagrams{network: "unixgram", address: "/run/dsd.sock", size: 8192}, to(""))
	t.Setenv("CAIRN_ADDR", "http://h:1/under")
	d, err := dial("", &o)
	require.NoError(t, err)
	require.Equal(t, "http://h:1/under/api/ingest", d.(*httpTransport).url)
	_, err = New("udp://127.0.0.1:1", Spool(t.TempDir()))
	require.ErrorContains(t, err, "http://")
}

func TestStringsAreEqualIfTheirBytesAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(rapid.Byte(), 0, 24).Draw(t, "a")
		require.True(t, equal(string(a), string(a)))
		require.False(t, equal(string(a), string(a)+"x"))
		for i := range a {
			b := append([]byte(nil), a...)
			b[i]++
			require.False(t, equal(string(a), string(b)), i)
			require.NotEqual(t, hashOf(1, string(a), nil), hashOf(1, string(b), nil), i)
		}
	})
}
