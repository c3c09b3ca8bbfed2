package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"

	"github.com/spf13/cobra"

	"cairn/internal/app"
	"cairn/internal/clock"
	"cairn/internal/engine"
)

func newBackup() *cobra.Command {
	var server, data string
	c := &cobra.Command{
		Use:   "backup DIR",
		Short: "Copy all that is kept to a new directory, while the server runs",
		Long: `Copy store and journal to DIR, which must not exist, while the server goes on. The
copy has all that was acknowledged before, and is whole under its name or not there.
On the disk of the data dir it is made of links, in a moment and without more room;
on another one it is copied, gently.

It asks a running server, which makes DIR on its own machine, or, with --data-dir,
copies the data dir of one that is stopped. 'cairn restore' makes a data dir of it,
'cairn verify --data-dir DIR' counts it again.`,
		Example: `  cairn backup /backup/cairn-monday
  cairn backup /backup/cairn-monday --url http://127.0.0.1:8127
  cairn backup /backup/cairn-monday --data-dir /var/lib/cairn`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if data != "" && c.Flags().Changed("url") {
				return usageError{errors.New("backup: --data-dir and --url exclude one another")}
			}
			return runBackup(c.Context(), c.OutOrStdout(), args[0], server, data)
		},
	}
	c.Flags().StringVar(&server, "url", "http://127.0.0.1:8127", "`URL` of a running server")
	c.Flags().StringVar(&data, "data-dir", "", "`directory` that no server uses")
	return c
}

func runBackup(ctx context.Context, stdout io.Writer, dir, server, data string) error {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := stopSignals(ctx)
	defer stop()
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	var r app.BackupReport
	if data == "" {
		r, err = askBackup(ctx, server, dir)
	} else {
		r, err = takeBackup(ctx, data, dir)
	}
	if err != nil {
		var usage usageError
		switch {
		case errors.As(err, &usage):
			return err
		case errors.Is(err, context.Canceled):
			err = errors.New("interrupted")
		}
		return fmt.Errorf("backup: %w", err)
	}
	_, err = fmt.Fprintf(stdout, "%s holds %d stored events up to %s, and the journal, in %d bytes.\n", printable(r.Dir), r.Events, stamp(r.Cursor.Watermark), r.Bytes)
	return err
}

// takeBackup copies a data dir that no server uses.
func takeBackup(ctx context.Context, data, dir string) (r app.BackupReport, err error) {
	data, err = filepath.Abs(data)
	if err != nil {
		return r, err
	}
	b, err := engine.BackupDir(ctx, nil, data, dir, app.Version, clock.NewSystem(), slog.New(slog.DiscardHandler))
	if errors.Is(err, engine.ErrInUse) {
		return r, fmt.Errorf("data dir %q is in use by a cairn process; ask that with 'cairn backup DIR --url URL', or stop it", data)
	}
	if err != nil {
		return r, err
	}
	return app.BackupReport{Dir: dir, Bytes: b.Bytes, Events: b.Events, Cursor: b.Cursor}, nil
}

// askBackup waits as long as the server takes.
func askBackup(ctx context.Context, server, dir string) (r app.BackupReport, err error) {
	body, err := json.Marshal(map[string]string{"dir": dir})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	answer, err := ask(ctx, question{command: "backup", server: server, method: http.MethodPost, path: "api/backup", body: body, hint: readStopped})
	if errors.Is(err, context.Canceled) {
		return r, errors.New("interrupted; the server goes on with it")
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(answer, &r); err != nil || r.Dir == "" {
		return r, fmt.Errorf("the answer of %s is not Cairn's", server)
	}
	return r, nil
}
