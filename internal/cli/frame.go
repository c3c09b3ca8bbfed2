package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// frame writes a sample in lines no wider than the display, and, where it is a terminal, no
// more than leave one line on it.
func frame(d display, s *sample, order topOrder) []string {
	lines := []string{topHead(&d, s), topCounts(&d, s), topHealth(&d, s), topLag(&d, s), ""}
	s = s.shown(order)
	metrics, room := metricRows(&d, s, order)
	series := seriesRows(&d, s, room)
	if d.terminal {
		left := max(0, d.height-1-len(lines)-1)
		// Two thirds are for metrics, and what either does not need is for the other.
		most := max(left*2/3, left-len(series))
		metrics = metrics[:min(len(metrics), most)]
		if series = series[:min(len(series), left-len(metrics))]; len(series) == 1 && len(s.Hot) > 0 {
			series = nil // a heading alone says nothing
		}
	}
	lines = append(append(append(lines, metrics...), ""), series...)
	if d.terminal {
		lines = lines[:min(len(lines), max(1, d.height-1))]
	}
	return lines
}

func topHead(d *display, s *sample) string {
	q := &s.Quality
	at := atSec(float64(q.Now), time.UTC).Format("2006-01-02 15:04:05 UTC")
	up := time.Duration(q.Now-q.Ledger.Since) * time.Second
	return cut(fmt.Sprintf("cairn top   %s   up %s   %s metrics", at, up, exact(float64(s.known))), d.width)
}

func topCounts(d *display, s *sample) string {
	l := &s.Quality.Ledger
	text := fmt.Sprintf("events/s %s   received %s   accepted %s", cell(places(s.Rate, 1)), exact(float64(l.Received)), exact(float64(l.Accepted)))
	return cut(text, d.width)
}

// topLag tells how far behind the disk is.
func topLag(d *display, s *sample) string {
	q := &s.Quality
	text := fmt.Sprintf("stored up to %s s ago", cell(places(q.Lag.Stored, 1)))
	if j := q.Lag.Journaled; j != nil {
		text += fmt.Sprintf("   journaled up to %s s ago", cell(places(*j, 1)))
	}
	return cut(fmt.Sprintf("%s   flush %s ms   fsync p99 %s ms", text, cell(places(q.Flush.Last, 1)), cell(places(q.Fsync.P99, 1))), d.width)
}

// topHealth tells what was not counted; bad news are red. What is worst comes first, as a
// line may have no room for all.
func topHealth(d *display, s *sample) string {
	q := &s.Quality
	l := &q.Ledger
	text, used := "", 0
	add := func(bad bool, part string) {
		if text != "" {
			part = "   " + part
		}
		if used += columns(part); used > d.width {
			return
		}
		if bad {
			part = d.paint(redInk, part)
		}
		text += part
	}
	if l.Imbalance != 0 || l.Uneven != 0 {
		add(true, fmt.Sprintf("NOT BALANCED: %d events, %s units", l.Imbalance, cell(l.Uneven)))
	} else {
		add(false, "balanced")
	}
	if q.Disk.Short {
		add(true, "disk short")
	}
	if q.MemoryShort {
		add(true, "memory short")
	}
	for _, n := range []struct {
		name  string
		count uint64
		bad   bool
	}{
		{"lost", l.Lost, true}, {"dropped by the kernel", l.Dropped, true},
		{"rejected", together(l.Rejected), true}, {"shed", together(l.Shed), true}, {"duplicate", l.Duplicate, false},
	} {
		add(n.bad && n.count > 0, n.name+" "+exact(float64(n.count)))
	}
	return text
}

// visible is columns of a line with colours.
func visible(s string) (n int) {
	for {
		before, after, found := strings.Cut(s, "\x1b[")
		n += columns(before)
		if !found {
			return n
		}
		_, s, _ = strings.Cut(after, "m")
	}
}

// nameWidth is how much of a line names and tags may take.
func nameWidth(d *display) int { return max(12, d.width*2/5) }

// metricRows is the table of metrics, and how wide its first column is at most.
func metricRows(d *display, s *sample, order topOrder) ([]string, int) {
	room := nameWidth(d)
	head := []string{"METRIC", "KIND", "SERIES", "EVENTS/S", "SHARE", "NOW"}
	column := map[string]int{"name": 0, "series": 2, "events": 3}
	if i, ok := column[order.sort]; ok {
		arrow := "↓"
		if order.reverse != (order.sort == "name") {
			arrow = "↑"
		}
		head[i] += arrow
	}
	rows := [][]string{head}
	for i := range s.Metrics {
		m := &s.Metrics[i]
		about := ""
		if !s.Whole && m.Events > 0 {
			about = "≥ "
		}
		rows = append(rows, []string{
			cut(printable(m.Metric), room), printable(m.Kind), exact(float64(m.Series)), about + rateText(m.Rate), shareText(m.Share), m.now(),
		})
	}
	lines := grid(rows, 2)
	width := widest(lines) + 2
	picture := min(d.width-width, trendSeconds)
	for i := range lines {
		switch {
		case i == 0 && order.sort == "seen":
			lines[i] = pad(lines[i], width, false) + "by last seen"
		case i > 0 && picture >= 6:
			m := &s.Metrics[i-1]
			t := sparkline(m.trend, picture, m.Kind != "gauge" && m.Kind != "distribution")
			lines[i] = strings.TrimRight(pad(lines[i], width, false)+d.paint(inks[0], t), " ")
		}
		lines[i] = clip(lines[i], d.width)
	}
	lines[0] = d.paint(dimInk, lines[0])
	return lines, room
}

// clip cuts a line that has no room; one with colours has it.
func clip(line string, width int) string {
	if visible(line) <= width {
		return line
	}
	return cut(line, width)
}

// now is what a metric says of itself, with what that is.
func (m *topMetric) now() string {
	if m.Now == nil || m.Fn == "" {
		return "–"
	}
	is := measure{m.Kind, m.Fn}
	if m.Fn == "rate" {
		return rateText(*m.Now) + "/s"
	}
	return m.Fn + " " + is.bare(m.Now)
}

// rateText writes a rate with one decimal, which is all that ten seconds can tell, or whole.
func rateText(v float64) string {
	switch {
	case v >= 100:
		return exact(places(v, 0))
	case v > 0 && v < 0.1:
		return exact(digits(v, 2))
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

func shareText(v float64) string { return strconv.FormatFloat(100*v, 'f', 1, 64) + "%" }

// seriesRows is the table of the busiest series.
func seriesRows(d *display, s *sample, room int) []string {
	if len(s.Hot) == 0 {
		return []string{"No events came lately."}
	}
	rows := [][]string{{"HOT SERIES", "EVENTS/S", "SHARE", "TAGS"}}
	for i := range s.Hot {
		h := &s.Hot[i]
		rows = append(rows, []string{cut(printable(h.Metric), room), rateText(h.Rate), shareText(h.Share)})
	}
	lines := grid(rows, 1)
	for i := range s.Hot {
		lines[i+1] = pad(lines[i+1], widest(lines[:1])-len("TAGS"), false) + tagsText(s.Hot[i].Tags)
	}
	for i := range lines {
		lines[i] = cut(lines[i], d.width)
	}
	lines[0] = d.paint(dimInk, lines[0])
	return lines
}
