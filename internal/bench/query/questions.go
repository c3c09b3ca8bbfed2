//go:build linux

package main

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"cairn/internal/metric"
)

// question is one query, in the three languages.
type question struct {
	name string // for -run
	what string
	bar  time.Duration // of the native API

	metric string // native: a name, or a pattern
	filter string // native
	by     string // a tag; "": the sum of all
	prom   string // selector of Cairn's PromQL, in braces
	vic    string // the same in VictoriaMetrics
	from   metric.UnixSec
	to     metric.UnixSec // exclusive
	step   int64          // seconds; divides the range
}

// The bars are those of issue 6.
const (
	promBar     = 2   // times the native API
	victoriaBar = 0.5 // of VictoriaMetrics' time
)

// questions returns those of the issue.
func questions(d *dataset) []question {
	one := question{metric: metricName(0), prom: fmt.Sprintf("{%q}", metricName(0)), vic: victoriaName(metricName(0)), to: d.End}
	all := question{metric: "shop.metric_*", prom: `{__name__=~"shop.metric_.*"}`, vic: `{__name__=~"shop_metric_.*"}`, to: d.End}
	id := wideID(d.asked())
	exact := question{
		metric: wideName, filter: "id:" + id, to: d.End,
		prom: fmt.Sprintf("{%q,id=%q}", wideName, id), vic: fmt.Sprintf("%s{id=%q}", victoriaName(wideName), id),
	}
	with := func(q question, name, what string, back metric.UnixSec, step int64, by string, bar time.Duration) question {
		q.name, q.what, q.from, q.step, q.by, q.bar = name, what, d.End-back, step, by, bar
		return q
	}
	ms := time.Millisecond
	return []question{
		with(one, "one", "one metric (100 series), 1 h at 10 s, summed", hour, 10, "", 2*ms),
		with(all, "all10s", "all, 1 h at 10 s, summed", hour, 10, "", 10*ms),
		with(all, "all1m", "all, 1 h at 1 m, by region", hour, 60, "region", 10*ms),
		with(all, "day", "all, 24 h at 1 m, by region", day, 60, "region", 40*ms),
		with(all, "month", fmt.Sprintf("all, %d d at 1 h, by region", d.Days), metric.UnixSec(d.Days)*day, hour, "region", 25*ms),
		with(exact, "exact", fmt.Sprintf("1 series of %d by exact tags, 1 h at 1 s", d.Wide), hour, 1, "", 1*ms),
	}
}

// nativePath asks GET /api/query.
func (q *question) nativePath() string {
	v := url.Values{
		"metric": {q.metric}, "from": {seconds(q.from)}, "to": {seconds(q.to)}, "step": {fmt.Sprintf("%ds", q.step)},
	}
	if q.filter != "" {
		v.Set("filter", q.filter)
	}
	if q.by != "" {
		v.Set("by", q.by)
	}
	return "/api/query?" + v.Encode()
}

// promPath asks Cairn's PromQL.
func (q *question) promPath() string {
	return q.rangePath("increase("+q.prom+"["+q.window()+"])", nil)
}

// victoriaPath asks VictoriaMetrics, whose samples are sums of seconds.
func (q *question) victoriaPath() string {
	return q.rangePath("sum_over_time("+q.vic+"["+q.window()+"])", url.Values{"nocache": {"1"}})
}

func (q *question) window() string { return fmt.Sprintf("%ds", q.step) }

// rangePath asks for a window before each whole step. Windows end at their time, where
// native buckets begin. What is one series is not summed.
func (q *question) rangePath(windows string, v url.Values) string {
	switch {
	case q.by != "":
		windows = "sum by (" + q.by + ") (" + windows + ")"
	case q.filter == "":
		windows = "sum(" + windows + ")"
	}
	if v == nil {
		v = url.Values{}
	}
	v.Set("query", windows)
	v.Set("start", seconds(q.from+metric.UnixSec(q.step)))
	v.Set("end", seconds(q.to))
	v.Set("step", strconv.FormatInt(q.step, 10))
	return "/api/v1/query_range?" + v.Encode()
}

func seconds(s metric.UnixSec) string { return strconv.FormatInt(int64(s), 10) }
