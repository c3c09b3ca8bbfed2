package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/stretchr/testify/require"

	"cairn/ingest"
	"cairn/internal/metric"
)

// soakSeries is one that events are sent of.
type soakSeries struct {
	*heldSeries
	head  string         // of a line: name and colon
	tail  string         // from the kind on, without a rate
	json  string         // name, kind and tags, as members of an object
	every int64          // seconds between two events
	phase int64          // of them
	dies  metric.UnixSec // 0: it does not
}

// Values and weights are whole numbers, and few: sums are exact, and buckets of the
// coarse tiers have several of each.
var (
	soakValues  = [...]float64{1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 100_000}
	soakWeights = [...]float64{1, 1, 1, 1, 1, 2, 10}
)

// Seconds that stamped events are apart from now: late within the grace, later than
// that, and what only coarser tiers hold still.
var (
	soakLate   = [...]int64{1, 2, 5, 9}
	soakSealed = [...]int64{11, 15, 60, 300, 3000, 3600}
	soakOld    = [...]int64{2 * 3600, 5 * 3600, 7 * 3600, 20 * 3600, 26 * 3600, 50 * 3600, 80 * 3600, 100 * 3600, 150 * 3600}
)

// newSeries makes one up that was not there before. Every other metric has a name that
// an override is for.
func (s *soak) newSeries(kind metric.Kind, every int64, dies metric.UnixSec) *soakSeries {
	s.named++
	name := letters[kind] + "." + []string{"long", "short"}[s.named/len(metric.Kinds)%2]
	value := strconv.Itoa(s.named)
	id := metric.ID{Kind: kind, Name: name}
	return &soakSeries{
		heldSeries: s.oracle.newSeries(id, metric.NewTagset([]metric.Tag{{Key: "k", Value: value}, {Key: "host", Value: "h" + strconv.Itoa(s.named%7)}})),
		head:       name + ":", tail: "|" + letters[kind] + "|#k:" + value + ",host:h" + strconv.Itoa(s.named%7),
		json:  fmt.Sprintf(`"metric":%q,"kind":%q,"tags":{"k":%q,"host":"h%d"}`, name, kind.String(), value, s.named%7),
		every: every, phase: int64(s.named) * 7919 % every, dies: dies,
	}
}

// populate makes the series that live from the begin to the end.
func (s *soak) populate() {
	for range s.shape.dense {
		for _, k := range metric.Kinds {
			s.alive = append(s.alive, s.newSeries(k, s.shape.denseEvery, 0))
		}
	}
	for i := range s.shape.sparse {
		for _, k := range metric.Kinds {
			s.alive = append(s.alive, s.newSeries(k, []int64{300, 1700, 2 * 3600}[i%3], 0))
		}
	}
}

// churn lets series die and others come, each simulated hour. The dead are remembered
// for a while: something of them may come late.
func (s *soak) churn() {
	now := s.now()
	s.alive = slices.DeleteFunc(s.alive, func(x *soakSeries) bool {
		if x.dies == 0 || now < x.dies {
			return false
		}
		s.dead = append(s.dead, x)
		return true
	})
	late := max(0, len(s.dead)-16)
	s.past, s.dead = append(s.past, s.dead[:late]...), s.dead[late:]
	for i := range s.shape.born {
		life := 1 + s.rng.IntN(2*s.shape.life-1)
		s.alive = append(s.alive, s.newSeries(metric.Kinds[i%len(metric.Kinds)], s.shape.bornEvery, now+metric.UnixSec(life*3600)))
	}
	living := make(map[*heldSeries]bool)
	for _, x := range append(slices.Clone(s.alive), s.dead...) {
		living[x.heldSeries] = true
	}
	s.oracle.forget(living)
	s.past = slices.DeleteFunc(s.past, func(x *soakSeries) bool {
		if x.empty() {
			s.gone = append(s.gone, x)
		}
		return x.empty()
	})
	s.gone = s.gone[max(0, len(s.gone)-32):]
}

// revive sends something of a series of which nothing was left.
func (s *soak) revive(at metric.UnixMilli) {
	if len(s.gone) == 0 {
		return
	}
	i := s.rng.IntN(len(s.gone))
	x := s.gone[i]
	s.gone = slices.Delete(s.gone, i, i+1)
	s.dead = append(s.dead, x)
	s.oracle.series = append(s.oracle.series, x.heldSeries)
	e := s.event(x, at)
	e.weight = 1
	s.text = fmt.Appendf(s.text[:0], "%s%d%s\n", x.head, int(e.value), x.tail)
	s.oracle.add(x.heldSeries, e)
	s.sent++
	s.feed(0)
}

// second feeds what is due in the second that the clock shows, in one datagram.
func (s *soak) second() {
	now := int64(s.now())
	s.text = s.text[:0]
	at := metric.MilliOf(s.clock.Now())
	for _, x := range s.alive {
		if (now+x.phase)%x.every != 0 {
			continue
		}
		e := s.event(x, at)
		s.text = append(s.text, x.head...)
		s.text = strconv.AppendInt(s.text, int64(e.value), 10)
		s.text = append(s.text, x.tail...)
		if e.weight != 1 {
			s.text = strconv.AppendFloat(append(s.text, "|@"...), 1/e.weight, 'g', -1, 64)
		}
		s.text = append(s.text, '\n')
		s.oracle.add(x.heldSeries, e)
		s.sent++
	}
	s.feed(int(now % 2))
}

func (s *soak) feed(stripe int) {
	if len(s.text) == 0 {
		return
	}
	at := metric.MilliOf(s.clock.Now())
	f := s.feeders[stripe]
	f.Feed(s.text, 0, len(s.text), at, false)
	f.Flush(s.text, at)
}

func (s *soak) event(x *soakSeries, at metric.UnixMilli) event {
	e := event{kind: x.id.Kind, sec: at.Sec(), at: at, value: soakValues[s.rng.IntN(len(soakValues))], weight: 1}
	if e.kind == metric.Counter || e.kind == metric.Distribution {
		e.weight = soakWeights[s.rng.IntN(len(soakWeights))]
	}
	return e
}

// extras feeds what comes late, much too late, or as a batch.
func (s *soak) extras() {
	s.clock.Advance(time.Millisecond)
	at := metric.MilliOf(s.clock.Now())
	switch n := s.rng.IntN(20); {
	case n < 3:
		s.stamped(at, soakLate[:])
	case n < 5:
		s.stamped(at, soakSealed[:])
	case n < 6:
		s.stamped(at, s.old())
	case n < 8:
		s.batch(at)
	case n < 9:
		s.revive(at)
	}
}

// old are the ages of old events, but for those that every retention is shorter than:
// they are refused.
func (s *soak) old() []int64 {
	n := 0
	for n < len(soakOld) && soakOld[n] < s.oracle.policy.Longest() {
		n++
	}
	return soakOld[:n]
}

// target is a living series, or one that died not long ago.
func (s *soak) target() *soakSeries {
	if len(s.dead) > 0 && s.rng.IntN(5) == 0 {
		return s.dead[s.rng.IntN(len(s.dead))]
	}
	return s.alive[s.rng.IntN(len(s.alive))]
}

// stamped feeds lines with a time; of kinds that have none, nothing.
func (s *soak) stamped(at metric.UnixMilli, ago []int64) {
	s.text = s.text[:0]
	for range 1 + s.rng.IntN(4) {
		x := s.target()
		if k := x.id.Kind; k != metric.Counter && k != metric.Gauge {
			continue
		}
		e := s.event(x, at)
		e.sec -= metric.UnixSec(ago[s.rng.IntN(len(ago))])
		rate := ""
		if e.weight != 1 {
			rate = "|@" + strconv.FormatFloat(1/e.weight, 'g', -1, 64)
		}
		s.text = fmt.Appendf(s.text, "%s%d%s%s|T%d\n", x.head, int(e.value), x.tail, rate, e.sec)
		s.oracle.add(x.heldSeries, e)
		s.sent++
	}
	s.feed(s.rng.IntN(len(s.feeders)))
}

// batch sends one of JSON, in which all kinds have a time; every third comes twice.
func (s *soak) batch(at metric.UnixMilli) {
	var body bytes.Buffer
	n := 1 + s.rng.IntN(6)
	for range n {
		x := s.target()
		e := s.event(x, at)
		ago := [][]int64{{0}, soakLate[:], soakSealed[:], s.old()}[s.rng.IntN(4)]
		e.sec -= metric.UnixSec(ago[s.rng.IntN(len(ago))])
		fmt.Fprintf(&body, `{%s,"value":%d,"rate":%g,"time":%d}`+"\n", x.json, int(e.value), 1/e.weight, e.sec)
		s.oracle.add(x.heldSeries, e)
		s.sent++
	}
	p := s.rng.IntN(len(s.sequence))
	s.sequence[p]++
	for i := range 1 + s.rng.IntN(3)/2 {
		q := ingest.Request{
			Producer: fmt.Sprintf("00000000-0000-4000-8000-00000000000%d", p), Sequence: strconv.FormatUint(s.sequence[p], 10),
			ContentType: "application/x-ndjson", Length: body.Len(), Body: bytes.NewReader(body.Bytes()),
		}
		a, refusal := s.e.Batches.Ingest(&q)
		require.Nil(s.t, refusal)
		require.EqualValues(s.t, n, a.Accepted, body.String())
		require.Equal(s.t, i > 0, a.Duplicate)
	}
}

// loseOne feeds something that is in no journal yet; a crash that comes now loses it.
func (s *soak) loseOne() {
	s.text = fmt.Appendf(s.text[:0], "%s7%s\n", s.alive[0].head, s.alive[0].tail)
	s.feed(0)
}

func soakRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 5)) }
