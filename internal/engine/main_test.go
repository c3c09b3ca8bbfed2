package engine

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	long := false
	flag.Visit(func(f *flag.Flag) { long = long || f.Name == "rapid.checks" })
	if !long {
		// Each check is dozens of starts; with -race a hundred take minutes.
		if err := flag.Set("rapid.checks", "12"); err != nil {
			panic("BUG: " + err.Error())
		}
	}
	code := m.Run()
	if code == 0 { // what leaks after a failure says nothing
		if err := goleak.Find(leaked...); err != nil {
			fmt.Fprintln(os.Stderr, "the tests leave goroutines behind:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// leaked are the goroutines of stores that have ended by Fatal: Pebble cannot be closed
// then, and the process would have ended.
var leaked []goleak.Option

func leakBehindFatal() { leaked = append(leaked, goleak.IgnoreCurrent()) }
