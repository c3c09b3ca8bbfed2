package ingest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/agg"
	"cairn/internal/bucket"
	"cairn/internal/metric"
	"cairn/internal/reference"
)

// referenceRead reads a line as the reference does, and writes its events as the
// other tests do.
func referenceRead(p *Parser, line string) ([]event, map[metric.Reason]bool) {
	rules := reference.Rules{Dialect: p.Dialect.String(), Limits: p.Limits, OriginTags: p.OriginTags, MaxAge: p.MaxAge}
	read, faults := rules.Read(line, now)
	var events []event
	for _, r := range read {
		e := event{
			series: metric.Series{ID: metric.ID{Name: r.Name, Kind: r.Kind}, Tags: metric.NewTagset(slices.Clone(r.Tags))},
			value:  r.Value / r.Rate, op: agg.Op(r.Level), sec: r.Sec, ignored: r.Ignored,
		}
		if r.Kind == metric.Set {
			e.bits, e.value = bucket.HashMember([]byte(r.Member)), 0
		}
		events = append(events, e)
	}
	return events, faults
}

func requireAgreement(t testing.TB, p *Parser, line string) {
	got, reason := read(p, line)
	want, faults := referenceRead(p, line)
	if len(faults) > 0 {
		require.True(t, faults[reason], "%s: %q is rejected as %s; what is wrong with it: %v", p.Dialect, line, reason, faults)
		return
	}
	require.Equal(t, metric.OK, reason, "%s: %q is rejected as %s, and nothing is wrong with it", p.Dialect, line, reason)
	require.Len(t, got, len(want), "%s: %q", p.Dialect, line)
	for i := range want {
		// A rate is read as a fraction; the reference divides, and rounds once more.
		require.InDelta(t, 0, got[i].value-want[i].value, 1e-14*math.Abs(want[i].value), "%s: %q", p.Dialect, line)
		want[i].value = got[i].value
	}
	require.Equal(t, want, got, "%s: %q", p.Dialect, line)
}

func TestReferenceKnowsTheCorpus(t *testing.T) {
	for d, p := range dialects {
		for _, c := range mustCount {
			got, faults := referenceRead(p, c.line)
			require.Empty(t, faults, "%s: %q", Dialect(d), c.line)
			require.Len(t, got, len(c.want), "%q", c.line)
		}
		for line, reason := range mustReject {
			if !isAnnotation([]byte(line)) {
				_, faults := referenceRead(p, line)
				require.True(t, faults[reason], "%s: %q", Dialect(d), line)
			}
		}
		for _, line := range corpus() {
			requireAgreement(t, p, line)
		}
		for _, age := range []int64{0, 1, 3600, metric.MaxAge, metric.MaxRetention} {
			old := *p
			old.MaxAge = age
			for _, by := range []int64{0, 1, 2, 3600, 3601, metric.MaxAge, metric.MaxAge + 1} {
				requireAgreement(t, &old, fmt.Sprintf("a:1|c|T%d", int64(now)-by))
				requireAgreement(t, &old, fmt.Sprintf("a:1|g|T%d|#x", int64(now)-by))
			}
		}
	}
}

// FuzzAgainstReference reads any line in any dialect, with and without origin
// tags, by both parsers.
func FuzzAgainstReference(f *testing.F) {
	for _, line := range corpus() {
		f.Add([]byte(line), byte(len(line)))
	}
	f.Fuzz(func(t *testing.T, b []byte, how byte) {
		line, _, _ := strings.Cut(string(b), "\n")
		p := *dialects[int(how/2)%int(numDialects)]
		p.OriginTags = how%2 == 1
		if how >= 128 {
			p.Limits = metric.LineLimits{Line: 64, Name: 8, Tag: 8, Tags: 3} // so that they are met
		}
		requireExplained(t, line, p.Limits)
		if !isAnnotation([]byte(line)) {
			requireAgreement(t, &p, line)
		}
	})
}
