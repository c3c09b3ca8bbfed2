// Package cli is the command line: it parses it, runs one command, and turns the
// outcome into an exit status. 0: done; 1: failed, with a sentence on standard
// error; 2: the command line itself is wrong. 'cairn verify' has its own.
package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// usageError is a mistake on the command line.
type usageError struct{ error }

// statusError ends with an exit status of its own.
type statusError struct {
	code int
	error
}

// Main runs the command line args and returns the exit status.
func Main(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	if err == nil {
		return 0
	}
	for line := range strings.SplitSeq(strings.TrimSpace(err.Error()), "\n") {
		fmt.Fprintf(stderr, "cairn: %s\n", line)
	}
	var status statusError
	if errors.As(err, &status) {
		return status.code
	}
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(stderr, "Run 'cairn --help' for the commands, and 'cairn COMMAND --help' for their flags.\n")
		return 2
	}
	return 1
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "cairn",
		Short: "Count things: StatsD datagrams in, exact sums on a dashboard",
		Long: `Cairn takes StatsD and DogStatsD datagrams, adds them up exactly in one-second
buckets, keeps them in four resolutions, and serves a dashboard and an API.

Start it with 'cairn serve', send a count with

  printf 'signups:1|c|#env:prod' > /dev/udp/127.0.0.1/8125

and open http://127.0.0.1:8127.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newServe(), newDemo(), newQuery(), newTop(), newInspect(), newVerify(), newBackup(), newRestore(), newVersion())
	for _, c := range root.Commands() {
		args := c.Args
		c.Args = func(c *cobra.Command, a []string) error {
			if err := args(c, a); err != nil {
				return usageError{fmt.Errorf("%s: %w", c.CommandPath(), err)}
			}
			return nil
		}
	}
	root.Args = func(_ *cobra.Command, a []string) error {
		if len(a) > 0 {
			return usageError{fmt.Errorf("there is no command %q", a[0])}
		}
		return nil
	}
	root.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	return root
}
