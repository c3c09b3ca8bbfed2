//go:build !unix

package cli

import (
	"context"
	"os"
)

// readKeys has no way here to wait for keys that can be stopped: there are none, and ctrl-C
// must do.
func readKeys(context.Context, *os.File, chan<- byte) {}
