// Package report is what the measurements' reports have in common: times, verdicts,
// where they were measured, and the place in a page that they replace.
package report

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Verdict says whether a bar was met.
func Verdict(ok bool) string {
	if ok {
		return "OK"
	}
	return "**MISSED**"
}

// Millis writes milliseconds.
func Millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// Median returns that of d, the later one of two; d is not changed, and not empty.
func Median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

// Quantile returns the least that a share q of d does not exceed; d is not changed,
// and not empty.
func Quantile(d []time.Duration, q float64) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[min(len(d)-1, int(q*float64(len(d))))]
}

// Head returns the line of a report that says what was measured, when, and on what.
// name is that of the program, such as `store`; args are those that it was given, separated by blanks.
func Head(name string, args string, now time.Time) string {
	command := strings.TrimSpace("go run ./internal/bench/" + name + " " + args)
	return fmt.Sprintf("`make bench-%s` (`%s`), %s, %s, %d cores, %s\n", name, command, now.Format(time.DateOnly), model(), runtime.NumCPU(), runtime.Version())
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

// Mark names a place in a page: what stands between the lines `<!-- mark: begin -->` and
// `<!-- mark: end -->`.
type Mark string

func (m Mark) begin() string { return "<!-- " + string(m) + ": begin -->\n" }
func (m Mark) end() string   { return "<!-- " + string(m) + ": end -->\n" }

// ReplaceIn puts text into the place in the file.
func (m Mark) ReplaceIn(file, text string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the page to write to: %w", err)
	}
	out, ok := m.replace(string(b), text)
	if !ok {
		return fmt.Errorf("%s has no lines %q and %q", file, strings.TrimSpace(m.begin()), strings.TrimSpace(m.end()))
	}
	if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

func (m Mark) replace(page, text string) (string, bool) {
	head, rest, ok1 := strings.Cut(page, m.begin())
	_, tail, ok2 := strings.Cut(rest, m.end())
	return head + m.begin() + text + m.end() + tail, ok1 && ok2
}
