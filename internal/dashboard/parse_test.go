package dashboard

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var now = time.Unix(1_700_000_000, 0)

const whole = `{"id":"00ab","version":7,"updated":1700000000,"title":"Shop","description":"two\nlines","refresh":"10s","from":"-6h","to":"now","tz":"Europe/Berlin",
"variables":[{"name":"host","tag":"host","metric":"signups","value":["a","b"]},{"name":"env","tag":"env"}],
"panels":[{"id":"p1","title":"<script>","type":"bars","x":0,"y":0,"w":12,"h":4,"query":{"metric":"signups","by":["env","host"],"filter":"host:$host"}},
{"id":"p-2","type":"markdown","x":12,"y":0,"w":12,"h":4,"text":"# hi\n<img onerror=x>"},
{"id":"p_3","type":"number","x":0,"y":4,"w":24,"h":4,"query":{"expr":"100*a/b","metric":"m","a.filter":"code:500"}}]}`

// TestParse: what is read is all there, and its one form is read as the same again.
func TestParse(t *testing.T) {
	d, err := Parse([]byte(whole), now)
	require.NoError(t, err)
	require.Equal(t, []any{"00ab", uint32(7), 1_700_000_000}, []any{d.ID, d.Version, d.Updated})
	require.Equal(t, Dashboard{
		Title: "Shop", Description: "two\nlines", Refresh: "10s", From: "-6h", To: "now", TZ: "Europe/Berlin",
		Variables: []Variable{{"host", "host", "signups", Values{"a", "b"}}, {"env", "env", "", Values{""}}},
		Panels: []Panel{
			{ID: "p1", Title: "<script>", Type: "bars", W: 12, H: 4, Query: map[string]Values{"metric": {"signups"}, "by": {"env", "host"}, "filter": {"host:$host"}}},
			{ID: "p-2", Type: "markdown", X: 12, W: 12, H: 4, Text: "# hi\n<img onerror=x>"},
			{ID: "p_3", Type: "number", Y: 4, W: 24, H: 4, Query: map[string]Values{"expr": {"100*a/b"}, "metric": {"m"}, "a.filter": {"code:500"}}},
		},
	}, d.Dashboard)
	text, err := d.JSON()
	require.NoError(t, err)
	require.Contains(t, string(text), `"<script>"`)
	again, err := Parse(text, now)
	require.NoError(t, err)
	require.Equal(t, d.Dashboard, again.Dashboard)
	least, err := Parse([]byte(`{"title":"x"}`), now)
	require.NoError(t, err)
	text, err = least.JSON()
	require.NoError(t, err)
	require.JSONEq(t, `{"title":"x","description":"","refresh":"","from":"","to":"","tz":"","variables":[],"panels":[]}`, string(text))
}

// with returns a good dashboard with one panel that has fields beside the usual ones, or
// instead of them.
func with(fields string) string {
	return `{"title":"t","panels":[{"id":"p","type":"bars","w":1,"h":1,` + fields + `}]}`
}

func TestProblems(t *testing.T) {
	query := func(q string) string { return with(`"query":` + q) }
	panel := func(p string) string { return `{"title":"t","panels":[` + p + `]}` }
	for _, c := range []struct{ text, path, sentence string }{
		{"", "", "not JSON"}, {"{", "", "not JSON"}, {"[]", "", "must be an object, and is a list"}, {"null", "", "is null"}, {`{"title":"t"}{}`, "", "at byte 14"},
		{`{"title":NaN}`, "", "at byte 10"}, {`{"title":"t","panels":[{"x":NaN}]}`, "", "not JSON"}, {`{"title":"t","panels":[{"x":Infinity}]}`, "", "not JSON"},
		{"{\"title\":\"\xff\"}", "", "not UTF-8"}, {strings.Repeat("[", 100_000), "", "not JSON"},
		{`{"title":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + "}", "title", "must be a string, and is a list"},
		{`{"x":` + strings.Repeat(`{"x":`, 9_000) + "1" + strings.Repeat("}", 9_001), "x", "is not known; there are id, version"},
		{`{"title":"` + strings.Repeat("x", MaxBytes) + `"}`, "", "more than 256 KiB"},
		{`{}`, "title", "is missing"}, {`{"title":" "}`, "title", "is missing"}, {`{"title":null}`, "title", "is null"}, {`{"title":"a\nb"}`, "title", "control character"},
		{`{"title":"` + strings.Repeat("x", maxTitle+1) + `"}`, "title", "201 bytes"}, {`{"title":"t","title":"u"}`, "title", "is there twice"},
		{`{"Title":"t"}`, "Title", "is not known"}, {`{"title":"t","` + strings.Repeat("é", 500) + `":1}`, strings.Repeat("é", 32) + "…", "is not known"},
		{`{"title":"t","version":-1}`, "version", "from 0 to"}, {`{"title":"t","version":1.5}`, "version", "is 1.5"}, {`{"title":"t","version":1e99}`, "version", "is 1e99"},
		{`{"title":"t","refresh":"often"}`, "refresh", "is not understood"}, {`{"title":"t","refresh":"0s"}`, "refresh", "between 1s and 1d"}, {`{"title":"t","refresh":"2d"}`, "refresh", "between"},
		{`{"title":"t","from":"then"}`, "from", "is not understood"}, {`{"title":"t","from":"now"}`, "from", "is not before to"}, {`{"title":"t","to":"x"}`, "to", "is not understood"},
		{`{"title":"t","tz":"Mars"}`, "tz", "is not known"},
		{`{"title":"t","variables":{}}`, "variables", "must be a list"}, {`{"title":"t","variables":[{"name":"1a","tag":"t"}]}`, "variables[0].name", "not begin with a digit"},
		{`{"title":"t","variables":[{"name":"","tag":"t"}]}`, "variables[0].name", "must be of"}, {`{"title":"t","variables":[{"name":"a"}]}`, "variables[0].tag", "is missing"},
		{`{"title":"t","variables":[{"name":"a","tag":"t"},{"name":"a","tag":"t"}]}`, "variables[1].name", "another variable"},
		{`{"title":"t","variables":[{"name":"a","tag":"t","value":1}]}`, "variables[0].value", "a list of strings, and is a number"},
		{panel("1"), "panels[0]", "must be an object"}, {panel(strings.TrimRight(strings.Repeat(`{"id":"p"},`, maxPanels+1), ",")), "panels", "more than 100"},
		{panel(`{"type":"bars"}`), "panels[0].id", "must be of letters"}, {panel(`{"id":"p","type":"pie"}`), "panels[0].type", "one of bars, stacked"},
		{panel(`{"id":"p","type":"markdown"}`), "panels[0]", "no size"}, {panel(`{"id":"p","type":"markdown","x":20,"w":5,"h":1}`), "panels[0]", "ends at column 25"},
		{panel(`{"id":"p","w":0}`), "panels[0].w", "from 1 to 24"}, {panel(`{"id":"p","y":"0"}`), "panels[0].y", "must be a number"}, {panel(`{"id":"p","x":1e0}`), "panels[0].x", "whole number"},
		{panel(`{"id":"p","type":"markdown","w":1,"h":1},{"id":"p","type":"markdown","w":1,"h":1}`), "panels[1].id", "another panel"},
		{panel(`{"id":"p","type":"markdown","w":1,"h":1,"query":{}}`), "panels[0].query", "this one shows its text"},
		{with(`"text":"x","query":{"metric":"m"}`), "panels[0].text", "markdown"}, {with(`"title":"x"`), "panels[0].query", "is missing"},
		{query(`[]`), "panels[0].query", "must be an object"}, {query(`{}`), "panels[0].query.metric", "the parameter metric is missing"},
		{query(`{"metric":"m","step":"x"}`), "panels[0].query.step", "is not understood"}, {query(`{"metric":"m","nope":"x"}`), "panels[0].query.nope", "is not known"},
		{query(`{"metric":"m","step":"1s","from":"-30d"}`), "panels[0].query.step", "points"}, {query(`{"metric":["a","b"]}`), "panels[0].query.metric", "once is allowed"},
		{query(`{"metric":"m","limit":5}`), "panels[0].query.limit", "must be a string"}, {query(`{"metric":"m","metric":"n"}`), "panels[0].query.metric", "is there twice"},
		{query(`{"metric":"m","by":["a",["b"]]}`), "panels[0].query.by[1]", "must be a string"}, {query(`{"metric":"m","filter":"host=~["}`), "panels[0].query.filter", "is wrong"},
		{query(`{"expr":"a/b","metric":"m","c.fn":"x"}`), "panels[0].query.c.fn", "not in expr"},
	} {
		_, err := Parse([]byte(c.text), now)
		require.Error(t, err, "%.100s", c.text)
		var p *Problem
		require.ErrorAs(t, err, &p, "%.100s", c.text)
		require.Equal(t, c.path, p.Path, "%.100s: %s", c.text, p.Sentence)
		require.Contains(t, p.Sentence, c.sentence, "%.100s", c.text)
		require.Less(t, len(p.Sentence), 1000)
	}
}

// TestFormIsBounded: what is kept may be longer than what was sent.
func TestFormIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"title":"t","panels":[`)
	for i := range 5 {
		// U+2028 takes 3 bytes, and is written as 6.
		fmt.Fprintf(&b, `{"id":"p%d","type":"markdown","w":1,"h":1,"text":"%s"},`, i, strings.Repeat("\u2028", 17_000))
	}
	text := strings.TrimRight(b.String(), ",") + "]}"
	require.Less(t, len(text), MaxBytes)
	_, err := Parse([]byte(text), now)
	require.ErrorContains(t, err, "with all its fields")
}

func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add(with(`"query":{"metric":"m","by":[]}`))
	f.Add(`{"title":"t","variables":[{"name":"a","tag":"t","value":[]}]}`)
	f.Add(`{"title":"\ud800","panels":[{}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Parse([]byte(text), now)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		kept, err := d.JSON()
		require.NoError(t, err)
		again, err := Parse(kept, now)
		require.NoError(t, err, "%s", kept)
		require.Equal(t, d.Dashboard, again.Dashboard)
	})
}
