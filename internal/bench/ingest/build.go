//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// tools are paths of binaries.
type tools struct{ blast, sink, cairn string }

// buildTime bounds one build; the first one compiles Pebble.
const buildTime = 5 * time.Minute

// build compiles the generator, the sink and Cairn into dir.
func build(ctx context.Context, s settings, dir string) (t tools, err error) {
	t = tools{filepath.Join(dir, "blast"), filepath.Join(dir, "sink"), filepath.Join(dir, "cairn")}
	if err := compile(ctx, ".", "gcc", "-O2", "-o", t.blast, filepath.Join(s.tools, "blast", "blast.c"), "-lm"); err != nil {
		return t, err
	}
	// The sink is a module of its own, and its folder may be read-only.
	src := filepath.Join(dir, "sink-source")
	if err := os.CopyFS(src, os.DirFS(filepath.Join(s.tools, "sink", "go"))); err != nil {
		return t, fmt.Errorf("copy the sink: %w", err)
	}
	if err := compile(ctx, src, "go", "build", "-o", t.sink, "."); err != nil {
		return t, err
	}
	if s.cairn != "" {
		t.cairn = s.cairn
		return t, nil
	}
	return t, compile(ctx, ".", "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", t.cairn, "cairn")
}

func compile(ctx context.Context, dir, name string, args ...string) error {
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
