package ingest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cairn/agg"
	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// event is what a line says, with all that the table of series needs.
type event struct {
	series  metric.Series
	bits    uint64 // of a set
	value   float64
	op      agg.Op
	sec     metric.UnixSec
	ignored bool // its timestamp
}

func of(kind metric.Kind, name string, value float64) event {
	return event{series: metric.Series{ID: metric.ID{Name: name, Kind: kind}}, value: value}
}
func count(name string, v float64) event { return of(metric.Counter, name, v) }
func gauge(name string, v float64) event { return of(metric.Gauge, name, v) }
func dist(name string, v float64) event  { return of(metric.Distribution, name, v) }
func set(name, member string) event {
	e := of(metric.Set, name, 0)
	e.bits = bucket.HashMember([]byte(member))
	return e
}

// tags adds tags, written with a comma between them; none has one inside.
func (e event) tags(list string) event {
	var tags []metric.Tag
	for _, s := range strings.Split(list, ",") {
		k, v, _ := strings.Cut(s, ":")
		tags = append(tags, metric.Tag{Key: k, Value: v})
	}
	e.series.Tags = metric.NewTagset(tags)
	return e
}
func (e event) at(sec metric.UnixSec) event { e.sec = sec; return e }
func (e event) assign() event               { e.op = agg.Assign; return e }
func (e event) adjust() event               { e.op = agg.Adjust; return e }
func (e event) timeless() event             { e.ignored = true; return e }

// counted is a line and what it says.
type counted struct {
	line string
	want []event
}

func is(line string, want ...event) counted { return counted{line, want} }

// mustCount is read alike by every dialect.
var mustCount = []counted{
	is("a:1|c", count("a", 1)),
	is("a.b_c-d:12|c", count("a.b_c-d", 12)),
	is("a:1.5|c", count("a", 1.5)),
	is("a:-2|c", count("a", -2)),
	is("a:+2|c", count("a", 2)),
	is("a:0|c", count("a", 0)),
	is("a:1e3|c", count("a", 1000)),
	is("a:1E-3|c", count("a", 0.001)),
	is("a:.5|c", count("a", 0.5)),
	is("a:5.|c", count("a", 5)),
	is("a:0.1|c", count("a", 0.1)),
	is("a:007|c", count("a", 7)),
	is("a:999999999999999|c", count("a", 999999999999999)),
	is("a:9007199254740993|c", count("a", 9007199254740992)),
	is("a:18446744073709551617|c", count("a", 18446744073709551617)),
	is("a:123456789012345.678|c", count("a", 123456789012345.678)),
	is("a:1:2:3|c", count("a", 1), count("a", 2), count("a", 3)),
	is("a:1:-2.5:3|ms|@0.5|#x:1", dist("a", 2).tags("x:1"), dist("a", -5).tags("x:1"), dist("a", 6).tags("x:1")),

	// Types.
	is("a:3|m", count("a", 3)),
	is("a:3|h", dist("a", 3)),
	is("a:3|d", dist("a", 3)),
	is("a:3|ms", dist("a", 3)),
	is("a:12.75|ms|#x:1", dist("a", 12.75).tags("x:1")),
	is("a:alice|s", set("a", "alice")),
	is("a:7|s", set("a", "7")),
	is("a:1:2|s", set("a", "1:2")),
	is("a::|s|#x:1", set("a", ":").tags("x:1")),
	is("a:\xff \x01|s", set("a", "\xff \x01")),

	// Rates.
	is("a:1|c|@0.1", count("a", 10)),
	is("a:3|c|@0.3", count("a", 10)),
	is("a:1|c|@1", count("a", 1)),
	is("a:1|c|@0.000001", count("a", 1000000)),
	is("a:1|c|@1e-2", count("a", 100)),
	is("a:1|m|@0.25", count("a", 4)),
	is("a:x|s|@0.1", set("a", "x")),

	// Tags in a field.
	is("a:1|c|#env:prod", count("a", 1).tags("env:prod")),
	is("a:1|c|@0.5|#b:2,a:1", count("a", 2).tags("a:1,b:2")),
	is("a:1|c|#b:2,a:1|@0.5", count("a", 2).tags("a:1,b:2")),
	is("a:1|c|#a:1,a:1,a:2", count("a", 1).tags("a:1,a:2")),
	is("a:1|c|#canary", count("a", 1).tags("canary")),
	is("a:1|c|#canary:", count("a", 1).tags("canary")),
	is("a:1|c|#a:1,#b:2", count("a", 1).tags("a:1,b:2")),
	is("a:1|c|#a:1|#b:2", count("a", 1).tags("a:1,b:2")),
	is("a:1|c|#t:a:b", count("a", 1).tags("t:a:b")),
	is("a:1|c|#", count("a", 1)),
	is("a:1|c|#,,x:1,", count("a", 1).tags("x:1")),
	is("a:1|c|#k=v", count("a", 1).tags("k=v")),

	// Timestamps.
	is("a:1|c|T1699999990", count("a", 1).at(1_699_999_990)),
	is("a:1|m|#x:1|T1699999990", count("a", 1).tags("x:1").at(1_699_999_990)),
	is("a:1|c|T1699999990|#x:1", count("a", 1).tags("x:1").at(1_699_999_990)),
	is("a:1:2|c|T1700000010", count("a", 1).at(1_700_000_010), count("a", 2).at(1_700_000_010)),
	is("a:1|c|#host:T1699999990", count("a", 1).tags("host:T1699999990")),
	is("a:1|ms|T1699999990", dist("a", 1).timeless()),
	is("a:1:2|h|T1|#x:1", dist("a", 1).tags("x:1").timeless(), dist("a", 2).tags("x:1").timeless()),
	is("a:1|d|T99999999999", dist("a", 1).timeless()),
	is("a:x|s|T1699999990", set("a", "x").timeless()),
	is("a:x|s|T1699999990|", set("a", "x").timeless()),

	// Fields that are ignored.
	is("a:1|c|#x:1|c:abc123|e:it-false|card:low|zz", count("a", 1).tags("x:1")),
	is("a:1|c|c:in-12:34", count("a", 1)),
	is("a:1|c|c:in-12:34|@0.5", count("a", 2)),
	is("a:1|c||#x:1|", count("a", 1).tags("x:1")),
	is("a:1|c|t1:2|:3", count("a", 1)),

	// Names.
	is("a/b c:1|c", count("a-b_c", 1)),
	is("a\tb\u2003c\u0085d:1|c", count("a_b_c_d", 1)),
	is("größe.é:1|c|#ort:Köln", count("größe.é", 1).tags("ort:Köln")),
	is("_e:1|c", count("_e", 1)),
	is("_sc:1|c", count("_sc", 1)),
	is("a]=b:1|c", count("a]=b", 1)),
	is(long(255)+":1|c", count(long(255), 1)),

	// Tags in the name.
	is("a,k=v,k2=v2:1|c", count("a", 1).tags("k:v,k2:v2")),
	is("a;k=v;k2=v2:1:2|ms", dist("a", 1).tags("k:v,k2:v2"), dist("a", 2).tags("k:v,k2:v2")),
	is("a#k=v,k2=v2:x|s", set("a", "x").tags("k:v,k2:v2")),
	is("pre[k=v,k2=v2]post:1|c|@0.5", count("prepost", 2).tags("k:v,k2:v2")),
	is("[k=v]post:1|c", count("post", 1).tags("k:v")),
	is("pre[k=v]:1|c", count("pre", 1).tags("k:v")),
	is("a b/c,k=v/w x:1|c", count("a_b-c", 1).tags("k:v/w x")),
	is("a,k=:1|c", count("a", 1).tags("k")),
	is("a,k=v,k=v,k=w:1|c", count("a", 1).tags("k:v,k:w")),
	is("a,k=v=w;x#y[z]:1|c", count("a", 1).tags("k:v=w;x#y[z]")),
	is("a;k=v,w=x:1|c", count("a", 1).tags("k:v").tagPair("k", "v,w=x")),
	is("a,k=v:1|c|c:abc|T1699999990", count("a", 1).tags("k:v").at(1_699_999_990)),
	is(long(255)+",k="+long(253)+":1|c", count(long(255), 1).tags("k:"+long(253))),

	// Several values with types of their own.
	is("a:1|c:2|ms", count("a", 1), dist("a", 2)),
	is("a:1|c|@0.1:2|ms|@0.5:3|m", count("a", 10), dist("a", 4), count("a", 3)),
	is("a:1:2|c:3|ms", count("a", 1), count("a", 2), dist("a", 3)),
	is("u:a|s:b|s:c:d|s", set("u", "a"), set("u", "b"), set("u", "c:d")),
	is("a,k=v:1|c:2|c|@0.5", count("a", 1).tags("k:v"), count("a", 4).tags("k:v")),
	is("a b:1|c:2|h", count("a_b", 1), dist("a_b", 2)),
}

// tagPair sets one tag whose value has a comma inside.
func (e event) tagPair(k, v string) event {
	e.series.Tags = metric.NewTagset([]metric.Tag{{Key: k, Value: v}})
	return e
}

// mustDiffer is read in another way by each dialect; nil: not at all.
var mustDiffer = []struct {
	line    string
	dialect [numDialects][]event
}{
	{"a:5|g", [...][]event{{gauge("a", 5)}, {gauge("a", 5).assign()}, {gauge("a", 5)}}},
	{"a:-5|g", [...][]event{{gauge("a", -5)}, {gauge("a", -5).adjust()}, {gauge("a", -5)}}},
	{"a:+1.5|g|#x:1", [...][]event{{gauge("a", 1.5).tags("x:1")}, {gauge("a", 1.5).tags("x:1").adjust()}, {gauge("a", 1.5).tags("x:1")}}},
	{"a:1:+2|g|T1699999990", [...][]event{
		{gauge("a", 1).at(1_699_999_990), gauge("a", 2).at(1_699_999_990)},
		{gauge("a", 1).at(1_699_999_990).assign(), gauge("a", 2).at(1_699_999_990).adjust()},
		{gauge("a", 1).at(1_699_999_990), gauge("a", 2).at(1_699_999_990)},
	}},
	{"a:1|g|@0.1:-1|g", [...][]event{
		{gauge("a", 1), gauge("a", -1)}, {gauge("a", 1).assign(), gauge("a", -1).adjust()}, {gauge("a", 1), gauge("a", -1)},
	}},
	{"a:3|C", [...][]event{nil, nil, {count("a", 3)}}},
	{"a:3|C|@0.5:1|c", [...][]event{nil, nil, {count("a", 6), count("a", 1)}}},
}

// mustReject is rejected by every dialect.
var mustReject = map[string]metric.Reason{
	"a":                                     metric.NoValue,
	"a|c":                                   metric.NoValue,
	"a:|c":                                  metric.NoValue,
	"a::1|c":                                metric.NoValue,
	"a:1::2|c":                              metric.NoValue,
	"a:|s":                                  metric.NoValue,
	"a|c|#x:1|y":                            metric.NoValue,
	"a:1|c:|ms":                             metric.NoValue,
	"a:1":                                   metric.NoType,
	"a:1|":                                  metric.NoType,
	"a:1||#x":                               metric.NoType,
	"a:1|:2|c":                              metric.NoType,
	"a:1|c:2":                               metric.NoType,
	"a:1|c:2|":                              metric.NoType,
	"a:1|c:":                                metric.NoType,
	":1|c":                                  metric.EmptyName,
	",k=v:1|c":                              metric.EmptyName,
	"[k=v]:1|c":                             metric.EmptyName,
	"a\x01:1|c":                             metric.BadName,
	"a[k=v]\x7f:1|c":                        metric.BadName,
	"a\x01:1|c:2|c":                         metric.BadName,
	"a\xff:1|c":                             metric.BadUTF8,
	"a,k=\xff:1|c":                          metric.BadUTF8,
	"a:1|c|#k:\xff":                         metric.BadUTF8,
	"a:x|c":                                 metric.BadValue,
	"a:x|ms":                                metric.BadValue,
	"a:1 |c":                                metric.BadValue,
	"a: 1|c":                                metric.BadValue,
	"a:NaN|c":                               metric.BadValue,
	"a:inf|g":                               metric.BadValue,
	"a:-Infinity|c":                         metric.BadValue,
	"a:0x10|c":                              metric.BadValue,
	"a:1_000|c":                             metric.BadValue,
	"a:1e400|c":                             metric.BadValue,
	"a:1e300|c":                             metric.BadValue,
	"a:1:1e300|c":                           metric.BadValue,
	"a:-|c":                                 metric.BadValue,
	"a:.|c":                                 metric.BadValue,
	"a:1.2.3|c":                             metric.BadValue,
	"a:--1|c":                               metric.BadValue,
	"a:1:x|c":                               metric.BadValue,
	"a:1|c:x|ms":                            metric.BadValue,
	"a:1|q":                                 metric.BadType,
	"a:1|cc":                                metric.BadType,
	"a:1|c :2|c":                            metric.BadType,
	"a:1|c:2|c|c:abc":                       metric.BadType,
	"a:1|c:2|c|T1700000000":                 metric.BadType,
	"a:1|c:2|q":                             metric.BadType,
	"a,k=v:1|c|#x:1":                        metric.MixedTags,
	"a;k=v:1|c|#":                           metric.MixedTags,
	"a:1|c:2|ms|#x:1":                       metric.MixedTags,
	"a:1|c|#x|@0.5:2|c":                     metric.BadRate,
	"a:1|c|@0":                              metric.BadRate,
	"a:1|c|@-1":                             metric.BadRate,
	"a:1|c|@1.1":                            metric.BadRate,
	"a:1|g|@x":                              metric.BadRate,
	"a:1|c|@":                               metric.BadRate,
	"a:1|c|@NaN":                            metric.BadRate,
	"a:1|c|@0.1|@0.1":                       metric.BadRate,
	"a:1|c|@2:1|c":                          metric.BadRate,
	"a:1|c|@0.1:1|c|@0.1|@0.1":              metric.BadRate,
	"a:1|c|T0":                              metric.BadTimestamp,
	"a:1|c|T-5|#x":                          metric.BadTimestamp,
	"a:1|c|Tx":                              metric.BadTimestamp,
	"a:1|c|T":                               metric.BadTimestamp,
	"a:1|ms|T0":                             metric.BadTimestamp,
	"a:1|ms|T1.5":                           metric.BadTimestamp,
	"a:1|ms|T5|T6":                          metric.BadTimestamp,
	"a:1|ms|T5|T6|#x":                       metric.BadTimestamp,
	"a:1|c|T1700000000|T1700000001":         metric.BadTimestamp,
	"a:1|c|T5|T1700000000":                  metric.BadTimestamp,
	"a:1|c|T1700000011":                     metric.Future,
	"a:1|g|T1700000000000":                  metric.Future,
	"a:1|c|T1":                              metric.TooOld,
	"a:1|g|T1|#x":                           metric.TooOld,
	"a:1|c|#:x":                             metric.BadTag,
	"a:1|c|#a:\x02":                         metric.BadTag,
	"a,k:1|c":                               metric.BadTag,
	"a,:1|c":                                metric.BadTag,
	"a;k=v;:1|c":                            metric.BadTag,
	"a#=v:1|c":                              metric.BadTag,
	"a[k=v:1|c":                             metric.BadTag,
	"a[]:1|c":                               metric.BadTag,
	"a[k=v]b,x=y:1|c":                       metric.BadTag,
	"a,k=\x02:1|c":                          metric.BadTag,
	"a:1|c|#" + long(256):                   metric.TagTooLong,
	"a,k=" + long(254) + ":1|c":             metric.TagTooLong,
	long(256) + ":1|c":                      metric.NameTooLong,
	long(200) + "[k=v]" + long(56) + ":1|c": metric.NameTooLong,
	"a:1|c|#" + long(4096):                  metric.LineTooLong,
	"a:1|c|#" + manyTags(65):                metric.TooManyTags,
	"a" + strings.Repeat(",k=v", 65) + ":1|c": metric.TooManyTags,
	"a:1|c|T" + long(20):                      metric.BadTimestamp,
	"a:1|c|T1234567890123456789":              metric.BadTimestamp,
	"_e{1,1}:a":                               metric.BadAnnotation,
	"_sc|a|9":                                 metric.BadAnnotation,
}

// corpus returns all lines above.
func corpus() []string {
	var out []string
	for _, c := range mustCount {
		out = append(out, c.line)
	}
	for _, c := range mustDiffer {
		out = append(out, c.line)
	}
	return slices.AppendSeq(out, maps.Keys(mustReject))
}

func long(n int) string { return strings.Repeat("x", n) }

func manyTags(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "t%d,", i)
	}
	return b.String()
}
