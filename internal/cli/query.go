package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cairn/internal/clock"
)

// queryFlags are what to ask for, where, and how to show it.
type queryFlags struct {
	text               string // the argument: a metric or PromQL
	server             string
	filters            []string
	by, without        []string
	from, to, step, fn string
	kind, shift, fill  string
	zone               string
	expr               string
	with               []string // of the letters in expr: a.metric=errors
	limit, top, bottom int
	cumulative         bool
	promql, native     bool
	instant            bool
	format             string
	spark              bool
	width, height      int // 0: those of the terminal
	timeout            time.Duration
}

// nativeFlags are those that PromQL has its own words for, or none.
var nativeFlags = []string{"filter", "by", "without", "fn", "kind", "limit", "top", "bottom", "shift", "fill", "cumulative", "expr", "with"}

var queryFormats = []string{"table", "json", "csv", "chart"}

// queryTimeout is longer than a server works on a query, unless its --max-query-time is raised.
const queryTimeout = 30 * time.Second

func newQuery() *cobra.Command {
	var f queryFlags
	c := &cobra.Command{
		Use:   "query METRIC | PROMQL",
		Short: "Ask a running server for a metric, or in PromQL",
		Long: `Ask a running server, and print a table, a chart, JSON or CSV.

What has a blank or one of ( { [ in it is PromQL, all else the name of a metric;
--promql and --native say so where that is wrong. A name may be a pattern with *, if
no metric is called so: --by __name__ tells the metrics apart.

Times are Unix seconds, RFC 3339, now, or a distance back such as -1h. A step is auto,
10s, 5m, 1h and so on; with --tz, days, weeks, months (1mo) and years begin there.
Filters are key:value, !key:value, key:a|b, key:prefix*, key:*, key=value, key!=value,
key=~regexp and key!~regexp.

What can be asked for depends on the kind: of a counter count and rate; of a gauge
last, avg, min, max, sum and count; of a distribution these (but last), rate,
p50, p99.9 and so on, above:250 and below:250 (shares); of a set uniques.

--expr calculates with queries, each a letter: --with a.metric=errors says what a is.
A letter may have a metric, filter, fn, kind, by, without and shift of its own; what is
given without a letter is for all.

PromQL is evaluated at whole steps from --from to --to, or, with --instant, at --to.`,
		Example: `  cairn query signups
  cairn query signups --by region --from -24h --step 1h --format chart
  cairn query signups --by host --top 5
  cairn query signups --from -7d --step 1d --tz Europe/Berlin
  cairn query signups --shift 1d --cumulative
  cairn query request.time --fn p99 --by route
  cairn query signups --filter env:prod --filter '!region:us-*' --format csv
  cairn query --expr 'a / b' --with a.metric=errors --with b.metric=requests --by region
  cairn query 'sum by (region) (rate(signups[1m]))' --from -1h --step 10s
  cairn query --promql signups --instant`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				f.text = args[0]
			}
			if err := f.check(c.Flags()); err != nil {
				return usageError{fmt.Errorf("query: %w", err)}
			}
			return runQuery(c.Context(), displayOf(c.OutOrStdout()), c.ErrOrStderr(), &f, clock.NewSystem())
		},
	}
	f.register(c.Flags())
	return c
}

func (f *queryFlags) register(fl *pflag.FlagSet) {
	fl.StringVar(&f.server, "server", "http://127.0.0.1:8127", "`URL` of the server")
	fl.StringArrayVar(&f.filters, "filter", nil, "only series whose tags match; repeatable")
	fl.StringArrayVar(&f.by, "by", nil, "group by these tag `keys`; repeatable or comma-separated; *: every tagset by itself")
	fl.StringArrayVar(&f.without, "without", nil, "group by all `keys` but these, in the same way")
	fl.StringVar(&f.from, "from", "-1h", "start, inclusive")
	fl.StringVar(&f.to, "to", "now", "end, exclusive; of PromQL inclusive")
	fl.StringVar(&f.step, "step", "auto", "width of a point")
	fl.StringVar(&f.fn, "fn", "", "count, rate, last, avg, min, max, sum, p50, p99.9, uniques, above:250, …; by default the kind's own")
	fl.StringVar(&f.kind, "kind", "", "counter, gauge, distribution or set, where a name has several")
	fl.IntVar(&f.limit, "limit", 100, "groups to print, the largest totals first")
	fl.IntVar(&f.top, "top", 0, "the `N` groups with the largest totals, and the others as one")
	fl.IntVar(&f.bottom, "bottom", 0, "the `N` groups with the smallest totals, and the others as one")
	fl.StringVar(&f.shift, "shift", "", "what was so much `earlier`, such as 1d, at the times asked for")
	fl.StringVar(&f.fill, "fill", "", "what a point without an event is: null or zero")
	fl.BoolVar(&f.cumulative, "cumulative", false, "add up over the range")
	fl.StringVar(&f.zone, "tz", "", "time `zone` of what is printed, and of steps of days and longer, such as Europe/Berlin; by default UTC")
	fl.StringVar(&f.expr, "expr", "", "calculate with queries: + - * / ( ), numbers and letters, such as 'a / b'")
	fl.StringArrayVar(&f.with, "with", nil, "what a letter of --expr is: `a.metric=errors`, b.filter=code:500, …; repeatable")
	fl.BoolVar(&f.promql, "promql", false, "the argument is PromQL")
	fl.BoolVar(&f.native, "native", false, "the argument is the name of a metric")
	fl.BoolVar(&f.instant, "instant", false, "evaluate PromQL at --to alone")
	fl.StringVar(&f.format, "format", "table", "table, chart, csv, or json: the server's answer as it is")
	fl.BoolVar(&f.spark, "spark", false, "a small picture of each series in the table, also where the output is no terminal")
	fl.IntVar(&f.width, "width", 0, "columns that a chart may take; 0: those of the terminal, or 100")
	fl.IntVar(&f.height, "height", 0, "lines that a chart may take; 0: those of the terminal, or 24")
	fl.DurationVar(&f.timeout, "timeout", queryTimeout, "how long to wait for the answer")
}

// check says what of the command line does not fit together, and settles which language the
// argument is in.
func (f *queryFlags) check(fl *pflag.FlagSet) error {
	switch {
	case !slices.Contains(queryFormats, f.format):
		return fmt.Errorf("format %q is not table, json, csv or chart", f.format)
	case f.promql && f.native:
		return errors.New("--promql and --native exclude one another")
	case f.text == "" && f.promql:
		return errors.New("--promql needs an argument")
	case f.text == "" && f.expr == "":
		return errors.New("accepts 1 arg, a metric or PromQL, and got none; see --expr, too")
	case f.width < 0 || f.width > 0 && f.width < minWidth || f.height < 0:
		return fmt.Errorf("a chart of %d columns and %d lines is too small; --width must be at least %d", f.width, f.height, minWidth)
	case f.timeout <= 0:
		return fmt.Errorf("--timeout %s is not above 0", f.timeout)
	case f.expr == "" && len(f.with) > 0:
		return errors.New("--with says what the letters of --expr are, and there is none")
	}
	for name, n := range map[string]int{"limit": f.limit, "top": f.top, "bottom": f.bottom} {
		if fl.Changed(name) && n < 1 {
			return fmt.Errorf("--%s %d is below 1", name, n)
		}
	}
	if _, err := f.location(); err != nil {
		return err
	}
	f.promql = f.promql || !f.native && f.expr == "" && isPromQL(f.text)
	if f.promql {
		return f.checkPromQL(fl)
	}
	if f.instant {
		return errors.New("--instant is for PromQL; --promql says that the argument is")
	}
	_, err := f.letters()
	return err
}

func (f *queryFlags) checkPromQL(fl *pflag.FlagSet) error {
	for _, name := range nativeFlags {
		if fl.Changed(name) {
			return fmt.Errorf("--%s is for metrics by name, and %q is PromQL, which says it in the expression; --native makes a name of it", name, f.text)
		}
	}
	if !f.instant {
		return nil
	}
	for _, name := range []string{"from", "step"} {
		if fl.Changed(name) {
			return fmt.Errorf("--instant evaluates at --to alone, without --%s", name)
		}
	}
	if f.format == "chart" {
		return errors.New("--instant has one point a series, which is no chart; leave it out, or choose another --format")
	}
	return nil
}

// location is the zone that times are printed in.
func (f *queryFlags) location() (*time.Location, error) {
	if f.zone == "" {
		return time.UTC, nil
	}
	zone, err := time.LoadLocation(f.zone)
	if err != nil || f.zone == "Local" {
		return nil, fmt.Errorf("time zone %q is not known here; use a name such as Europe/Berlin or UTC", f.zone)
	}
	return zone, nil
}

var letterParam = regexp.MustCompile(`^[a-z]\.(metric|filter|fn|kind|by|without|shift)$`)

// letters returns what --with says, as parameters.
func (f *queryFlags) letters() (url.Values, error) {
	p := url.Values{}
	for _, s := range f.with {
		key, value, ok := strings.Cut(s, "=")
		if !ok || value == "" || !letterParam.MatchString(key) {
			return nil, fmt.Errorf("--with %q is not understood; write a letter of --expr, a dot, one of metric, filter, fn, kind, by, without, shift, and =value, such as a.metric=errors", s)
		}
		p.Add(key, value)
	}
	return p, nil
}

// nativeQuestion makes the question of a native query.
func (f *queryFlags) nativeQuestion() (question, error) {
	p, err := f.letters()
	if err != nil {
		return question{}, err
	}
	for name, value := range map[string]string{
		"metric": f.text, "from": f.from, "to": f.to, "step": f.step, "fn": f.fn, "kind": f.kind, "limit": strconv.Itoa(f.limit),
		"shift": f.shift, "fill": f.fill, "tz": f.zone, "expr": f.expr,
	} {
		if value != "" {
			p.Set(name, value)
		}
	}
	for name, list := range map[string][]string{"filter": f.filters, "by": f.by, "without": f.without} {
		if len(list) > 0 {
			p[name] = list
		}
	}
	for name, n := range map[string]int{"top": f.top, "bottom": f.bottom} {
		if n > 0 {
			p.Set(name, strconv.Itoa(n))
		}
	}
	if f.cumulative {
		p.Set("cumulative", "1")
	}
	return question{command: "query", server: f.server, path: "api/query", params: p}, nil
}

// runQuery asks, and prints the answer.
func runQuery(ctx context.Context, d display, stderr io.Writer, f *queryFlags, c clock.Clock) error {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := endSignals(ctx)
	defer stop()
	zone, err := f.location()
	if err != nil {
		return usageError{fmt.Errorf("query: %w", err)}
	}
	var q question
	var at promRange
	if f.promql {
		q, at, err = promQuestion(f, c)
	} else {
		q, err = f.nativeQuestion()
	}
	if err != nil {
		return usageError{fmt.Errorf("query: %w", err)}
	}
	limit, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	body, err := ask(limit, q)
	if err != nil {
		return queryFailure(err, f)
	}
	if f.format == "json" {
		_, err := d.out.Write(body)
		return err
	}
	var r *result
	if f.promql {
		r, err = readPromQL(body, f.text, at, zone)
	} else {
		r, err = readAnswer(body, zone)
	}
	if err != nil {
		return fmt.Errorf("query: the answer of %s is not Cairn's: %w", f.server, err)
	}
	if f.cumulative {
		r.lines, r.cumulative, r.notes = true, true, append(r.notes, "added up")
	}
	if f.shift != "" {
		r.notes = append(r.notes, printable(strings.TrimPrefix(f.shift, "-"))+" earlier")
	}
	for _, w := range r.warnings {
		fmt.Fprintf(stderr, "cairn: %s\n", sentence(w))
	}
	if f.width > 0 {
		d.width = f.width
	}
	if f.height > 0 {
		d.height = f.height
	}
	return show(d, r, f)
}

// queryFailure puts the command in front of what ask answered.
func queryFailure(err error, f *queryFlags) error {
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return err
	case errors.Is(err, context.Canceled):
		return errors.New("query: interrupted")
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("query: %s has not answered within %s; see --timeout", f.server, f.timeout)
	}
	return fmt.Errorf("query: %w", err)
}

func show(d display, r *result, f *queryFlags) error {
	switch f.format {
	case "csv":
		return printCSV(d.out, r)
	case "chart":
		return printChart(d, r)
	}
	return printTable(d, r, f.spark || d.terminal)
}
