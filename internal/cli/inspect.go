package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"cairn/internal/engine"
)

type inspectFlags struct {
	dir           string
	compact, json bool
	limit         int
}

func newInspect() *cobra.Command {
	var f inspectFlags
	c := &cobra.Command{
		Use:   "inspect",
		Short: "Tell what a data dir holds, and what it takes on disk",
		Long: `Read the store of a server that is stopped, or of a copy, and tell of each
resolution and each metric how many series, chunks and samples it has, from when to
when, and how many bytes of the disk they take. A sample is a bucket with an event.

The bytes are those of files: keys, indexes and checksums are in them, and
compression is. A metric has the part of them that its chunks have of all chunks.

Nothing is changed, unless --compact is given: then all is written anew first, as
small as it gets, and nobody may use the data dir; a backup stays as it is, and is
refused. What is damaged is told, and the rest is counted.`,
		Example: `  cairn inspect --data-dir /var/lib/cairn
  cairn inspect --data-dir /backup/cairn --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case f.dir == "":
				return usageError{errors.New("inspect: --data-dir is missing; name the directory that holds the store")}
			case f.limit < 0:
				return usageError{fmt.Errorf("inspect: --limit %d is below 0", f.limit)}
			}
			return runInspect(c.Context(), c.OutOrStdout(), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.dir, "data-dir", "", "`directory` that no server uses, or a copy of one")
	fl.BoolVar(&f.compact, "compact", false, "write the store anew first, as small as it gets")
	fl.BoolVar(&f.json, "json", false, "print JSON, with all metrics")
	fl.IntVar(&f.limit, "limit", 50, "metrics to print, the largest first; 0: all")
	return c
}

func runInspect(ctx context.Context, stdout io.Writer, f inspectFlags) error {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := stopSignals(ctx)
	defer stop()
	r, err := engine.InspectDir(ctx, nil, f.dir, f.compact, slog.New(slog.DiscardHandler))
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	text := inspectionText(r, f.limit)
	if f.json {
		if text, err = json.MarshalIndent(r, "", "  "); err != nil {
			return fmt.Errorf("inspect: %w", err)
		}
		text = append(text, '\n')
	}
	if _, err := stdout.Write(text); err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	if r.DamagedTotal > 0 {
		return fmt.Errorf("inspect: %d places in the store are damaged", r.DamagedTotal)
	}
	return nil
}

// inspectionText is two tables, and what they do not have in a line each.
func inspectionText(r *engine.Inspection, limit int) []byte {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "TIER\tSERIES\tCHUNKS\tSAMPLES\tBYTES\tBYTES/SAMPLE\tPARTITIONS\tOLDEST\tNEWEST\t\n")
	for i := range r.Tiers {
		h := &r.Tiers[i]
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\t%s\t%d\t%s\t%s\t\n", h.Tier, h.Series, h.Chunks, h.Samples, byteSize(h.Bytes), perSample(h.BytesPerSample), h.Partitions, when(h.Oldest), when(h.Newest))
	}
	_ = t.Flush() // to memory
	fmt.Fprintln(&b)
	for _, part := range []struct {
		name  string
		bytes uint64
	}{
		{"metrics and series", r.IndexBytes}, {"accounts and notes", r.OtherBytes}, {"logs", r.LogBytes}, {"other files", r.FileBytes},
		{"store", r.StoreBytes}, {"journal", r.JournalBytes}, {"together", r.TotalBytes},
	} {
		fmt.Fprintf(t, "%s\t%s\t\n", part.name, byteSize(part.bytes))
	}
	_ = t.Flush() // to memory
	fmt.Fprintf(&b, "\nThe store has format %d, %d metrics and %d series.\n", r.Format, len(r.Metrics), r.Series)
	metricsText(&b, r, limit)
	for _, s := range r.Damaged {
		fmt.Fprintf(&b, "damaged: %s\n", s)
	}
	if more := r.DamagedTotal - uint64(len(r.Damaged)); more > 0 {
		fmt.Fprintf(&b, "damaged: %d places more\n", more)
	}
	return b.Bytes()
}

func metricsText(b *bytes.Buffer, r *engine.Inspection, limit int) {
	list := r.Metrics
	if limit > 0 && len(list) > limit {
		list = list[:limit]
	}
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(b)
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	head := "METRIC\tKIND\tSERIES\tSAMPLES\tBYTES\t"
	for i := range r.Tiers {
		head += strings.ToUpper(r.Tiers[i].Tier) + "\t"
	}
	fmt.Fprintln(t, head)
	for i := range list {
		m := &list[i]
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t", printable(m.Metric), m.Kind, m.Series, m.Samples, byteSize(m.Bytes))
		for j := range m.Tiers {
			fmt.Fprintf(t, "%s\t", byteSize(m.Tiers[j].Bytes))
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush() // to memory
	if len(list) < len(r.Metrics) {
		fmt.Fprintf(b, "and %d metrics more; see --limit\n", len(r.Metrics)-len(list))
	}
}

// byteSize writes a size to three digits.
func byteSize(n uint64) string {
	if n < 1<<10 {
		return strconv.FormatUint(n, 10) + " B"
	}
	f := float64(n)
	for _, unit := range []string{"KiB", "MiB", "GiB"} {
		if f /= 1 << 10; f < 999.5 {
			return strconv.FormatFloat(f, 'f', decimals(f), 64) + " " + unit
		}
	}
	f /= 1 << 10
	return strconv.FormatFloat(f, 'f', decimals(f), 64) + " TiB"
}

// decimals is how many after the point make three digits.
func decimals(f float64) int {
	switch {
	case f < 9.995:
		return 2
	case f < 99.95:
		return 1
	}
	return 0
}

func perSample(v *float64) string {
	if v == nil {
		return "-"
	}
	return strconv.FormatFloat(*v, 'f', decimals(*v), 64)
}

func when(sec *int64) string {
	if sec == nil {
		return "-"
	}
	return stamp(*sec)
}
