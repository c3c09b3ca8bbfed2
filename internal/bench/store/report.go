//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// row is one bar.
type row struct{ what, got, bar, ok, reference, note string }

func verdict(ok bool) string {
	if ok {
		return "OK"
	}
	return "**MISSED**"
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// markdown writes the report; args are those of this program.
func markdown(rows []row, args string, now time.Time) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "`make bench-store` (`%s`), %s, %s, %d cores, %s\n\n",
		strings.TrimSpace("go run ./internal/bench/store "+args), now.Format(time.DateOnly), model(), runtime.NumCPU(), runtime.Version())
	b.WriteString("| what | measured | bar | | reference | |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.what, r.got, r.bar, r.ok, r.reference, r.note)
	}
	return b.String()
}

// model returns the name of the processor.
func model() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "unknown processor"
}

// The marks between which replaceIn replaces.
const (
	beginMark = "<!-- measured store: begin -->\n"
	endMark   = "<!-- measured store: end -->\n"
)

// replaceIn writes text between the marks of a file.
func replaceIn(name, text string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read the page to write to: %w", err)
	}
	out, ok := replace(string(b), text)
	if !ok {
		return fmt.Errorf("%s has no lines %q and %q", name, strings.TrimSpace(beginMark), strings.TrimSpace(endMark))
	}
	if err := os.WriteFile(name, []byte(out), 0o644); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

func replace(page, text string) (string, bool) {
	head, rest, ok1 := strings.Cut(page, beginMark)
	_, tail, ok2 := strings.Cut(rest, endMark)
	return head + beginMark + text + endMark + tail, ok1 && ok2
}
