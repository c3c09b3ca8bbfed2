//go:build linux

package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"cairn/internal/bench/report"
)

// mark is where the page has what was measured.
const mark = report.Mark("measured queries")

// row is a line of the report.
type row struct{ what, cairn, cairn99, victoria, victoria99, ratio, bar, ok, note string }

// markdown writes the report; args are those of this program.
func markdown(rows []row, args string, now time.Time) string {
	var b bytes.Buffer
	b.WriteString(report.Head("query", args, now) + "\n")
	b.WriteString("| query | Cairn | p99 | VictoriaMetrics | p99 | ratio | bar | | |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join([]string{r.what, r.cairn, r.cairn99, r.victoria, r.victoria99, r.ratio, r.bar, r.ok, r.note}, " | "))
	}
	return b.String()
}

// millis writes milliseconds, of which those of short queries differ in the second place.
func millis(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}

func (w *way) median() string {
	if w.na != "" || len(w.times) == 0 {
		return "n/a"
	}
	return millis(report.Median(w.times))
}

func (w *way) p99() string {
	if w.na != "" || len(w.times) == 0 {
		return ""
	}
	return millis(report.Quantile(w.times, 0.99))
}

// over returns how many times as long w takes as other; 0: one has no answers.
func (w *way) over(other *way) float64 {
	if len(w.times) == 0 || len(other.times) == 0 {
		return 0
	}
	return report.Median(w.times).Seconds() / report.Median(other.times).Seconds()
}

// rows returns those of the native API and of PromQL.
func (m *measured) rows() []row {
	native := m.row(&m.native, m.what, fmt.Sprintf("≤ %d ms", m.bar.Milliseconds()), true)
	if len(m.native.times) > 0 && report.Median(m.native.times) > m.bar {
		native.ok = report.Verdict(false)
	}
	prom := m.row(&m.prom, "the same, PromQL", fmt.Sprintf("≤ %d × native", promBar), false)
	if times := m.prom.over(&m.native); times > 0 {
		prom.note = fmt.Sprintf("× %.2f of native", times)
		if times > promBar {
			prom.ok = report.Verdict(false)
		}
	} else if m.prom.na == "" {
		prom.ok, prom.note = "", "there is no native answer to compare with"
	}
	return []row{native, prom}
}

// row returns that of a way, judged by VictoriaMetrics alone, which is shown where asked.
func (m *measured) row(w *way, what, bar string, show bool) row {
	r := row{what: what, cairn: w.median(), cairn99: w.p99(), bar: bar, note: w.na}
	if show {
		r.victoria, r.victoria99 = m.victoria.median(), m.victoria.p99()
		if r.note == "" && m.victoria.na != "" {
			r.note = "VictoriaMetrics: " + m.victoria.na
		}
	}
	if w.na != "" {
		return r
	}
	r.ok = report.Verdict(true)
	if ratio := w.over(&m.victoria); ratio > 0 {
		r.ratio = fmt.Sprintf("%.2f", ratio)
		r.bar += fmt.Sprintf(", ratio ≤ %.1f", victoriaBar)
		r.ok = report.Verdict(ratio <= victoriaBar)
	}
	return r
}
