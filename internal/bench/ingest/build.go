//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"cairn/internal/bench/child"
)

// tools are paths of binaries.
type tools struct{ blast, sink, cairn string }

// build compiles the generator, the sink and Cairn into dir.
func build(ctx context.Context, s settings, dir string) (t tools, err error) {
	t = tools{filepath.Join(dir, "blast"), filepath.Join(dir, "sink"), filepath.Join(dir, "cairn")}
	if err := child.BuildBlast(ctx, s.tools, t.blast); err != nil {
		return t, err
	}
	// The sink is a module of its own, and its folder may be read-only.
	src := filepath.Join(dir, "sink-source")
	if err := os.CopyFS(src, os.DirFS(filepath.Join(s.tools, "sink", "go"))); err != nil {
		return t, fmt.Errorf("copy the sink: %w", err)
	}
	if err := child.Compile(ctx, src, "go", "build", "-o", t.sink, "."); err != nil {
		return t, err
	}
	if s.cairn != "" {
		t.cairn = s.cairn
		return t, nil
	}
	return t, child.BuildCairn(ctx, t.cairn)
}
