package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"cairn/internal/engine"
)

func newRestore() *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:   "restore BACKUP --data-dir DIR",
		Short: "Make a data dir of a backup",
		Long: `Check a backup that 'cairn backup' has made, and copy it to a data dir, which must
not exist, or be empty. The backup is not changed, and may lie on a medium that
cannot be written. A server that is started on the data dir replays the journal and
has all that was acknowledged when the backup was begun.`,
		Example: `  cairn restore /backup/cairn-monday --data-dir /var/lib/cairn
  cairn verify --data-dir /var/lib/cairn
  cairn serve --data-dir /var/lib/cairn`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if data == "" {
				return usageError{errors.New("restore: --data-dir says where to; it must not exist, or be empty")}
			}
			return runRestore(c.Context(), c.OutOrStdout(), args[0], data)
		},
	}
	c.Flags().StringVar(&data, "data-dir", "", "`directory` to make")
	return c
}

func runRestore(ctx context.Context, stdout io.Writer, backup, data string) error {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := stopSignals(ctx)
	defer stop()
	backup, err := filepath.Abs(backup)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	data, err = filepath.Abs(data)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	b, err := engine.Restore(ctx, nil, backup, data, slog.New(slog.DiscardHandler))
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted; nothing of it stays")
	}
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	_, err = fmt.Fprintf(stdout, `%s holds the backup of %s, by cairn %s: %d stored events up to %s, and the journal, in %d bytes.
Start it with

  cairn serve --data-dir %s
`, printable(data), stamp(b.TakenAt), printable(b.Version), b.Events, stamp(b.Cursor.Watermark), b.Bytes, printable(data))
	return err
}
