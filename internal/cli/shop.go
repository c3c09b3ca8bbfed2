package cli

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"

	"cairn/internal/clock"
	"cairn/internal/metric"
)

// shop makes up the traffic of a small shop.
type shop struct {
	clock clock.Clock
	rng   *rand.Rand
	begin metric.UnixSec
	read  metric.UnixSec // the second of the last readings
	flows []flow
}

// flow is one series with the rate that it has at the average time of a day.
type flow struct {
	name   string // of the metric
	kind   string // as in a line
	tags   string // as in a line, without the '#'
	rate   float64
	phase  float64                                 // hours by which the region's day is shifted
	value  func(r *rand.Rand, load float64) string // of one event; nil: events are added up to one line
	during func(incident float64) float64          // the factor of the rate, or the load of the value, while the incident lasts; nil: 1
}

// Kinds of flows, as lines have them.
const (
	counts    = "c"
	readings  = "g"  // one a second
	durations = "ms" // always of now: a timestamp means nothing to them
	members   = "s"  // the same
)

var regions = []struct {
	name         string
	share, phase float64
}{{"eu-west-1", 1, 0}, {"us-east-1", 0.8, -6}, {"ap-south-1", 0.4, 5}}

// The incident: the checkout of one region fails for some minutes, shortly before
// the demo begins, and again while it runs: what has no history shows it, too.
const (
	incidentBegin  = 25 * 60 // seconds before the demo begins
	incidentEvery  = 30 * 60 // seconds, from begin to begin
	incidentLength = 6 * 60
	incidentRegion = "eu-west-1"
)

func newShop(c clock.Clock, seed uint64) *shop {
	s := &shop{clock: c, rng: rand.New(rand.NewPCG(seed, 1)), begin: metric.SecOf(c.Now())}
	fails := func(i float64) float64 { return 1 + 40*i }
	stalls := func(i float64) float64 { return 1 - 0.9*i }
	slows := func(i float64) float64 { return 1 + 6*i }
	for _, r := range regions {
		add := func(name string, rate float64, service, host string, f flow) {
			f.name, f.rate, f.phase = name, rate*r.share, r.phase
			if f.kind == "" {
				f.kind = counts
			}
			f.tags = fmt.Sprintf("env:prod,region:%s,service:%s,host:%s", r.name, service, host)
			if r.name != incidentRegion {
				f.during = nil
			}
			s.flows = append(s.flows, f)
		}
		for i := 1; i <= 4; i++ {
			add("shop.page_views", 6, "web", fmt.Sprintf("web-%d", i), flow{})
			add("shop.errors", 0.02, "web", fmt.Sprintf("web-%d", i), flow{})
		}
		for i := 1; i <= 2; i++ {
			host := fmt.Sprintf("checkout-%d", i)
			add("shop.orders", 0.35, "checkout", host, flow{during: stalls})
			add("shop.revenue", 0.35, "checkout", host, flow{during: stalls, value: price})
			add("shop.errors", 0.05, "checkout", host, flow{during: fails})
			add("shop.checkout_time", 2, "checkout", host, flow{kind: durations, value: took, during: slows})
			add("shop.queue_depth", 4, "checkout", host, flow{kind: readings, value: depth, during: slows})
		}
		add("shop.visitors", 5, "web", "web-1", flow{kind: members, value: visitor})
		add("shop.ad_clicks", 1.5, "ads", "ads-1", flow{})
		add("shop.signups", 0.25, "api", "api-1", flow{})
	}
	s.flows = append(s.flows, flow{name: "shop.page_views", kind: counts, tags: "env:staging,region:eu-west-1,service:web,host:stage-1", rate: 0.5})
	return s
}

func price(r *rand.Rand, _ float64) string {
	return strconv.FormatFloat(math.Round(100*math.Exp(3.4+0.6*r.NormFloat64()))/100, 'f', 2, 64)
}

// took is how long a checkout took, in ms: 180 is the median without load.
func took(r *rand.Rand, load float64) string {
	return strconv.FormatFloat(math.Round(1800*load*math.Exp(0.45*r.NormFloat64()))/10, 'f', 1, 64)
}

// depth is how many orders wait.
func depth(r *rand.Rand, load float64) string {
	return strconv.Itoa(max(0, int(math.Round(load+math.Sqrt(load)*r.NormFloat64()))))
}

// visitor is who it was: some come often, most come seldom.
func visitor(r *rand.Rand, _ float64) string {
	return "v" + strconv.Itoa(int(5000*math.Pow(r.Float64(), 3)))
}

// appendLines appends what happens in the span of a second, or a part of it,
// that begins at t; each line ends with suffix. What takes no timestamp happens
// only without a suffix.
func (s *shop) appendLines(dst []byte, t metric.UnixSec, span float64, suffix string) []byte {
	incident, fresh := s.incident(t), t != s.read
	s.read = t
	for i := range s.flows {
		f := &s.flows[i]
		rate, load := f.rate*day(t, f.phase)*burst(t, i)*span, 1.0
		if f.during != nil {
			load = f.during(incident)
		}
		switch f.kind {
		case readings:
			if fresh {
				dst = appendLine(dst, f, f.value(s.rng, f.rate*day(t, f.phase)*load), suffix)
			}
			continue
		case durations, members:
			if suffix != "" {
				continue
			}
		default:
			rate *= load
		}
		n := s.poisson(rate)
		if n == 0 {
			continue
		}
		if f.value == nil {
			dst = appendLine(dst, f, strconv.Itoa(n), suffix)
			continue
		}
		for range n {
			dst = appendLine(dst, f, f.value(s.rng, load), suffix)
		}
	}
	return dst
}

func appendLine(dst []byte, f *flow, value, suffix string) []byte {
	dst = append(append(dst, f.name...), ':')
	dst = append(append(append(dst, value...), '|'), f.kind...)
	dst = append(dst, "|#"...)
	dst = append(append(dst, f.tags...), suffix...)
	return append(dst, '\n')
}

// incident is 0 before and after each, and 1 at its height.
func (s *shop) incident(t metric.UnixSec) float64 {
	since := t - s.begin + incidentBegin
	at := float64(since % incidentEvery)
	if since < 0 || at > incidentLength {
		return 0
	}
	return math.Min(1, 4*math.Sin(math.Pi*at/incidentLength))
}

// day is the daily shape: a quiet night, a busy evening, 1 on average.
func day(t metric.UnixSec, phase float64) float64 {
	hour := float64(t%86400)/3600 + phase
	return 1 + 0.6*math.Sin(2*math.Pi*(hour-13)/24) + 0.2*math.Sin(4*math.Pi*(hour-8)/24)
}

// burst makes every flow busier for some seconds now and then, each at times of
// its own.
func burst(t metric.UnixSec, flow int) float64 {
	period := int64(420 + 37*(flow%11))
	at := (int64(t) + int64(flow)*91) % period
	if at < 15 {
		return 1 + 3*math.Exp(-float64(at)/6)
	}
	return 1
}

// poisson returns how many events a span with mean of them has.
func (s *shop) poisson(mean float64) int {
	if mean > 30 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*s.rng.NormFloat64())))
	}
	// Knuth, The Art of Computer Programming, volume 2, 3.4.1.
	n, p, limit := 0, s.rng.Float64(), math.Exp(-mean)
	for p > limit {
		n++
		p *= s.rng.Float64()
	}
	return n
}
