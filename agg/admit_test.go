package agg

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/metric"
)

// TestAdmitAndApplyIsAdd: a batch that is admitted and then applied counts as one
// that is added, with the same reasons; and nothing of it counts in between.
func TestAdmitAndApplyIsAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := newTest(1, roomy), newTest(1, roomy)
		now := metric.UnixMilli(1_000_000)
		var ad Admission
		for range rapid.IntRange(1, 8).Draw(t, "batches") {
			var buf []byte
			var events []Raw
			for range rapid.IntRange(1, 20).Draw(t, "events") {
				name := fmt.Sprintf("m%d", rapid.IntRange(0, 3).Draw(t, "name"))
				rest := rapid.SampledFrom([]string{"c", "c@10/3", "c|x", "g", "d", "d@10/3", "s", "nonsense"}).Draw(t, "rest")
				sec := rapid.SampledFrom([]metric.UnixSec{0, 0, 0, now.Sec(), now.Sec() - 5}).Draw(t, "sec")
				v := rapid.SampledFrom([]float64{1, 2.5, 1e290, 1e300, -3}).Draw(t, "value")
				var e Raw
				buf, e = event(buf, name, rest, v, sec)
				events = append(events, e)
			}
			other := append([]Raw(nil), events...)
			s := a.Stripe(0)
			s.Lock()
			n := s.Add(buf, events, now)
			s.Unlock()

			s = b.Stripe(0)
			before := s.Counts()
			s.Lock()
			ad.Reset()
			require.Equal(t, n, s.Admit(&ad, buf, other, now))
			s.Unlock()
			require.Equal(t, before, s.Counts())
			clear(buf)
			s.Lock()
			require.Equal(t, n, s.Apply(&ad, other, now))
			s.Unlock()
			for i := range events {
				require.Equal(t, events[i].Reason, other[i].Reason)
			}
			now += metric.UnixMilli(rapid.IntRange(0, 2500).Draw(t, "ms"))
		}
		require.Equal(t, contents(t, a), contents(t, b))
	})
}

// TestAppliedEventsKeepTheirSecond: batches are applied in another order than that in
// which they arrived, and a replay must find each event in the same second.
func TestAppliedEventsKeepTheirSecond(t *testing.T) {
	a := newTest(1, roomy)
	s := a.Stripe(0)
	var ad Admission
	for _, now := range []metric.UnixMilli{12_000, 11_000, 12_000} {
		for _, rest := range []string{"c", "g", "d", "s"} {
			buf, e := event(nil, "m", rest, 1, 0)
			events := []Raw{e}
			ad.Reset()
			s.Lock()
			s.Admit(&ad, buf, events, now)
			s.Apply(&ad, events, now)
			s.Unlock()
		}
	}
	counts := map[metric.UnixSec]uint64{}
	a.Spill(metric.MaxSec)
	for _, p := range a.Detach(metric.MaxSec).parts {
		for sec, b := range p.seconds {
			counts[sec] += b.events
		}
	}
	require.Equal(t, map[metric.UnixSec]uint64{11: 4, 12: 8}, counts)
}

// TestApplyIsNeverRefused: what is in the journal counts, however full memory is.
func TestApplyIsNeverRefused(t *testing.T) {
	l := roomy
	l.Entries = 1
	a := newTest(1, l)
	s := a.Stripe(0)
	var ad Admission
	for sec := range metric.UnixSec(50) {
		for _, rest := range []string{"c", "g", "d", "s"} {
			buf, e := event(nil, "m", rest, 1, 1000+sec)
			events := []Raw{e}
			ad.Reset()
			s.Lock()
			require.Equal(t, 1, s.Admit(&ad, buf, events, 2_000_000))
			require.Equal(t, 1, s.Apply(&ad, events, 2_000_000))
			require.True(t, s.Crowded())
			s.Unlock()
		}
	}
	require.Equal(t, uint64(200), s.Counts().Accepted)
	require.Equal(t, metric.Overload, add(s, "m", "c", 1, 5, 2000))
}
