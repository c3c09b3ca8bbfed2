package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"cairn/internal/clock"
	"cairn/internal/engine"
	"cairn/internal/reconcile"
)

// Exit statuses of verify.
const (
	verifyDiffers = 1
	verifyFailed  = 2
)

type verifyFlags struct {
	server, dir string
	json        bool
}

func newVerify() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify",
		Short: "Count the journal again and compare it with what is stored",
		Long: `Count again what the journal holds, by code that shares nothing with what counted
it first, and compare it with the store: each metric, bucket and resolution. Then
compare the resolutions with one another, over everything stored, and what was ever
stored with what is held, what expired and what was deleted. What a resolution no longer
holds is not compared; how much that is, is printed.

It asks a running server, or, with --data-dir, reads the data dir of one that is
stopped, or a copy of it, which may lie on a medium that cannot be written. Nothing is
changed. The journal is kept for --journal-retention (see 'cairn serve').

The exit status is 0 if all is equal, 1 if there are differences, and 2 if it could
not be done.`,
		Example: `  cairn verify
  cairn verify --url http://127.0.0.1:8127 --json
  cairn verify --data-dir /backup/cairn`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.dir != "" && c.Flags().Changed("url") {
				return usageError{errors.New("verify: --data-dir and --url exclude one another")}
			}
			return runVerify(c.Context(), c.OutOrStdout(), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.server, "url", "http://127.0.0.1:8127", "`URL` of a running server")
	fl.StringVar(&f.dir, "data-dir", "", "`directory` that no server uses, or a copy of one")
	fl.BoolVar(&f.json, "json", false, "print JSON")
	return c
}

func runVerify(ctx context.Context, stdout io.Writer, f verifyFlags) error {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := stopSignals(ctx)
	defer stop()
	report, err := verify(ctx, f)
	if err != nil {
		var usage usageError
		if errors.As(err, &usage) {
			return err
		}
		return statusError{verifyFailed, fmt.Errorf("verify: %w", err)}
	}
	if f.json {
		b, err := json.MarshalIndent(report, "", "  ")
		if err != nil {
			return statusError{verifyFailed, fmt.Errorf("verify: %w", err)}
		}
		_, err = stdout.Write(append(b, '\n'))
		if err != nil {
			return statusError{verifyFailed, fmt.Errorf("verify: %w", err)}
		}
	} else if err := printReport(stdout, report); err != nil {
		return statusError{verifyFailed, fmt.Errorf("verify: %w", err)}
	}
	if !report.Equal {
		return statusError{verifyDiffers, errors.New("verify: the journal and the store are not equal")}
	}
	return nil
}

func verify(ctx context.Context, f verifyFlags) (*reconcile.Report, error) {
	if f.dir == "" {
		return fetchReport(ctx, f.server)
	}
	report, err := engine.VerifyDir(ctx, nil, f.dir, clock.NewSystem(), slog.New(slog.DiscardHandler))
	switch {
	case errors.Is(err, engine.ErrInUse):
		return nil, fmt.Errorf("data dir %q is in use by a cairn process; ask that with 'cairn verify --url URL', or stop it", f.dir)
	case errors.Is(err, context.Canceled):
		return nil, errors.New("interrupted")
	}
	return report, err
}

// fetchReport waits as long as the server takes.
func fetchReport(ctx context.Context, server string) (*reconcile.Report, error) {
	body, err := ask(ctx, question{command: "verify", server: server, path: "api/verify", hint: readStopped})
	if errors.Is(err, context.Canceled) {
		return nil, errors.New("interrupted")
	}
	if err != nil {
		return nil, err
	}
	var r reconcile.Report
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("the answer of %s is not Cairn's: %w", server, err)
	}
	return &r, nil
}

func printReport(w io.Writer, r *reconcile.Report) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	verdict := func(equal bool) string {
		if equal {
			return "equal"
		}
		return "NOT EQUAL"
	}
	span := ""
	if c := &r.Checked; c.To > c.From {
		span = fmt.Sprintf(", %s to %s", stamp(c.From), stamp(c.To))
	}
	fmt.Fprintf(t, "journal and store\t%s\t%d events, %d metrics, %d buckets%s\n", verdict(r.DifferencesTotal == 0 && len(r.Damaged) == 0), r.Checked.Events, r.Checked.Metrics, r.Checked.Buckets, span)
	fmt.Fprintf(t, "1s, 10s, 1m and 1h\t%s\t%d metrics, %d hours of a metric\n", verdict(r.Tiers.Equal), r.Tiers.Metrics, r.Tiers.Hours)
	h := &r.Held
	fmt.Fprintf(t, "stored ever\t%s\t%d events: %d held, %d expired, %d deleted, %d before accounts; %d counters in %d partitions\n",
		verdict(h.Equal), h.Stored, h.Accounts, h.Expired, h.Deleted, h.Before, h.Metrics, h.Partitions)
	if c := &r.Checked; c.Expired > 0 {
		fmt.Fprintf(t, "expired\t%d\tbuckets of the journal, not compared: their resolution is not kept, or not that long\n", c.Expired)
	}
	if c := &r.Checked; c.Deleted > 0 {
		fmt.Fprintf(t, "deleted\t%d\tbuckets of the journal, not compared: somebody deleted series of them\n", c.Deleted)
	}
	if r.Tiers.Skipped > 0 {
		fmt.Fprintf(t, "in one only\t%d\thours of a metric, not compared: fewer than two resolutions hold them\n", r.Tiers.Skipped)
	}
	if r.Pending > 0 {
		fmt.Fprintf(t, "not stored yet\t%d\tevents that are in the journal\n", r.Pending)
	}
	_ = t.Flush() // to memory
	for _, s := range r.Damaged {
		fmt.Fprintf(&b, "damaged: %s\n", s)
	}
	for _, s := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", s)
	}
	printDifferences(&b, "in the journal", r.Differences, r.DifferencesTotal)
	printDifferences(&b, "in the finest", r.Tiers.Differences, r.Tiers.DifferencesTotal)
	printDifferences(&b, "by the accounts", r.Held.Differences, r.Held.DifferencesTotal)
	_, err := w.Write(b.Bytes())
	return err
}

func printDifferences(b *bytes.Buffer, expected string, list []reconcile.Difference, total uint64) {
	if total == 0 {
		return
	}
	fmt.Fprintf(b, "\n%d differences", total)
	if total > uint64(len(list)) {
		fmt.Fprintf(b, ", of which these are the first %d", len(list))
	}
	fmt.Fprintln(b, ":")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "METRIC\tKIND\tTIER\tBUCKET\tFIGURE\t%s\tSTORED\t\n", strings.ToUpper(expected))
	for i := range list {
		d := &list[i]
		at := ""
		if d.Tier != "" {
			at = stamp(d.Bucket)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", printable(d.Metric), d.Kind, d.Tier, at, d.Figure, number(&d.Expected), number(&d.Stored))
	}
	_ = t.Flush() // to memory
}
