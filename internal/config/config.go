// Package config holds the settings of the server and is the only reader of
// flags, environment and configuration file.
//
// A setting's value is that of the first of these that names it: the command
// line (--max-series), the environment (CAIRN_MAX_SERIES), the YAML file that
// --config names (max-series), the default. All problems are reported at once.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"

	"cairn/internal/metric"
)

// Config is all settings, checked.
type Config struct {
	UDP                []Listen
	UDS                []Listen // paths
	UDSMode            fs.FileMode
	TCP                []Listen
	Inherited          []Inherited
	OriginTags         bool
	HTTP               string
	DataDir            string
	Grace              time.Duration
	FlushInterval      time.Duration
	Readers            int
	UDPBuffer          int
	Line               metric.LineLimits
	MaxMetrics         int
	MaxSeries          int
	MaxSeriesPerMetric int
	MaxMemory          int // bytes; 0: 90% of what there is
	Cache              int
	Query              Query
	Retention          metric.Policy
	JournalSync        bool
	JournalUDP         bool
	JournalRetention   time.Duration
	JournalSize        int
	MinFreeDisk        int // bytes; 0: 5%, at most 1 GiB
	AllowDelete        bool
	LogLevel           string
	LogFormat          string
	Settings           []Setting // all of them, with where each comes from
}

// Loader collects settings from where they may stand. Its flags belong to one
// command.
type Loader struct {
	flags  *pflag.FlagSet
	file   string
	values Config
	// As they were given; Load reads them.
	udp, uds, tcp []string
	sources       map[string]source
}

// defaultReaders suits hosts with one to a few busy senders; a reader more than
// there are cores only costs memory.
const defaultReaders = 2

// defaultUDPBuffer is what a socket may queue while its reader is held up, by the
// collector or by other processes on its core. The memory is used only while
// something is queued, so that a large one costs nothing. Of it the kernel makes
// twice as much, which holds a burst of about 60,000 datagrams of a kilobyte: at
// 20 million events a second, 30 a datagram, that is 90 ms; with 16 MiB it
// would be 22 ms, less than a busy host takes a thread off its core for.
const defaultUDPBuffer = 64 << 20

// minMemory is what an idle process with an empty store and some series takes, and
// room for one flush.
const minMemory = 64 << 20

// defaultUDSMode lets every user of the host send, for which a socket has to be
// writable and no more. It is what the Datadog agent sets, so that clients of it
// find what they are used to.
const defaultUDSMode = 0o722

// defaultJournalSize bounds what is kept for reconciliation only: an hour at 50,000
// events a second that come in batches, or at 20,000 series that count every second.
const defaultJournalSize = 1 << 30

// defaultMaxMetrics bounds the number of metrics; each may hold one series beyond
// max-series, its overflow.
const defaultMaxMetrics = 100_000

// NewLoader registers all settings on flags.
func NewLoader(flags *pflag.FlagSet) *Loader {
	l := &Loader{flags: flags}
	c := &l.values
	flags.StringVar(&l.file, "config", "", "YAML `file` with the settings below, by their names without the dashes")
	flags.Var(newList(&l.udp, "127.0.0.1:8125"), "udp", "`addresses` to receive StatsD datagrams on; repeatable or comma-separated; etsy@ or brubeck@ in front sets the dialect, else it is dogstatsd")
	flags.Var(newList(&l.uds), "uds", "`paths` of Unix datagram sockets to receive on, in the same way")
	flags.Var(newMode(&c.UDSMode, defaultUDSMode), "uds-mode", "permissions of those sockets, octal")
	flags.Var(newList(&l.tcp), "tcp", "`addresses` to accept StatsD lines over TCP on, in the same way")
	flags.BoolVar(&c.OriginTags, "origin-tags", false, "make tags of what DogStatsD clients say about their container")
	flags.StringVar(&c.HTTP, "http", "127.0.0.1:8127", "`address` of the dashboard and the API")
	flags.StringVar(&c.DataDir, "data-dir", "./data", "`directory` of the store; made if it is not there")
	flags.DurationVar(&c.Grace, "grace", 10*time.Second, "how long after its end a bucket stays open for late events")
	flags.DurationVar(&c.FlushInterval, "flush-interval", 10*time.Second, "time between flushes to the store, aligned to the clock")
	flags.IntVar(&c.Readers, "readers", defaultReaders, "sockets, each with a reader, that share a UDP port (Linux)")
	flags.Var(newSize(&c.UDPBuffer, defaultUDPBuffer), "udp-buffer", "receive buffer to ask the kernel for, a socket")
	d := metric.DefaultLineLimits
	flags.IntVar(&c.Line.Line, "max-line", d.Line, "bytes of the longest line")
	flags.IntVar(&c.Line.Name, "max-name", d.Name, "bytes of the longest metric name")
	flags.IntVar(&c.Line.Tag, "max-tag", d.Tag, "bytes of the longest tag")
	flags.IntVar(&c.Line.Tags, "max-tags", d.Tags, "tags of one series")
	flags.IntVar(&c.MaxMetrics, "max-metrics", defaultMaxMetrics, "metrics; the events of one more are rejected")
	flags.IntVar(&c.MaxSeries, "max-series", metric.DefaultMaxSeries, "series in memory; beyond it new tagsets fold into __overflow__:true")
	flags.IntVar(&c.MaxSeriesPerMetric, "max-series-per-metric", metric.DefaultMaxSeriesPerMetric, "the same for one metric")
	flags.Var(newSize(&c.MaxMemory, 0), "max-memory", "memory for the process, beyond which new series fold as well; 0: 90% of the container's or the machine's")
	flags.Var(newSize(&c.Cache, 64<<20), "cache", "memory for blocks read from the store")
	c.Query.register(flags)
	flags.Var(newRetention(&c.Retention.Default, metric.DefaultRetention), "retention", "`tiers` that are kept, and how long: some of 1s, 10s, 1m, 1h, a coarser one no shorter; the file may have retention-overrides by name prefix")
	flags.BoolVar(&c.JournalSync, "journal-sync", true, "sync the journal before a batch is answered; without it a power cut can lose what was answered")
	flags.BoolVar(&c.JournalUDP, "journal-udp", true, "journal what comes over UDP, UDS and TCP every second; without it a kill loses what was not flushed")
	flags.DurationVar(&c.JournalRetention, "journal-retention", time.Hour, "how long the journal is kept for reconciliation once it is in the store")
	flags.Var(newSize(&c.JournalSize, defaultJournalSize), "journal-size", "but no more of it than this")
	flags.Var(newSize(&c.MinFreeDisk, 0), "min-free-disk", "free space below which nothing is written and batches are refused; 0: 5% of the disk, at most 1GiB")
	flags.BoolVar(&c.AllowDelete, "allow-delete", false, "let DELETE /api/series delete series, for good")
	flags.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&c.LogFormat, "log-format", "text", "text or json")
	return l
}

// Load returns the settings after flags were parsed. getenv is os.LookupEnv, or
// a test's.
func (l *Loader) Load(getenv func(string) (string, bool)) (Config, error) {
	var problems []error
	l.sources = make(map[string]source)
	if v, ok := getenv("CAIRN_CONFIG"); ok && !l.flags.Changed("config") {
		l.file = v
	}
	file, err := l.readFile()
	if err != nil {
		problems = append(problems, err)
	}
	for _, name := range l.names() {
		if l.flags.Changed(name) {
			l.sources[name] = source{FromFlag, "--" + name}
			continue
		}
		value, from := file[name], fmt.Sprintf("%s: %s", l.file, name)
		_, set := file[name]
		origin := source{FromFile, l.file}
		if v, ok := getenv(EnvName(name)); ok {
			value, from, set, origin = v, EnvName(name), true, source{FromEnvironment, EnvName(name)}
		}
		if !set {
			continue
		}
		l.sources[name] = origin
		flag := l.flags.Lookup(name)
		if err := flag.Value.Set(value); err != nil {
			problems = append(problems, fmt.Errorf("%s: %q: %w", from, value, plain(err)))
			// What Set left behind must not be complained about as well.
			if err := flag.Value.Set(flag.DefValue); err != nil {
				panic(fmt.Sprintf("BUG: the default of %s is not valid: %v", name, err))
			}
		}
	}
	inherited, err := readInherited(getenv)
	if err != nil {
		problems = append(problems, err)
	}
	l.values.Inherited = inherited
	problems = append(problems, l.readListeners()...)
	problems = append(problems, l.values.check()...)
	l.values.Settings = l.settings()
	return l.values, errors.Join(problems...)
}

// plain turns strconv's errors into what a user can act on.
func plain(err error) error {
	var n *strconv.NumError
	if errors.As(err, &n) {
		return errors.New("not a whole number in range")
	}
	return err
}

// EnvName returns the environment variable of a setting.
func EnvName(setting string) string {
	return "CAIRN_" + strings.ToUpper(strings.ReplaceAll(setting, "-", "_"))
}

func (l *Loader) names() []string {
	var out []string
	l.flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" && f.Name != "help" {
			out = append(out, f.Name)
		}
	})
	return out
}

func (l *Loader) readFile() (map[string]string, error) {
	if l.file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(l.file)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	var raw map[string]yaml.Node
	if err := yaml.Unmarshal(b, &raw); err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", l.file, err)
	}
	names := l.names()
	out := make(map[string]string)
	var problems []error
	keys := slices.SortedFunc(maps.Keys(raw), func(a, b string) int { return raw[a].Line - raw[b].Line })
	for _, key := range keys {
		node := raw[key]
		switch {
		case key == overridesName:
			if err := l.readOverrides(&node); err != nil {
				problems = append(problems, err)
			}
		case !slices.Contains(names, key):
			problems = append(problems, fmt.Errorf("%s:%d: there is no setting %q; there are %s and %s", l.file, node.Line, key, strings.Join(names, ", "), overridesName))
		case node.Kind == yaml.SequenceNode && l.takesList(key):
			values, err := scalars(node)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s:%d: %s: %w", l.file, node.Line, key, err))
			}
			out[key] = strings.Join(values, ",")
		case node.Kind != yaml.ScalarNode:
			problems = append(problems, fmt.Errorf("%s:%d: %s must be one value", l.file, node.Line, key))
		default:
			out[key] = node.Value
		}
	}
	return out, errors.Join(problems...)
}

func (c *Config) check() (problems []error) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if err := checkAddress(c.HTTP); err != nil {
		bad("http: %w", err)
	}
	problems = append(problems, checkLine(c.Line)...)
	if c.MaxMetrics < 1 || c.MaxMetrics > 10_000_000 {
		bad("max-metrics: %d is not between 1 and 10000000", c.MaxMetrics)
	}
	if c.DataDir == "" {
		bad("data-dir: must not be empty")
	}
	if c.Grace < time.Second || c.Grace > time.Hour {
		bad("grace: %s is not between 1s and 1h", c.Grace)
	}
	if c.FlushInterval < time.Second || c.FlushInterval > time.Hour || c.FlushInterval%time.Second != 0 {
		bad("flush-interval: %s is not whole seconds between 1s and 1h", c.FlushInterval)
	}
	if c.Readers < 1 || c.Readers > 64 {
		bad("readers: %d is not between 1 and 64", c.Readers)
	}
	if c.UDPBuffer < 4096 || c.UDPBuffer > 1<<30 {
		bad("udp-buffer: %d bytes are not between 4KiB and 1GiB", c.UDPBuffer)
	}
	if c.MaxSeries < 1 || c.MaxSeries > 100_000_000 {
		bad("max-series: %d is not between 1 and 100000000", c.MaxSeries)
	}
	if c.MaxSeriesPerMetric < 1 || c.MaxSeriesPerMetric > c.MaxSeries {
		bad("max-series-per-metric: %d is not between 1 and max-series (%d)", c.MaxSeriesPerMetric, c.MaxSeries)
	}
	if c.MaxMemory != 0 && c.MaxMemory < minMemory {
		bad("max-memory: %d bytes are less than %dMiB", c.MaxMemory, minMemory>>20)
	}
	if c.Cache < 1<<20 {
		bad("cache: %d bytes are less than 1MiB", c.Cache)
	}
	problems = append(problems, c.Query.check()...)
	if c.JournalRetention < 0 || c.JournalRetention > 30*24*time.Hour {
		bad("journal-retention: %s is not between 0s and 720h", c.JournalRetention)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		bad("log-level: %q is not debug, info, warn or error", c.LogLevel)
	}
	if !slices.Contains([]string{"text", "json"}, c.LogFormat) {
		bad("log-format: %q is not text or json", c.LogFormat)
	}
	return problems
}
