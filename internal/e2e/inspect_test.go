package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hotAnswer is what GET /api/hot gives.
type hotAnswer struct {
	From, To int64
	Events   float64
	Rate     float64
	Series   []struct {
		Metric, Kind string
		Tags         map[string]any
		Events       float64
		Rate, Share  float64
	}
}

func TestHotSeries(t *testing.T) {
	t.Parallel()
	s := startWith(t, nil) // with the default grace, so that ten seconds are open
	// Value and rate say what an event counts for, not how many events there are.
	for _, series := range []struct {
		line string
		n    int
	}{{"busy:1|c|#path:/a,env:prod", 300}, {"gauge:7|g", 100}, {"timer:20|ms", 50}, {"users:x|s", 20}, {"heavy:1000|c|@0.01", 10}, {"once:1|c", 1}} {
		for range series.n {
			s.Send(series.line)
		}
	}
	const events = 481
	s.AwaitReceived(events)
	var h hotAnswer
	eventually(t, seenLimit, func() (bool, string) {
		s.getJSON("/api/hot", nil, &h)
		return h.Events == events, fmt.Sprintf("%v of %d events in complete seconds", h.Events, events)
	})
	require.EqualValues(t, 10, h.To-h.From)
	require.InDelta(t, time.Now().Unix(), h.To, 5)
	var got []string
	for _, r := range h.Series {
		got = append(got, fmt.Sprintf("%s %s %.0f", r.Metric, r.Kind, r.Events))
		require.InDelta(t, r.Events/10, r.Rate, 1e-9)
		require.InDelta(t, r.Events/events, r.Share, 1e-9)
	}
	require.Equal(t, []string{"busy counter 300", "gauge gauge 100", "timer distribution 50", "users set 20", "heavy counter 10", "once counter 1"}, got)
	require.Equal(t, map[string]any{"path": "/a", "env": "prod"}, h.Series[0].Tags)
	require.InDelta(t, events/10.0, h.Rate, 1e-9)
	s.getJSON("/api/hot", url.Values{"limit": {"2"}}, &h)
	require.Len(t, h.Series, 2)
	require.EqualValues(t, events, h.Events, "of all series")
	s.MustStop()
}

// rejectAnswer is what GET /api/rejects gives.
type rejectAnswer struct {
	Total   int
	Reasons []struct {
		Reason  string
		Count   int
		Samples []struct {
			Time         int64
			Sender, Line string
		}
	}
	Senders, Metrics []struct {
		Name  string
		Count int
	}
}

func TestRejectsNameTheSender(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var r rejectAnswer
	s.getJSON("/api/rejects", nil, &r)
	require.Zero(t, r.Total)
	for i := range 8 {
		s.Send("good:1|c", fmt.Sprintf("orders.<b>\x1b[31m:%dx|c|#k:\u202e", i))
	}
	s.Send("signups:1|c|@7")
	s.AwaitReceived(17)
	s.getJSON("/api/rejects", nil, &r)
	require.Equal(t, 9, r.Total)
	require.Len(t, r.Reasons, 2)
	require.Equal(t, "bad_value", r.Reasons[0].Reason)
	require.Equal(t, 8, r.Reasons[0].Count)
	require.Len(t, r.Reasons[0].Samples, 5)
	for i, sample := range r.Reasons[0].Samples {
		require.Equal(t, "127.0.0.1", sample.Sender)
		require.Equal(t, fmt.Sprintf(`orders.<b>\x1b[31m:%dx|c|#k:\u202e`, 7-i), sample.Line, "newest first, escaped")
		require.InDelta(t, time.Now().UnixMilli(), sample.Time, 60_000)
	}
	require.Equal(t, "bad_rate", r.Reasons[1].Reason)
	require.Equal(t, "signups:1|c|@7", r.Reasons[1].Samples[0].Line)
	require.Equal(t, "127.0.0.1", r.Senders[0].Name)
	require.Equal(t, 9, r.Senders[0].Count)
	require.Equal(t, `orders.<b>\x1b[31m`, r.Metrics[0].Name)
	require.Equal(t, 8, r.Metrics[0].Count)
	require.Equal(t, "signups", r.Metrics[1].Name)
	_, body := s.Get("/api/rejects", nil)
	require.NotContains(t, string(body), "<b>")
	s.MustStop()
}

// explained is how one dialect reads a line.
type explained struct {
	Dialect string
	Events  []struct {
		Name, Kind string
		Value      *float64
		Member     *string
		Weight     float64
		Time       int64
		Tags       []struct{ Key, Value string }
	}
	Annotation *struct {
		Type, Title, Text, Status string
		Tags                      []struct{ Key, Value string }
	}
	Rejected *struct {
		Reason, Sentence, Text string
		Offset                 int
	}
	Warnings []struct{ Warning string }
}

func (s *server) Explain(line string) map[string]explained {
	s.t.Helper()
	resp, body := s.Do(http.MethodPost, "/api/explain", nil, strings.NewReader(line))
	require.Equal(s.t, http.StatusOK, resp.StatusCode, "%q: %s", line, body)
	var answer struct {
		Line     string
		Dialects []explained
	}
	require.NoError(s.t, json.Unmarshal(body, &answer))
	require.Equal(s.t, line, answer.Line)
	out := map[string]explained{}
	for _, d := range answer.Dialects {
		out[d.Dialect] = d
	}
	return out
}

// TestExplainTellsWhatHappens asks about lines, sends them in each dialect, and
// compares what is counted with what was said.
func TestExplainTellsWhatHappens(t *testing.T) {
	t.Parallel()
	now := time.Now().Unix()
	lines := []string{
		"a:1|c|#k:v,bare", "b:3|c|@0.1", "c:1:2:3|c", "d:+5|g", "e:-2|g", "f:9|g|#k:v", "g:12.5|ms|@0.5", "h:7|h", "i:7|d", "j:member|s", "k:2|m",
		"l:4|C", "m,k=v:1|c", "n;k=v;q=w:1|c", "o#k=v:1|c", "p[k=v]q:1|c", "r:1|c:2|ms:3|g", fmt.Sprintf("s:1|c|T%d", now-60),
		fmt.Sprintf("t:1|ms|T%d", now-60), "u v/w:1|c", "x:1|c|@2", "y:z|c", "z:1|q", "novalue", "_e{5,4}:title|text|t:error|#k:v", "_sc|disk|1|m:slow", "_sc|disk|7",
		"aa,k=v:1|c|#x:y", "bb:1|c|#:x", fmt.Sprintf("cc:1|c|T%d", now+500), "dd:0x10|c",
		"ee:1|c|c:ci-abc|#k:v", "ff:1|ms|e:it-false,cn-x|card:low", "gg,k=v:1|c|c:in-7",
	}
	for _, dialect := range []string{"dogstatsd", "etsy", "brubeck"} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, "--udp", "127.0.0.1:0", "--udp", "etsy@127.0.0.1:0", "--udp", "brubeck@127.0.0.1:0", "--origin-tags")
			to := s.DialTo("UDP", dialect)
			sent := 0
			for _, line := range lines {
				before := s.Figures()
				said := s.Explain(line)
				require.Len(t, said, 3)
				require.Equal(t, before[received], s.Figures()[received], "explaining counts nothing")
				e := said[dialect]
				_, err := to.Write([]byte(line))
				require.NoError(t, err)
				sent += max(1, len(e.Events))
				f := s.AwaitReceived(sent)
				requireAsSaid(t, s, line, e, before, f)
			}
			s.MustStop()
		})
	}
}

func requireAsSaid(t *testing.T, s *server, line string, e explained, before, after figures) {
	t.Helper()
	require.Equal(t, float64(len(e.Events)), after[accepted]-before[accepted], "%q: %+v, but %v", line, e, after.rejected())
	notes := 0.0
	if e.Annotation != nil {
		notes = 1
		var list []eventRow
		eventually(t, seenLimit, func() (bool, string) {
			list = s.Events(nil)
			return len(list) > 0 && list[len(list)-1].Title == e.Annotation.Title, fmt.Sprintf("%q is not in %+v", e.Annotation.Title, list)
		})
		got := list[len(list)-1]
		require.Equal(t, []string{e.Annotation.Type, e.Annotation.Text, e.Annotation.Status}, []string{got.Type, got.Text, got.Status}, line)
	}
	require.Equal(t, notes, after[noted]-before[noted], line)
	if e.Rejected != nil {
		require.Empty(t, e.Events, line)
		name := fmt.Sprintf("cairn_events_rejected_total{reason=%q}", e.Rejected.Reason)
		require.Equal(t, 1.0, after[name]-before[name], "%q: not %s but %v", line, e.Rejected.Reason, after.rejected())
		require.Equal(t, e.Rejected.Text, line[e.Rejected.Offset:e.Rejected.Offset+len(e.Rejected.Text)], line)
		require.Greater(t, len(e.Rejected.Sentence), 15)
	}
	warned := float64(len(e.Warnings))
	require.Equal(t, warned, after["cairn_timestamps_ignored_total"]-before["cairn_timestamps_ignored_total"], line)
	want := map[[2]string]float64{}
	for _, x := range e.Events {
		id := [2]string{x.Name, x.Kind}
		switch x.Kind {
		case "set":
			require.NotNil(t, x.Member, line)
			want[id] = 1
		case "gauge":
			want[id] = *x.Value // each line has a name of its own, whose level begins at 0
		default:
			want[id] += *x.Value * x.Weight
		}
	}
	for _, x := range e.Events {
		args := span()
		args["metric"], args["kind"], args["step"] = []string{x.Name}, []string{x.Kind}, []string{"1s"}
		args.Set("fn", map[string]string{"counter": "count", "gauge": "last", "distribution": "sum", "set": "uniques"}[x.Kind])
		tags := map[string]any{}
		for _, tag := range x.Tags {
			args.Add("by", tag.Key)
			tags[tag.Key] = tag.Value
		}
		a := s.Query(args)
		require.Len(t, a.Series, 1, line)
		require.ElementsMatch(t, args["by"], s.tagKeys(x.Name, x.Kind), "tags of %q", line)
		require.Equal(t, tags, a.Series[0].Tags, line)
		require.InDelta(t, want[[2]string{x.Name, x.Kind}], a.Series[0].Total, 1e-9, line)
		at := a.Times[slices.IndexFunc(a.Series[0].Values, func(v *float64) bool { return v != nil })]
		require.InDelta(t, x.Time, at, 3, "%q is in another second", line)
	}
}

// tagKeys returns the keys that a metric's series have, as GET /api/tags lists them.
func (s *server) tagKeys(metric, kind string) (keys []string) {
	s.t.Helper()
	var body struct{ Tags []struct{ Key string } }
	s.getJSON("/api/tags", url.Values{"metric": {metric}, "kind": {kind}}, &body)
	for _, tag := range body.Tags {
		keys = append(keys, tag.Key)
	}
	return keys
}

// eventRow is one row of GET /api/events.
type eventRow struct {
	Time                                                   int64
	Type, Title, Text, Status, Priority, Host, Key, Source string
	Tags                                                   map[string]any
}

// Events asks /api/events.
func (s *server) Events(args url.Values) []eventRow {
	s.t.Helper()
	var body struct{ Events []eventRow }
	s.getJSON("/api/events", args, &body)
	return body.Events
}

// TestEventsSurviveARestart: what is noted is in the list at once, and after it was
// flushed and read again.
func TestEventsSurviveARestart(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	now := time.Now().Unix()
	s.Send(fmt.Sprintf("_e{6,9}:deploy|v2\\nfinal|d:%d|h:web-1|k:rel|s:ci|p:low|t:success|#env:prod,team", now-100))
	s.Send(fmt.Sprintf("_sc|disk|2|d:%d|h:db-1|#env:prod|m:95%% <b>full</b>", now-50))
	s.Send("_e{1,0}:x|", "a:1|c", "_e{3,1}:bad")
	s.AwaitReceived(5)
	check := func(s *server) {
		t.Helper()
		list := s.Events(nil)
		require.Len(t, list, 3)
		require.InDelta(t, now, list[2].Time, 60)
		list[2].Time = 0
		require.Equal(t, []eventRow{
			{Time: now - 100, Type: "event", Title: "deploy", Text: "v2\nfinal", Status: "success", Priority: "low", Host: "web-1", Key: "rel", Source: "ci", Tags: map[string]any{"env": "prod", "team": ""}},
			{Time: now - 50, Type: "service_check", Title: "disk", Text: "95% <b>full</b>", Status: "critical", Host: "db-1", Tags: map[string]any{"env": "prod"}},
			{Type: "event", Title: "x", Status: "info", Priority: "normal", Tags: map[string]any{}},
		}, list)
		require.Len(t, s.Events(url.Values{"limit": {"1"}}), 1)
		require.Equal(t, "x", s.Events(url.Values{"limit": {"1"}})[0].Title, "the newest")
		some := s.Events(url.Values{"from": {fmt.Sprint(now - 100)}, "to": {fmt.Sprint(now - 50)}})
		require.Len(t, some, 1)
		require.Equal(t, "deploy", some[0].Title)
		_, body := s.Get("/api/events", nil)
		require.NotContains(t, string(body), "<b>")
		require.Zero(t, s.Figures()[imbalance])
	}
	check(s)
	require.Equal(t, 3.0, s.Figures()[noted])
	for range 2 {
		s.AwaitFlushed(func() { check(s) })
		s.MustStop()
		s = startServer(t, "--data-dir", s.Dir)
		check(s)
	}
	// Events only: a flush without sums.
	s.Send("_e{4,1}:last|x")
	s.AwaitReceived(1)
	s.MustStop()
	s = startServer(t, "--data-dir", s.Dir)
	require.Equal(t, "last", s.Events(nil)[3].Title)
	s.RequireTotal(1, "a")
	s.MustStop()
}

// TestSmallMemory floods a server of little memory with new series: they fold, nothing
// is lost, and what is known goes on counting.
func TestSmallMemory(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--max-memory", "64MiB", "--cache", "4MiB", "--max-series-per-metric", "1000000", "--udp-buffer", "8MiB")
	s.Send("known:1|c|#k:v")
	s.AwaitReceived(1)
	const perPacket, most = 200, 600_000
	sent, known := 1, 1.0
	short := func(f figures) bool { return f["cairn_memory_short"] == 1 || f["cairn_overflowed_metrics"] > 0 }
	var f figures
	for i := 0; i < most && !short(f); {
		for range 20 {
			lines := []string{"known:1|c|#k:v"}
			for range perPacket {
				lines = append(lines, fmt.Sprintf("flood:1|c|#id:%d,host:web-%d,region:eu-central-1", i, i%100))
				i++
			}
			s.Send(lines...)
			sent += len(lines)
			known++
		}
		f = s.AwaitReceived(sent)
	}
	require.True(t, short(f), "%d series came in %d MiB", sent, 64)
	for i := range 50 {
		s.Send("known:1|c|#k:v", fmt.Sprintf("flood:1|c|#late:%d", i))
		known++
		sent += 2
	}
	f = s.AwaitReceived(sent)
	refused := f[`cairn_events_shed_total{reason="memory"}`]
	require.Zero(t, f.sum("cairn_events_rejected_total"), "nothing was wrong: %v", f.rejected())
	s.AwaitFlushed(func() {})
	total := func(s *server) float64 { return s.Total("known", "1h") + s.Total("flood", "1h") }
	require.Equal(t, float64(sent)-refused, total(s))
	require.Equal(t, known, s.Total("known", "1h"), "what is known goes on")
	require.Positive(t, s.By("flood", "1h", "__overflow__")["true"], "nothing was folded")
	s.MustStop()
	s = startServer(t, "--data-dir", s.Dir)
	require.Equal(t, float64(sent)-refused, total(s))
	s.MustStop()
}
