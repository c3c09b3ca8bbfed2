package engine

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/agg"
	"cairn/ingest"
	"cairn/internal/clock"
	"cairn/internal/crashdisk"
	"cairn/internal/metric"
)

// soakShape says what a soak does.
type soakShape struct {
	days                    int
	seed                    uint64
	lead                    int64 // seconds from the begin to the next partition of the coarsest tier
	step                    int64 // seconds between two flushes; each tick and flush comes at its end
	pass                    int64 // seconds between two passes of the retention
	keep, short             string
	dense, sparse           int   // series of each kind that live all the time
	denseEvery              int64 // seconds between two events of a dense one
	born, life              int   // series that come each hour, and how many hours they live on average
	bornEvery               int64
	restartEvery, crashEach int // hours between two restarts; every so many is a crash
	journal                 int64
}

// soak is an engine under a clock that is moved by hand, what it was given, and what
// must be in it.
type soak struct {
	t       *testing.T
	shape   soakShape
	rng     *rand.Rand
	clock   *clock.Manual
	fs      vfs.FS
	dir     string
	images  int
	o       Options
	e       *Engine
	feeders []*ingest.Feeder

	oracle      heldOracle
	alive, dead []*soakSeries // dead not long ago: something of them may come late
	past, gone  []*soakSeries // dead, with something held, and without
	named       int
	text        []byte
	sequence    [3]uint64
	sent        uint64
	restarts    int
	crashes     int
	agreed      int // buckets, in all comparisons
	taken       []figuresOfHour
}

// TestSoak lets some simulated days pass, with a retention of hours; `make soak` makes
// it a month, with one of days. Whatever a tier is to hold is compared with plain maps
// each day, and in the end disk, memory and files must not have grown.
func TestSoak(t *testing.T) {
	shape := soakShape{
		days: 4, seed: 1, lead: 36 * 3600, step: 120, pass: 600, keep: "1s:2h,10s:6h,1m:12h,1h:1d", short: "1s:1h,1m:6h",
		dense: 1, denseEvery: 20, sparse: 1, born: 4, life: 5, bornEvery: 240, restartEvery: 15, crashEach: 2, journal: 1 << 20,
	}
	long := os.Getenv("CAIRN_SOAK_DAYS")
	if long != "" {
		shape = soakShape{
			days: soakNumber(t, "CAIRN_SOAK_DAYS", 30), seed: 1, lead: 36 * 3600, step: int64(soakNumber(t, "CAIRN_SOAK_STEP", 10)), pass: 600,
			keep: "1s:6h,10s:1d,1m:3d,1h:10d", short: "1s:2h,1m:1d",
			dense: 2, denseEvery: 1, sparse: 3, born: 4, life: 12, bornEvery: 30, restartEvery: 29, crashEach: 3, journal: 8 << 20,
		}
	}
	shape.seed = uint64(soakNumber(t, "CAIRN_SOAK_SEED", int(shape.seed)))
	s := newSoak(t, shape)
	if long != "" {
		s.dir, s.fs = filepath.Join(t.TempDir(), "data"), nil
	}
	t.Logf("seed %d: %d days, %s, and %s for half of the metrics (CAIRN_SOAK_SEED repeats it)", shape.seed, shape.days, shape.keep, shape.short)
	s.run()
}

func soakNumber(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

func newSoak(t *testing.T, shape soakShape) *soak {
	s := &soak{t: t, shape: shape, rng: soakRandom(shape.seed), fs: crashdisk.New(), dir: "data"}
	month := metric.Tier1h.Span()
	next := (begin/month + 1) * month
	s.clock = clock.NewManual(time.Unix(next-shape.lead, 0))
	parser := &ingest.Parser{Limits: metric.DefaultLineLimits}
	s.o = Options{
		Log: slog.New(slog.DiscardHandler), Seed: 1, Fatal: func(s string) { panic(s) }, Cache: 8 << 20,
		Limits:    agg.Limits{Series: 1 << 20, SeriesPerMetric: 1 << 20, Metrics: 1 << 10},
		Resolvers: []agg.Resolver{parser.Resolve, parser.Resolve}, Parser: parser,
		Grace: grace, FlushInterval: 10 * time.Second, JournalSync: true, JournalUDP: true,
		JournalRetention: time.Hour, JournalSize: shape.journal,
	}
	s.oracle.policy = s.policy()
	s.o.Retention = s.oracle.policy
	return s
}

func (s *soak) now() metric.UnixSec { return metric.SecOf(s.clock.Now()) }

func (s *soak) open() {
	var err error
	o := s.o
	o.FS, o.Dir, o.Clock = s.fs, s.dir, s.clock
	s.e, err = Open(o)
	require.NoError(s.t, err)
	s.feeders = nil
	for i := range s.o.Resolvers {
		s.feeders = append(s.feeders, ingest.NewFeeder(s.e.Stripe(i), s.o.Parser))
	}
	require.NoError(s.t, s.e.Replay())
	require.Empty(s.t, s.e.Recovered().Damaged)
	s.oracle.clock.last = 0
	s.expire()
}

func (s *soak) run() {
	ended := false
	s.t.Cleanup(func() {
		if !ended && s.e != nil {
			_ = s.e.Close() // what it says is of no interest after a failure
		}
	})
	s.open()
	s.populate()
	began := time.Now()
	for hour := 1; hour <= 24*s.shape.days; hour++ {
		s.hour()
		s.take(hour)
		if hour%s.shape.restartEvery == 0 {
			s.restart()
		}
		if hour%24 == 0 {
			s.check()
			s.t.Logf("day %d after %s: %s", hour/24, time.Since(began).Round(100*time.Millisecond), &s.taken[hour-1])
		}
	}
	s.restart()
	s.check()
	s.requireFlat()
	require.NoError(s.t, s.e.Close())
	ended = true
	s.table(time.Since(began))
}

// hour lets one pass.
func (s *soak) hour() {
	s.churn()
	for range 3600 / s.shape.step {
		for range s.shape.step - 1 {
			s.clock.Advance(time.Second)
			s.second()
		}
		s.extras()
		s.nextSecond()
		s.tick()
		if s.now() >= s.oracle.clock.last+metric.UnixSec(s.shape.pass) {
			s.expire()
		}
	}
}

// nextSecond brings the clock to the next full one: what was fed is from before.
func (s *soak) nextSecond() {
	now := s.clock.Now()
	s.clock.Advance(now.Truncate(time.Second).Add(time.Second).Sub(now))
}

// tick does what the pump's loop does when a flush is due.
func (s *soak) tick() {
	require.NoError(s.t, s.e.Pump.Tick(s.now()))
	require.NoError(s.t, s.e.Pump.Flush(metric.SecOf(s.clock.Now().Add(-grace))))
}

// check waits until everything is sealed and a partition of the finest tier has just
// expired, and compares all with the oracle.
func (s *soak) check() {
	sealed := s.clock.Now().Add(grace)
	s.clock.Advance(sealed.Truncate(time.Hour).Add(time.Hour + time.Second).Sub(s.clock.Now()))
	s.tick()
	s.expire()
	require.Zero(s.t, s.e.Pump.Stats().Open)
	require.Zero(s.t, s.e.Pump.Stats().Imbalance())
	v, err := s.e.Pump.View()
	require.NoError(s.t, err)
	wrong, agree, err := s.oracle.compare(v.Store, s.now()+3600)
	v.Close()
	require.NoError(s.t, err)
	require.Empty(s.t, wrong, "after %d restarts, %d of them crashes, with seed %d:\n%s", s.restarts, s.crashes, s.shape.seed, strings.Join(wrong, "\n"))
	s.agreed += agree
	require.Equal(s.t, s.oracle.numberHeld(), s.indexed(), "series in the index")
	s.requireTotals()
}

// restart ends the engine in order, or as a kill would, and opens it after a while.
func (s *soak) restart() {
	s.restarts++
	if s.restarts%s.shape.crashEach == 0 {
		s.crash()
	} else {
		s.closeAndWeigh()
	}
	s.clock.Advance(time.Duration(s.rng.IntN(400)) * time.Second)
	s.nextSecond()
	s.open()
}

// crash loses what is in no journal.
func (s *soak) crash() {
	s.crashes++
	s.loseOne()
	if mem, ok := s.fs.(*crashdisk.Disk); ok {
		left := loseSome(mem, []int{0, 50, 100}[s.rng.IntN(3)], s.rng)
		require.NoError(s.t, s.e.Close()) // nobody sees what it still writes
		s.fs = left
		return
	}
	s.images++
	image := filepath.Join(filepath.Dir(s.dir), "image"+strconv.Itoa(s.images))
	for try := 1; !soakCopy(s.t, s.dir, image); try++ {
		require.Less(s.t, try, 1000, "the data dir never keeps still")
		require.NoError(s.t, os.RemoveAll(image))
	}
	require.NoError(s.t, s.e.Close())
	require.NoError(s.t, os.RemoveAll(s.dir))
	s.dir = image
}

// soakCopy copies a data dir as a kill would leave it. It returns false if something
// changed meanwhile: Pebble works in the background, and the copy is of no one instant.
func soakCopy(t *testing.T, from, to string) bool {
	before := soakListing(t, from)
	for _, f := range before {
		name, _, _ := strings.Cut(f, " ")
		if base := filepath.Base(name); base == "LOCK" || base == "cairn.pid" {
			continue
		}
		if !copyFile(t, filepath.Join(from, name), filepath.Join(to, name)) {
			return false
		}
	}
	return slices.Equal(before, soakListing(t, from))
}

// soakListing names all files with their sizes.
func soakListing(t *testing.T, dir string) (list []string) {
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		if d == nil || d.IsDir() {
			return nil
		}
		info, err := d.Info()
		if os.IsNotExist(err) {
			return nil
		}
		rel, relErr := filepath.Rel(dir, path)
		require.NoError(t, relErr)
		list = append(list, rel+" "+strconv.FormatInt(info.Size(), 10))
		return err
	}))
	return list
}

// copyFile returns false if the file is gone.
func copyFile(t *testing.T, from, to string) bool {
	in, err := os.Open(from)
	if os.IsNotExist(err) {
		return false
	}
	require.NoError(t, err)
	defer in.Close()
	require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o700))
	out, err := os.Create(to)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
	return true
}
