package cli

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// queryFlags are the parameters of GET /api/query, with where to send them.
type queryFlags struct {
	server             string
	filters, by        []string
	from, to, step, fn string
	kind               string
	limit              int
	format             string
}

// answer is the JSON of GET /api/query; web/encode.go writes it.
type answer struct {
	Metric string  `json:"metric"`
	Fn     string  `json:"fn"`
	From   int64   `json:"from"`
	To     int64   `json:"to"`
	Step   int64   `json:"step"`
	Tier   string  `json:"tier"`
	Times  []int64 `json:"times"`
	Series []struct {
		Tags   map[string]any `json:"tags"`
		Values []*float64     `json:"values"`
		Total  float64        `json:"total"`
		Min    *float64       `json:"min"`
		Max    *float64       `json:"max"`
		Last   *float64       `json:"last"`
	} `json:"series"`
	Total         *float64 `json:"total"`
	SeriesMatched int      `json:"series_matched"`
	Truncated     bool     `json:"truncated"`
	Warnings      []string `json:"warnings"`
}

// queryTimeout is longer than the server works on a query.
const queryTimeout = 30 * time.Second

func newQuery() *cobra.Command {
	var f queryFlags
	c := &cobra.Command{
		Use:   "query METRIC",
		Short: "Ask a running server for a metric",
		Long: `Ask a running server for a metric, and print a table, JSON or CSV.

Times are Unix seconds, RFC 3339, now, or a distance back such as -1h. Filters are
key:value, !key:value, key:a|b, key:prefix* or key:*.

What can be asked for depends on the kind: of a counter count and rate; of a gauge
last, avg, min, max, sum and count; of a distribution these (but last), rate,
p50, p99.9 and so on, above:250 and below:250 (shares); of a set uniques.`,
		Example: `  cairn query signups
  cairn query signups --by region --from -24h --step 1h
  cairn query request.time --fn p99 --by route
  cairn query signups --filter env:prod --filter '!region:us-*' --format csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return runQuery(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), args[0], f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.server, "server", "http://127.0.0.1:8127", "`URL` of the server")
	fl.StringArrayVar(&f.filters, "filter", nil, "only series whose tags match; repeatable")
	fl.StringArrayVar(&f.by, "by", nil, "group by these tag keys; repeatable or comma-separated")
	fl.StringVar(&f.from, "from", "-1h", "start, inclusive")
	fl.StringVar(&f.to, "to", "now", "end, exclusive")
	fl.StringVar(&f.step, "step", "auto", "width of a point")
	fl.StringVar(&f.fn, "fn", "", "count, rate, last, avg, min, max, sum, p50, p99.9, uniques, above:250, …; by default the kind's own")
	fl.StringVar(&f.kind, "kind", "", "counter, gauge, distribution or set, where a name has several")
	fl.IntVar(&f.limit, "limit", 100, "groups to print, the largest totals first")
	fl.StringVar(&f.format, "format", "table", "table, json or csv")
	return c
}

func runQuery(ctx context.Context, stdout, stderr io.Writer, name string, f queryFlags) error {
	if !slices.Contains([]string{"table", "json", "csv"}, f.format) {
		return usageError{fmt.Errorf("query: format %q is not table, json or csv", f.format)}
	}
	body, err := fetch(ctx, name, f)
	if err != nil {
		return err
	}
	if f.format == "json" {
		_, err := stdout.Write(body)
		return err
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return fmt.Errorf("query: the answer of %s is not Cairn's: %w", f.server, err)
	}
	for _, w := range a.Warnings {
		fmt.Fprintf(stderr, "cairn: %s\n", w)
	}
	if f.format == "csv" {
		return printCSV(stdout, &a)
	}
	return printTable(stdout, &a)
}

func fetch(ctx context.Context, name string, f queryFlags) ([]byte, error) {
	base, err := url.Parse(f.server)
	if err != nil || base.Host == "" {
		return nil, usageError{fmt.Errorf("query: server %q is not a URL such as http://127.0.0.1:8127", f.server)}
	}
	u := base.JoinPath("api/query")
	u.RawQuery = url.Values{
		"metric": {name}, "filter": f.filters, "by": f.by, "from": {f.from}, "to": {f.to},
		"step": {f.step}, "fn": {f.fn}, "kind": {f.kind}, "limit": {strconv.Itoa(f.limit)},
	}.Encode()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		return nil, fmt.Errorf("query: cannot reach %s: %w; is 'cairn serve' running there?", f.server, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("query: read the answer of %s: %w", f.server, err)
	}
	if resp.StatusCode != http.StatusOK {
		var e struct{ Error string }
		if json.Unmarshal(body, &e) != nil || e.Error == "" {
			return nil, fmt.Errorf("query: %s answered %s", f.server, resp.Status)
		}
		return nil, fmt.Errorf("query: %s", e.Error)
	}
	return body, nil
}

// number prints v as the API does: whole numbers without an exponent.
func number(v *float64) string {
	if v == nil {
		return ""
	}
	if *v > -1<<53 && *v < 1<<53 {
		return strconv.FormatFloat(*v, 'f', -1, 64)
	}
	return strconv.FormatFloat(*v, 'g', -1, 64)
}

func stamp(sec int64) string { return time.Unix(sec, 0).UTC().Format(time.RFC3339) }

// tagNames returns the keys that the groups were made by, sorted.
func tagNames(a *answer) []string {
	keys := map[string]bool{}
	for _, s := range a.Series {
		for k := range s.Tags {
			keys[k] = true
		}
	}
	out := make([]string, 0, len(keys))
	for k := range keys {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func tagText(v any) string {
	switch v := v.(type) {
	case string:
		return printable(v)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = tagText(v[i])
		}
		return strings.Join(parts, "|")
	}
	return "-"
}

// printable keeps a tag from moving the cursor or colouring the terminal.
func printable(s string) string {
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

func printTable(w io.Writer, a *answer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	keys := tagNames(a)
	fmt.Fprintf(t, "%s of %s from %s to %s, step %ds, tier %s\n", a.Fn, printable(a.Metric), stamp(a.From), stamp(a.To), a.Step, a.Tier)
	for _, k := range keys {
		fmt.Fprintf(t, "%s\t", strings.ToUpper(printable(k)))
	}
	fmt.Fprintf(t, "TOTAL\tMIN\tMAX\tLAST\t\n")
	for i := range a.Series {
		s := &a.Series[i]
		for _, k := range keys {
			fmt.Fprintf(t, "%s\t", tagText(s.Tags[k]))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", number(&s.Total), number(s.Min), number(s.Max), number(s.Last))
	}
	cut := ""
	if a.Truncated {
		cut = fmt.Sprintf("; the first %d groups are shown", len(a.Series))
	}
	fmt.Fprintf(t, "total %s over %d series%s\n", number(a.Total), a.SeriesMatched, cut)
	return t.Flush()
}

// printCSV writes one row a point: time, tags, value. A point without an event
// has no row.
func printCSV(w io.Writer, a *answer) error {
	keys := tagNames(a)
	c := csv.NewWriter(w)
	rows := [][]string{append(append([]string{"time"}, keys...), a.Fn)}
	for i := range a.Series {
		s := &a.Series[i]
		for j, v := range s.Values {
			if v == nil {
				continue
			}
			row := []string{stamp(a.Times[j])}
			for _, k := range keys {
				row = append(row, tagText(s.Tags[k]))
			}
			rows = append(rows, append(row, number(v)))
		}
	}
	return c.WriteAll(rows)
}
