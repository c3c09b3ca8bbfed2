package ingest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/journal"
	"cairn/internal/metric"
)

// TestLinesAndJSONAreTheSame sends the same events both ways.
func TestLinesAndJSONAreTheSame(t *testing.T) {
	kinds := map[string]string{"c": "counter", "g": "gauge", "d": "distribution", "s": "set"}
	rapid.Check(t, func(rt *rapid.T) {
		var lines, events []string
		for range rapid.IntRange(1, 10).Draw(rt, "events") {
			name := rapid.SampledFrom([]string{"a", "b/c", "d e", "é"}).Draw(rt, "name")
			kind := rapid.SampledFrom([]string{"c", "g", "d", "s"}).Draw(rt, "kind")
			values := rapid.SliceOfN(rapid.SampledFrom([]string{"1", "2.5", "-3", "1e3"}), 1, 3).Draw(rt, "values")
			if kind == "s" {
				values = values[:1]
			}
			line := name + ":" + strings.Join(values, ":") + "|" + kind
			event := fmt.Sprintf(`{"metric":%q,"kind":%q,"values":[%s]`, name, kinds[kind], strings.Join(values, ","))
			if rapid.Bool().Draw(rt, "rated") {
				line, event = line+"|@0.3", event+`,"rate":0.3`
			}
			if tags := rapid.SliceOfN(rapid.SampledFrom([]string{"x", "y", "z"}), 0, 3).Draw(rt, "tags"); len(tags) > 0 {
				line += "|#k:" + strings.Join(tags, ",k:")
				event += `,"tags":{"k":["` + strings.Join(tags, `","`) + `"]}`
			}
			if (kind == "c" || kind == "g") && rapid.Bool().Draw(rt, "timed") {
				line, event = line+fmt.Sprintf("|T%d", now-5), event+fmt.Sprintf(`,"time":%d`, now-5)
			}
			lines, events = append(lines, line), append(events, event+"}")
		}
		want := newRig(t, testParser)
		mustTake(rt, want.b, lineRequest(strings.Join(lines, "\n")))
		for form, body := range map[string]string{
			"application/json": `{"events":[` + strings.Join(events, ",") + `]}`, "application/json; charset=utf-8": "[" + strings.Join(events, " ,\n") + "]\n",
			"application/x-ndjson": strings.Join(events, "\n\n"),
		} {
			got := newRig(t, testParser)
			q := lineRequest(body)
			q.ContentType = form
			require.Empty(rt, mustTake(rt, got.b, q).Rejected)
			require.Equal(rt, totals(want.agg), totals(got.agg))
		}
	})
}

func TestWrongEventsInJSON(t *testing.T) {
	tags := strings.Repeat(`"v",`, 64)
	for event, want := range map[string]metric.Reason{
		`{"metric":"a","value":1}`:                                                  metric.OK,
		`{"metric":"a","value":1,"kind":null,"tags":null,"time":null}`:              metric.OK,
		`{"metric":"a","kind":"set","value":"x"}`:                                   metric.OK,
		`{"metric":"a","kind":"distribution","value":1,"time":1699999999,"rate":1}`: metric.OK,
		`{"metric":"\u0061","value":1,"tags":{"k":true,"l":1.50}}`:                  metric.OK,
		`7`: metric.BadField, `[[[]]]`: metric.BadField, `null`: metric.BadField,
		`{"value":1}`: metric.EmptyName, `{"metric":"","value":1}`: metric.EmptyName, `{"metric":7,"value":1}`: metric.BadField,
		`{"metric":"a"}`: metric.NoValue, `{"metric":"a","values":[]}`: metric.NoValue, `{"metric":"a","kind":"set","value":""}`: metric.NoValue,
		`{"metric":"a","value":"1"}`: metric.BadValue, `{"metric":"a","value":1e400}`: metric.BadValue, `{"metric":"a","value":true}`: metric.BadField,
		`{"metric":"a","value":1,"values":[1]}`: metric.BadField, `{"metric":"a","value":1,"value":1}`: metric.BadField, `{"metric":"a","values":[1,[]]}`: metric.BadField,
		`{"metric":"a","value":1,"x":{"y":[1]}}`: metric.BadField, `{"metric":"a","value":1,"kind":"timer"}`: metric.BadType, `{"metric":"a\u0000","value":1}`: metric.BadName,
		`{"metric":"` + strings.Repeat("a", 256) + `","value":1}`: metric.NameTooLong, `{"metric":"\ud800","value":1}`: metric.BadUTF8, "{\"metric\":\"\xff\",\"value\":1}": metric.BadUTF8,
		`{"metric":"a","value":1,"rate":0}`: metric.BadRate, `{"metric":"a","value":1,"rate":1.5}`: metric.BadRate, `{"metric":"a","value":1e290,"rate":0.5}`: metric.BadValue,
		`{"metric":"a","value":1,"time":0}`: metric.BadTimestamp, `{"metric":"a","value":1,"time":1.7e9}`: metric.BadTimestamp, `{"metric":"a","value":1,"time":1}`: metric.TooOld, `{"metric":"a","value":1,"time":1700000011}`: metric.Future,
		`{"metric":"a","value":1,"tags":{"":"x"}}`: metric.BadTag, `{"metric":"a","value":1,"tags":{"k":{}}}`: metric.BadField, `{"metric":"a","value":1,"tags":{"k":"\n"}}`: metric.BadTag,
		`{"metric":"a","value":1,"tags":{"k":"` + strings.Repeat("a", 254) + `"}}`: metric.TagTooLong, `{"metric":"a","value":1,"tags":{"k":[` + tags + `"v"]}}`: metric.TooManyTags,
	} {
		r := newRig(t, testParser)
		q := lineRequest(`[{"metric":"first","value":1}, ` + event + `,{"metric":"last","value":1}]`)
		q.ContentType = "application/json"
		a := mustTake(t, r.b, q)
		if want == metric.OK {
			require.Empty(t, a.Rejected, event)
			continue
		}
		require.Equal(t, []RejectedEvent{{2, want, cutSample(event)}}, a.Rejected, event)
		require.EqualValues(t, 2, r.agg.Counts().Accepted, event)
	}
}

func TestBrokenLinesOfNDJSON(t *testing.T) {
	r := newRig(t, testParser)
	q := lineRequest("{\"metric\":\"a\",\"value\":1}\r\n\n{\"metric\":\"b\",\n{\"metric\":\"c\",\"value\":1} {}\n{\"metric\":\"d\",\"value\":2}")
	q.ContentType = "application/x-ndjson"
	a := mustTake(t, r.b, q)
	require.EqualValues(t, 2, a.Accepted)
	require.Equal(t, []RejectedEvent{{3, metric.BadJSON, `{\"metric\":\"b\",`}, {4, metric.BadJSON, `{\"metric\":\"c\",\"value\":1} {}`}}, a.Rejected)
}

func TestDeepJSON(t *testing.T) {
	for _, body := range []string{strings.Repeat("[", 4<<20), `[{"x":` + strings.Repeat(`{"a":`, 500_000), `[{"metric":"a","tags":{"k":` + strings.Repeat("[", 1<<20)} {
		r := newRig(t, testParser)
		q := lineRequest(body)
		q.ContentType = "application/json"
		_, refusal := r.b.Ingest(q)
		require.NotNil(t, refusal)
		require.Equal(t, 400, refusal.Status)
	}
}

func FuzzBatchJSON(f *testing.F) {
	f.Add([]byte(`{"events":[{"metric":"a","value":1,"tags":{"k":["v",1,true]},"time":1700000000}]}`), false)
	f.Add([]byte("{\"metric\":\"a\"}\n{\"metric\":\"s\",\"kind\":\"set\",\"values\":[\"x\",1],\"rate\":0.5}"), true)
	f.Add([]byte(`[[],{"metric":"\ud800","values":[1e999]},7]`), false)
	f.Fuzz(func(t *testing.T, body []byte, lines bool) {
		form := formatJSON
		if lines {
			form = formatNDJSON
		}
		var out parsed
		j := newJSONReader()
		if j.read(&out, testParser, form, body, now) != nil {
			return
		}
		for i := range out.events {
			e := &out.events[i]
			name := out.buf[e.Name : e.Name+uint32(e.NameLen)]
			_, reason := testParser.Resolve(name, out.buf[e.Rest:e.Rest+uint32(e.RestLen)], now)
			require.Equal(t, metric.OK, reason)
			require.NotEmpty(t, name)
		}
		var back parsed
		require.NoError(t, back.readEvents(out.appendEvents(nil, now), now))
		require.Len(t, back.events, len(out.events))
		for i := range out.events {
			x, y := &out.events[i], &back.events[i]
			require.Equal(t, x.Bits, y.Bits)
			require.Equal(t, x.Sec, y.Sec)
			require.Equal(t, out.buf[x.Rest:x.Rest+uint32(x.RestLen)], back.buf[y.Rest:y.Rest+uint32(y.RestLen)])
		}
		w := work{body: body, json: j}
		seen := 0
		w.texts(form, out.rejects, func(int, []byte) { seen++ })
		require.Equal(t, len(out.rejects), seen)
	})
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte{1, 4}, []byte{0})
	r := Record{Named: true, Sequence: 5, Structured: true}
	r.Verdict.Accepted = 1
	f.Add(r.appendHead(nil), append([]byte{0, 1, 'a', 2, 0, 1}, make([]byte, 8)...))
	f.Fuzz(func(t *testing.T, head, body []byte) {
		rec, err := DecodeRecord(&journal.Record{Kind: RecordBatch, Head: head, Body: body})
		if err != nil {
			return
		}
		again, err := DecodeRecord(&journal.Record{Kind: RecordBatch, Head: rec.appendHead(nil), Body: body})
		require.NoError(t, err)
		require.Equal(t, rec, again)
		_, _ = NewReplayer(testParser).Replay(&rec, stripe(testParser), func(metric.UnixSec) bool { return true }, nil)
	})
}
