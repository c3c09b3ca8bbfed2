//go:build linux

package child

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// buildTime bounds one build; the first one compiles Pebble.
const buildTime = 5 * time.Minute

// BuildCairn compiles this source to path, as `make build` does.
func BuildCairn(ctx context.Context, path string) error {
	return Compile(ctx, ".", "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "cairn")
}

// BuildBlast compiles the load generator of the folder tools to path.
func BuildBlast(ctx context.Context, tools, path string) error {
	return Compile(ctx, ".", "gcc", "-O2", "-o", path, filepath.Join(tools, "blast", "blast.c"), "-lm")
}

// Compile runs a compiler, or what else makes binaries, in dir.
func Compile(ctx context.Context, dir, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}
