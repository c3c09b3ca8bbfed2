package ingest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

func anEvent(title, text string) metric.Annotation {
	return metric.Annotation{Time: now, Title: title, Text: text, Status: "info", Priority: "normal"}
}

func TestAnnotationsAreRead(t *testing.T) {
	all := anEvent("Deploy", "v1.2")
	all.Time, all.Host, all.Key, all.Priority, all.Source, all.Status = now-60, "web-1", "k", "low", "ci", "error"
	all.Tags = metric.NewTagset([]metric.Tag{{Key: "env", Value: "prod"}, {Key: "x", Value: ""}})
	check := metric.Annotation{Time: now, Check: true, Title: "db.up", Status: "ok"}
	full := check
	full.Time, full.Host, full.Status, full.Text = now-5, "db-1", "critical", "m: no\nanswer"
	full.Tags = metric.NewTagset([]metric.Tag{{Key: "env", Value: "prod"}})
	unknown := check
	unknown.Status = "unknown"
	for line, want := range map[string]metric.Annotation{
		"_e{5,4}:title|text":     anEvent("title", "text"),
		"_e{1,0}:a|":             anEvent("a", ""),
		"_e{3,5}:a|b|c|d:e":      anEvent("a|b", "c|d:e"),
		`_e{4,6}:a\nb|c\n\nd`:    anEvent("a\nb", "c\n\nd"),
		"_e{2,3}:é|a€":           {},
		"_e{2,4}:é|a€":           anEvent("é", "a€"),
		"_e{1,1}:a|b|c:in-1|e:x": anEvent("a", "b"),
		"_e{1,1}:a|b||zz|card:":  anEvent("a", "b"),
		"_e{6,4}:Deploy|v1.2|d:1699999940|h:web-1|k:k|p:low|s:ci|t:error|#env:prod,x":          all,
		"_e{6,4}:Deploy|v1.2|#x|t:error|s:ci|p:low|k:k|h:web-1|d:1699999940|#env:prod|c:1|e:2": all,
		"_sc|db.up|0":             check,
		"_sc|db.up|3|p:high|t:zz": unknown,
		`_sc|db.up|2|d:1699999995|h:db-1|#env:prod|m:m\: no\nanswer`: full,
	} {
		got, reason := testParser.annotation([]byte(line), now)
		if want.Title == "" {
			require.Equal(t, metric.BadAnnotation, reason, line)
			continue
		}
		require.Equal(t, metric.OK, reason, line)
		require.Equal(t, want, got, line)
	}
}

func TestAnnotationsThatAreBad(t *testing.T) {
	for line, want := range map[string]metric.Reason{
		"_e{":                              metric.BadAnnotation,
		"_e{1}:a|b":                        metric.BadAnnotation,
		"_e{1,1}a|b":                       metric.BadAnnotation,
		"_e{-1,1}:a|b":                     metric.BadAnnotation,
		"_e{0,1}:|b":                       metric.BadAnnotation,
		"_e{1,2}:a|b":                      metric.BadAnnotation,
		"_e{2,1}:a|b":                      metric.BadAnnotation,
		"_e{1,1}:a|bc":                     metric.BadAnnotation,
		"_e{99999,99999}:a|b":              metric.BadAnnotation,
		"_e{1000000000000000000000,1}:a|b": metric.BadAnnotation,
		"_e{1,1}:a|\x1b":                   metric.BadAnnotation,
		"_e{1,1}:a|b|h:\x1b":               metric.BadAnnotation,
		"_e{1,1}:a|b|t:fine":               metric.BadAnnotation,
		"_e{1,1}:a|b|p:high":               metric.BadAnnotation,
		"_e{1,1}:a|\xff":                   metric.BadUTF8,
		"_e{1,1}:a|b|d:x":                  metric.BadTimestamp,
		"_e{1,1}:a|b|d:1":                  metric.TooOld,
		"_e{1,1}:a|b|d:1700000011":         metric.Future,
		"_e{1,1}:a|b|#:x":                  metric.BadTag,
		"_e{1,1}:a|b|#" + manyTags(65):     metric.TooManyTags,
		"_e{4090,1}:" + long(4090) + "|b":  metric.LineTooLong,
		"_sc|":                             metric.BadAnnotation,
		"_sc||0":                           metric.BadAnnotation,
		"_sc|a":                            metric.BadAnnotation,
		"_sc|a|":                           metric.BadAnnotation,
		"_sc|a|4":                          metric.BadAnnotation,
		"_sc|a|00":                         metric.BadAnnotation,
		"_sc|a\x00|0":                      metric.BadAnnotation,
		"_sc|a|0|d:":                       metric.BadTimestamp,
	} {
		got, reason := testParser.annotation([]byte(line), now)
		require.Equal(t, want, reason, "%q", line)
		require.Zero(t, got, "%q", line)
	}
}

func TestFeederNotesAnnotations(t *testing.T) {
	f := newTestFeeder(testParser)
	notes := NewAnnotations()
	feedOne := func(p string) {
		f.Feed([]byte(p), 0, len(p), now.Milli(), false)
		f.Flush([]byte(p), now.Milli())
	}
	feedOne("_e{1,1}:a|b\n_sc|a|1")
	f.Keep(notes)
	feedOne("a:1|c\n_e{1,1}:c|d\n_sc|a|9\n_x:1|c\n_e:1|c\n_e")
	c, _ := f.Counts()
	require.EqualValues(t, 3, c.Noted)
	require.EqualValues(t, 3, c.Accepted)
	require.EqualValues(t, 1, c.Rejected[metric.BadAnnotation])
	require.EqualValues(t, 1, c.Rejected[metric.NoValue])
	require.EqualValues(t, 8, c.Received)
	require.Equal(t, []Noted{{Seq: 1, Annotation: anEvent("c", "d")}}, notes.Since(0))
}

func TestFeederCountsIgnoredTimestamps(t *testing.T) {
	f := newTestFeeder(testParser)
	p := []byte("a:1:2|ms|T1\na:x|s|T1\na:1|c|T1700000000\na:1|ms|T0\na:x|ms|T1")
	f.Feed(p, 0, len(p), now.Milli(), false)
	f.Flush(p, now.Milli())
	c, _ := f.Counts()
	require.EqualValues(t, 3, c.TimeIgnored)
	require.EqualValues(t, 4, c.Accepted)
}

func TestAnnotationsKeepTheLast(t *testing.T) {
	a := NewAnnotations()
	require.Empty(t, a.Since(0))
	require.EqualValues(t, 2, a.Restore([]metric.Annotation{{Time: 5, Title: "old"}, {Time: 7, Title: "older"}}))
	for i := range maxAnnotations + 5 {
		a.Add(metric.Annotation{Time: metric.UnixSec(10_000_000 - i), Title: fmt.Sprint(i)})
	}
	all := a.Since(0)
	require.Len(t, all, maxAnnotations)
	require.Equal(t, "5", all[0].Title)
	require.EqualValues(t, 8, all[0].Seq)
	require.EqualValues(t, maxAnnotations+7, all[len(all)-1].Seq)
	require.Equal(t, all[10:], a.Since(all[9].Seq))
	require.Empty(t, a.Since(maxAnnotations+7))

	from := all[len(all)-1].Time // the latest to come, and the oldest by its time
	require.Equal(t, []Noted{all[len(all)-1], all[len(all)-2]}, a.Between(from, from+2, 10), "to is exclusive")
	require.Equal(t, []Noted{all[len(all)-2]}, a.Between(from, from+2, 1), "the newest are kept")
	require.Empty(t, a.Between(from-9, from, 10))
	require.Empty(t, a.Between(from, from+2, 0))
}

func TestAnnotationsAreBoundedInBytes(t *testing.T) {
	a := NewAnnotations()
	text := strings.Repeat("x", 1<<20)
	for range 200 {
		a.Add(metric.Annotation{Time: 1, Text: text})
	}
	require.Len(t, a.Since(0), maxAnnotationBytes>>20)
	a.Add(metric.Annotation{Time: 1, Title: strings.Repeat("y", maxAnnotationBytes+1)})
	require.Len(t, a.Since(0), 1, "one is kept, whatever its size")
}
