package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// known is traffic of which we know what it adds up to.
type known struct {
	events int
	totals map[string]float64            // by metric
	byEnv  map[string]map[string]float64 // of the tagged metrics, by the tag env
	byBoth map[string]map[string]float64 // and by env/region
}

func newKnown() *known {
	return &known{totals: map[string]float64{}, byEnv: map[string]map[string]float64{}, byBoth: map[string]map[string]float64{}}
}

func (k *known) add(metric, env, region string, sum float64, events int) {
	k.events += events
	k.totals[metric] += sum
	if env == "" {
		return
	}
	if k.byEnv[metric] == nil {
		k.byEnv[metric], k.byBoth[metric] = map[string]float64{}, map[string]float64{}
	}
	k.byEnv[metric][env] += sum
	k.byBoth[metric][env+"/"+region] += sum
}

// require compares everything with what the server says, in every tier.
func (k *known) require(t testing.TB, s *server) {
	t.Helper()
	for name, want := range k.totals {
		for _, step := range steps {
			require.Equal(t, want, s.Total(name, step), "%s at step %s", name, step)
			if k.byEnv[name] != nil {
				require.Equal(t, k.byEnv[name], s.By(name, step, "env"), "%s by env at step %s", name, step)
				require.Equal(t, k.byBoth[name], s.By(name, step, "env", "region"), "%s by env and region at step %s", name, step)
			}
		}
	}
}

// line makes one line of known content. All sums are exact in float64.
func (k *known) line(r *rand.Rand, now int64) string {
	env := []string{"prod", "staging", "dev"}[r.IntN(3)]
	region := []string{"eu", "us"}[r.IntN(2)]
	tags := "env:" + env + ",region:" + region
	if r.IntN(2) == 0 {
		tags = "region:" + region + ",env:" + env // another order, the same series
	}
	n := r.IntN(1000) - 100
	switch r.IntN(7) {
	case 0:
		k.add("plain", "", "", float64(n), 1)
		return fmt.Sprintf("plain:%d|c", n)
	case 1:
		k.add("halves", "", "", float64(n)/2, 1)
		return fmt.Sprintf("halves:%g|c", float64(n)/2)
	case 2:
		k.add("sampled", env, region, 10, 1)
		return "sampled:1|c|@0.1|#" + tags
	case 3:
		k.add("packed", "", "", 6, 3)
		return "packed:1:2:3|c"
	case 4:
		k.add("stamped", env, region, float64(n), 1)
		return fmt.Sprintf("stamped:%d|c|#%s|T%d", n, tags, now-r.Int64N(3600))
	case 5:
		k.add("bare", "solo", "eu", 1, 1)
		return "bare:1|c|#env:solo,region:eu,canary"
	default:
		k.add("tagged", env, region, float64(n), 1)
		return fmt.Sprintf("tagged:%d|c|#%s", n, tags)
	}
}

// send sends n datagrams of 1 to 40 lines over four sockets, so that both of the
// server's readers get some.
func (k *known) send(t testing.TB, s *server, r *rand.Rand, n int) {
	t.Helper()
	var conns []net.Conn
	for range 4 {
		conns = append(conns, s.Dial())
	}
	now := time.Now().Unix()
	for i := range n {
		var lines []string
		for range 1 + r.IntN(40) {
			lines = append(lines, k.line(r, now))
		}
		end := []string{"", "\n", "\r\n"}[r.IntN(3)]
		_, err := conns[i%len(conns)].Write([]byte(strings.Join(lines, "\n") + end))
		require.NoError(t, err)
	}
}

// random returns a source that the log of a failed test can repeat.
func random(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestTiersAgreeBeforeAFlushAndAfterARestart(t *testing.T) {
	t.Parallel()
	k, r := newKnown(), random(t)
	never := []string{"--grace", "1h", "--flush-interval", "1h"}
	s := startWith(t, nil, never...)
	k.send(t, s, r, 100)
	f := s.AwaitReceived(k.events)
	require.Equal(t, float64(k.events), f[accepted])
	require.Zero(t, f[stored], "this server must not flush")
	k.require(t, s)
	s.MustStop()

	s = startWith(t, nil, append(never, "--data-dir", s.Dir)...)
	require.Zero(t, s.Figures()[open], "everything must come from the store")
	k.require(t, s)
	// More on top: some of each sum is stored now, the rest is open.
	k.events = 0
	k.send(t, s, r, 100)
	s.AwaitReceived(k.events)
	k.require(t, s)
	s.MustStop()

	s = startWith(t, nil, append(never, "--data-dir", s.Dir)...)
	k.require(t, s)
}

func TestTiersAgreeWhileFlushing(t *testing.T) {
	t.Parallel()
	k := newKnown()
	s := startServer(t, "--grace", "4s") // long enough to look several times on the way
	k.send(t, s, random(t), 100)
	s.AwaitReceived(k.events)
	looks := 0
	s.AwaitFlushed(func() {
		looks++
		k.require(t, s)
	})
	require.Greater(t, looks, 1, "the flush was over before we looked")
	require.Positive(t, s.Figures()["cairn_flushes_total"])
	k.require(t, s)
	require.Equal(t, len(k.totals), len(s.Metrics()))
}

func TestTagsAndFiltersAgreeWithWhatWasSent(t *testing.T) {
	t.Parallel()
	k := newKnown()
	s := startServer(t)
	k.send(t, s, random(t), 100)
	s.AwaitReceived(k.events)
	var body struct {
		Tags []struct {
			Key    string `json:"key"`
			Values []struct {
				Value  string `json:"value"`
				Series int    `json:"series"`
			} `json:"values"`
		} `json:"tags"`
	}
	s.getJSON("/api/tags", map[string][]string{"metric": {"tagged"}}, &body)
	found := map[string]int{}
	for _, key := range body.Tags {
		for _, v := range key.Values {
			found[key.Key+":"+v.Value] = v.Series
		}
	}
	require.Equal(t, map[string]int{"env:prod": 2, "env:staging": 2, "env:dev": 2, "region:eu": 3, "region:us": 3}, found)

	env := k.byEnv["tagged"]
	for filter, want := range map[string]float64{
		"env:prod":         env["prod"],
		"!env:prod":        env["staging"] + env["dev"],
		"env:prod|dev":     env["prod"] + env["dev"],
		"env:st*":          env["staging"],
		"env:*":            k.totals["tagged"],
		"env:nowhere":      0,
		"!other:something": k.totals["tagged"],
	} {
		for _, step := range steps {
			args := span()
			args.Set("metric", "tagged")
			args.Set("filter", filter)
			args.Set("step", step)
			require.Equal(t, want, s.Query(args).Total, "%s at step %s", filter, step)
		}
	}
}

func TestACountIsVisibleWithinASecond(t *testing.T) {
	t.Parallel()
	const limit = time.Second
	s := startServer(t)
	var slowest time.Duration
	round := 0
	for ; round < 12 || s.Figures()["cairn_flushes_total"] < 2; round++ {
		// A series that is new, and one that is known; flushes run in between.
		fresh := fmt.Sprintf("fresh%d", round)
		begin := time.Now()
		s.Send("again:1|c|#k:v", fresh+":1|c|#k:v")
		for metric, want := range map[string]float64{fresh: 1, "again": float64(round + 1)} {
			eventually(t, limit, func() (bool, string) {
				got := s.Query(map[string][]string{"metric": {metric}}).Total
				return got == want, fmt.Sprintf("%s is %v, not %v", metric, got, want)
			})
		}
		took := time.Since(begin)
		require.LessOrEqual(t, took, limit, "round %d", round)
		slowest = max(slowest, took)
	}
	t.Logf("the slowest of %d took %s", round, slowest)
}
