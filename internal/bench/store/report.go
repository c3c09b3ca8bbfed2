//go:build linux

package main

import (
	"bytes"
	"fmt"
	"time"

	"cairn/internal/bench/report"
)

// row is one bar.
type row struct{ what, got, bar, ok, reference, note string }

// markdown writes the report; args are those of this program.
func markdown(rows []row, args string, now time.Time) string {
	var b bytes.Buffer
	b.WriteString(report.Head("store", args, now) + "\n")
	b.WriteString("| what | measured | bar | | reference | |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.what, r.got, r.bar, r.ok, r.reference, r.note)
	}
	return b.String()
}

// mark is where the page has what was measured.
const mark = report.Mark("measured store")
