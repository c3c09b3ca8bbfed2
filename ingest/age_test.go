package ingest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/agg"
	"cairn/internal/journal"
	"cairn/internal/metric"
)

// dated are the forms in which a timestamp comes, and whether they are JSON.
var dated = map[string]bool{
	"a:1|c|T%d": false, "a:1|g|T%d": false, "a:1|c|T%d|#k:v": false, "a,k=v:1|c|@0.5|T%d|e:x": false, `{"metric":"a","value":1,"time":%d}`: true,
	"_e{1,1}:t|x|d:%d": false, "_sc|n|0|d:%d": false,
}

// TestAgeLimit: the second at the limit is taken, and the one before it is not.
func TestAgeLimit(t *testing.T) {
	for _, age := range []int64{0, 90, 7 * 86400, 4000 * 86400} {
		limit := age
		if age == 0 {
			limit = metric.MaxAge
		}
		for form, isJSON := range dated {
			for late, want := range []metric.Reason{metric.OK, metric.TooOld} {
				p := *testParser
				p.MaxAge = age
				r := newRig(t, &p)
				line := fmt.Sprintf(form, int64(now)-limit-int64(late))
				q := lineRequest(line)
				if isJSON {
					q.ContentType = "application/x-ndjson"
				}
				a := mustTake(t, r.b, q)
				if want == metric.OK {
					require.Empty(t, a.Rejected, "%s with %d", line, age)
					continue
				}
				require.Len(t, a.Rejected, 1, "%s with %d", line, age)
				require.Equal(t, want, a.Rejected[0].Reason, "%s with %d", line, age)
				if !isJSON {
					e := Explain([]byte(line), p, now)[0].Rejected
					require.NotNil(t, e, line)
					require.Equal(t, "too_old", e.Reason)
					require.Contains(t, e.Sentence, "`--retention`), which is "+metric.Span(limit)+".")
				}
			}
		}
	}
}

// TestReplayOfWhatIsTooOldToday: a batch that was accepted counts, also once the
// retention is shorter.
func TestReplayOfWhatIsTooOldToday(t *testing.T) {
	for form, isJSON := range dated {
		p := *testParser
		p.MaxAge = metric.MaxRetention
		r := newRig(t, &p)
		q := lineRequest(fmt.Sprintf(form, int64(now)-15_000*86400))
		if isJSON {
			q.ContentType = "application/x-ndjson"
		}
		require.Empty(t, mustTake(t, r.b, q).Rejected, form)
		today := *testParser
		today.MaxAge = 60
		b := agg.New(agg.Limits{Series: 10, SeriesPerMetric: 10, Metrics: 10}, []agg.Resolver{today.Resolve}, rand.New(rand.NewPCG(1, 2)))
		replayer := NewReplayer(&today)
		require.NoError(t, r.log.Read(0, r.log.End(), func(_ journal.Pos, j *journal.Record) error {
			rec, err := DecodeRecord(j)
			require.NoError(t, err)
			out, err := replayer.Replay(&rec, b.Stripe(0), func(metric.UnixSec) bool { return true }, nil)
			require.NoError(t, err, form)
			require.Zero(t, out.Refused, "%s: %s", form, out.Reason)
			return nil
		}))
		require.Equal(t, totals(r.agg), totals(b), form)
	}
}
