package ingest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// requireExplained compares what Explain says with what is read, and checks that
// what it points at is there.
func requireExplained(t testing.TB, line string, limits metric.LineLimits) {
	t.Helper()
	line, _, _ = strings.Cut(line, "\n")
	all := Explain([]byte(line+"\r\n"), Parser{Limits: limits}, now)
	require.Len(t, all, int(numDialects))
	for d, e := range all {
		p := &Parser{Dialect: Dialect(d), Limits: limits}
		require.Equal(t, Dialect(d).String(), e.Dialect)
		var want []event
		var reason metric.Reason
		if isAnnotation([]byte(line)) {
			_, reason = p.annotation([]byte(line), now)
			require.Equal(t, reason == metric.OK, e.Annotation != nil)
		} else {
			want, reason = read(p, line)
		}
		require.Len(t, e.Events, len(want), "%q", line)
		for i, ev := range want {
			require.Equal(t, ev.series.Name, e.Events[i].Name)
			require.Equal(t, ev.series.Kind.String(), e.Events[i].Kind)
			require.Len(t, e.Events[i].Tags, len(ev.series.Tags.Tags()))
			if ev.series.Kind == metric.Set {
				require.Equal(t, ev.bits, set("", *e.Events[i].Member).bits, "%q", line)
			}
		}
		if reason == metric.OK {
			require.Nil(t, e.Rejected)
			continue
		}
		r := e.Rejected
		require.Equal(t, reason.String(), r.Reason, "%q", line)
		require.LessOrEqual(t, len(r.Text), maxSample)
		require.True(t, strings.HasPrefix(line[r.Offset:], r.Text), "%q: %q is not at byte %d", line, r.Text, r.Offset)
	}
}

func TestExplainAgreesWithTheParser(t *testing.T) {
	for _, line := range corpus() {
		requireExplained(t, line, metric.DefaultLineLimits)
	}
}

// TestExplainPointsAtTheFault: of each reason, where it is and what is there.
func TestExplainPointsAtTheFault(t *testing.T) {
	for _, c := range []struct {
		line   string
		reason metric.Reason
		at     int
		text   string
	}{
		{"abc", metric.NoValue, 3, ""},
		{"a:1::2|c", metric.NoValue, 4, ""},
		{"a|c|#x:1|y", metric.NoValue, 1, ""},
		{"a:1", metric.NoType, 3, ""},
		{"a:1||#x", metric.NoType, 4, ""},
		{"a:1|c:2", metric.NoType, 7, ""},
		{":1|c", metric.EmptyName, 0, ""},
		{"[k=v]:1|c", metric.EmptyName, 0, ""},
		{"a[k=v]\x7fb:1|c", metric.BadName, 6, "\x7fb"},
		{"a:1|c|#x,k:\xff", metric.BadUTF8, 9, "k:\xff"},
		{"a,x=y,k=\xff:1|c", metric.BadUTF8, 6, "k=\xff"},
		{"a:1:x:3|c", metric.BadValue, 4, "x"},
		{"a:1|c:x|ms", metric.BadValue, 6, "x"},
		{"a:1|q", metric.BadType, 4, "q"},
		{"a:1|c:2|q", metric.BadType, 8, "q"},
		{"a:1|c:2|c|e:x", metric.BadType, 10, "e:x"},
		{"a:1|c:2|c|T5", metric.BadType, 11, "5"},
		{"a,k=v:1|c|@1|#x", metric.MixedTags, 13, "#x"},
		{"a:1|c|@2", metric.BadRate, 7, "2"},
		{"a:1|c|@0.5|@1", metric.BadRate, 12, "1"},
		{"a:1|c|@0.5:2|c|@7", metric.BadRate, 16, "7"},
		{"a:1|c|Tx|#x", metric.BadTimestamp, 7, "x"},
		{"a:1|c|T5|T6", metric.BadTimestamp, 7 + 3, "6"},
		{"a:1|c|T1800000000", metric.Future, 7, "1800000000"},
		{"a:1|c|T1", metric.TooOld, 7, "1"},
		{"a:1|c|#x,:y", metric.BadTag, 9, ":y"},
		{"a,k=v,w:1|c", metric.BadTag, 6, "w"},
		{"a,k=v,:1|c", metric.BadTag, 6, ""},
		{"a[k=v:1|c", metric.BadTag, 1, "[k=v"},
		{"a:1|c|#x,#" + long(256), metric.TagTooLong, 10, long(maxSample)},
		{"a:1|c|#" + strings.Repeat("a,", 64) + "b", metric.TooManyTags, 7 + 128, "b"},
		{long(256) + ":1|c", metric.NameTooLong, 0, long(maxSample)},
		{"a:1|c|" + long(4097), metric.LineTooLong, 4096, long(7)},
		{"_e{1,1}:a|b|t:fine", metric.BadAnnotation, 0, "_e{1,1}:a|b|t:fine"},
		{"_e{1,1}:a|\x1b", metric.BadAnnotation, 10, "\x1b"},
		{"_sc|é\xff|0", metric.BadUTF8, 6, "\xff"},
		{"_sc|a|0|h:x|d:7", metric.TooOld, 14, "7"},
		{"_sc|a|0|#x,:y", metric.BadTag, 11, ":y"},
	} {
		r := Explain([]byte(c.line), Parser{Limits: metric.DefaultLineLimits}, now)[0].Rejected
		require.NotNil(t, r, "%q", c.line)
		require.Equal(t, c.reason.String(), r.Reason, "%q", c.line)
		require.Equal(t, c.text, r.Text, "%q", c.line)
		require.Equal(t, c.at, r.Offset, "%q", c.line)
		t.Log(r.Sentence)
	}
}

func TestExplainAsJSON(t *testing.T) {
	all := Explain([]byte("a,k=v:-2|g\r\nnext:1|c"), Parser{Limits: metric.DefaultLineLimits}, now)
	b, err := json.Marshal(all[1])
	require.NoError(t, err)
	require.JSONEq(t, `{"dialect": "etsy", "events": [
		{"name": "a", "kind": "gauge", "value": -2, "op": "adjust", "weight": 1, "time": 1700000000, "tags": [{"key": "k", "value": "v"}]}
	]}`, string(b))
	b, err = json.Marshal(Explain([]byte("a:0|q"), Parser{Limits: metric.DefaultLineLimits}, now)[0])
	require.NoError(t, err)
	require.Contains(t, string(b), `"reason":"bad_type"`)
	b, err = json.Marshal(Explain([]byte("a:0.5|ms|@0.1|T5"), Parser{Limits: metric.DefaultLineLimits}, now)[2])
	require.NoError(t, err)
	require.Contains(t, string(b), `"value":0.5,"weight":10,"time":1700000000,"tags":[]`)
	require.Contains(t, string(b), `"warning":"time_ignored"`)
}
