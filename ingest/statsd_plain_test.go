package ingest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/agg"
	"cairn/internal/metric"
)

// requirePlain checks that splitPlain makes of a line what split does, if it
// takes it, wherever in a buffer the line is.
func requirePlain(t *testing.T, p *Parser, line string) (taken bool) {
	t.Helper()
	for _, after := range []string{"", "\n", "\n|1:2\n", "\nabcdefghijkl:1|c"} {
		buf := []byte("before:1|c\n" + line + after)
		const at = len("before:1|c\n")
		e := agg.Raw{Sec: 7, Op: agg.Adjust} // of an event that was here before
		stop, ok := p.splitPlain(&e, buf, at, len(buf))
		if ok {
			require.Equal(t, at+len(line), stop, "%s: %q then %q", p.Dialect, line, after)
			want, ignored, reason := p.split(nil, buf, at, stop, now)
			require.Equal(t, metric.OK, reason, "%s: %q", p.Dialect, line)
			require.False(t, ignored, "%s: %q", p.Dialect, line)
			require.Equal(t, want, []agg.Raw{e}, "%s: %q then %q", p.Dialect, line, after)
		}
		taken = taken || ok
	}
	return taken
}

func TestPlainLinesAreSplitInOnePass(t *testing.T) {
	for _, line := range []string{
		"a:1|c", "api.requests.count_0001:1|c", "a:999999999999999|g", "a:0|h|#x", "a:1|c|#env:prod,host:web-003",
		"a:1|c|#host:T123", "a:1|c|", "a:1|d|#a|c:id",
	} {
		for _, p := range dialects {
			require.True(t, requirePlain(t, p, line), line)
		}
	}
	for _, line := range []string{
		"", "a", ":1|c", "a:1", "a:|c", "a:1|", "a:1|s", "a:1|ms", "a:-1|c", "a:1.5|c", "a:1:2|c", "a:1|c|@0.1", "a:1|c:2|c", "a:1|c|T5",
		"a:1|c|#x|T1656581409", "a:1000000000000000|c", "a:1|c\r", "a:1|c|#x\r", "a:1|||", "_sc|x:1|c", "a:1|c" + strings.Repeat("|", 1<<16),
	} {
		for _, p := range dialects {
			require.False(t, requirePlain(t, p, line), line)
		}
	}
}

// FuzzPlain compares the one pass with the several.
func FuzzPlain(f *testing.F) {
	for _, line := range corpus() {
		f.Add(line, byte(0))
	}
	f.Fuzz(func(t *testing.T, line string, how byte) {
		line, _, _ = strings.Cut(line, "\n")
		p := *dialects[int(how)%int(numDialects)]
		if how >= 128 {
			p.Limits.Line = 16
		}
		requirePlain(t, &p, line)
	})
}

// TestRejectedLinesAreFoundAgain rejects events in all places of packets that
// fill more than one group.
func TestRejectedLinesAreFoundAgain(t *testing.T) {
	var p []string
	for range group {
		p = append(p, "good:1|c")
	}
	text := strings.Join(append(p, "bad:1|x\r", "good:1|c"), "\n")
	f := newTestFeeder(testParser)
	buf := []byte("left over\n" + text + "stale:1|c\n" + "last:2|y")
	first := len("left over\n")
	f.Feed(buf, first, first+len(text), now.Milli(), false)
	f.packet = 1
	f.Feed(buf, len(buf)-len("last:2|y"), len(buf), now.Milli(), false)
	f.Flush(buf, now.Milli())
	var lines []string
	for _, r := range Rejects(nil, f).Reasons {
		for _, s := range r.Samples {
			lines = append(lines, s.Line)
		}
	}
	require.Equal(t, []string{"last:2|y", "bad:1|x"}, lines)
	c, _ := f.Counts()
	require.EqualValues(t, group+1, c.Accepted)
	require.EqualValues(t, group+3, c.Received)
}
