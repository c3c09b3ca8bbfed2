package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"cairn/internal/metric"
)

// dialects are the names that may stand before an address; the first is the one
// where none does.
var dialects = [...]string{"dogstatsd", "etsy", "brubeck"}

// Listen is one address to listen on.
type Listen struct {
	Dialect string // dogstatsd, etsy or brubeck
	Address string // host:port, or a path
}

// Inherited is a socket that whoever started the process handed over, as
// sd_listen_fds(3) describes it.
type Inherited struct {
	FD      int
	Name    string
	Dialect string // of the name's first word: etsy-udp
}

// list is a pflag.Value of several values: repeated, or separated by commas. The
// first one that is set replaces the default.
type list struct {
	to  *[]string
	set *bool
}

func newList(to *[]string, def ...string) list {
	*to = def
	return list{to, new(bool)}
}

// String implements pflag.Value.
func (l list) String() string {
	if l.to == nil {
		return ""
	}
	return strings.Join(*l.to, ",")
}

// Type implements pflag.Value.
func (l list) Type() string { return "list" }

// Set implements pflag.Value. An empty text adds nothing.
func (l list) Set(text string) error {
	if !*l.set {
		*l.to, *l.set = nil, true
	}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			*l.to = append(*l.to, item)
		}
	}
	return nil
}

// mode is a pflag.Value for a file's permissions.
type mode struct{ to *fs.FileMode }

func newMode(to *fs.FileMode, def fs.FileMode) mode {
	*to = def
	return mode{to}
}

// String implements pflag.Value.
func (m mode) String() string {
	if m.to == nil {
		return ""
	}
	return fmt.Sprintf("%04o", *m.to)
}

// Type implements pflag.Value.
func (m mode) Type() string { return "mode" }

// Set implements pflag.Value.
func (m mode) Set(text string) error {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o777 {
		return errors.New("not permissions; write three octal digits, such as 0722 or 0660")
	}
	*m.to = fs.FileMode(n)
	return nil
}

func (l *Loader) takesList(name string) bool {
	_, ok := l.flags.Lookup(name).Value.(list)
	return ok
}

// scalars returns the values of a YAML list.
func scalars(node yaml.Node) ([]string, error) {
	var out []string
	for _, n := range node.Content {
		if n.Kind != yaml.ScalarNode {
			return nil, errors.New("a list holds values only, no lists or mappings")
		}
		out = append(out, n.Value)
	}
	return out, nil
}

// readListeners reads the addresses.
func (l *Loader) readListeners() (problems []error) {
	c := &l.values
	for _, s := range []struct {
		name  string
		items []string
		to    *[]Listen
		check func(string) error
	}{{"udp", l.udp, &c.UDP, checkAddress}, {"uds", l.uds, &c.UDS, checkPath}, {"tcp", l.tcp, &c.TCP, checkAddress}} {
		*s.to = nil
		for _, item := range s.items {
			one, err := readListen(item)
			if err == nil {
				err = s.check(one.Address)
			}
			same := func(o Listen) bool { return o.Address == one.Address && !strings.HasSuffix(o.Address, ":0") }
			if err == nil && slices.ContainsFunc(*s.to, same) {
				err = fmt.Errorf("%s is given twice", one.Address)
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", s.name, err))
				continue
			}
			*s.to = append(*s.to, one)
		}
	}
	if len(l.udp)+len(l.uds)+len(l.tcp)+len(c.Inherited) == 0 {
		problems = append(problems, errors.New("udp: there is nothing to listen on; give an address for udp or tcp, or a path for uds"))
	}
	return problems
}

// readListen reads [dialect@]address. A path may hold an @ after a slash.
func readListen(text string) (Listen, error) {
	dialect, address, ok := strings.Cut(text, "@")
	if !ok || strings.Contains(dialect, "/") {
		return Listen{dialects[0], text}, nil
	}
	if !slices.Contains(dialects[:], dialect) {
		return Listen{}, fmt.Errorf("there is no dialect %q before %q; there are %s", dialect, address, strings.Join(dialects[:], ", "))
	}
	return Listen{dialect, address}, nil
}

func checkAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not host:port, such as 127.0.0.1:8125", address)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("port %q is not a number from 0 to 65535", port)
	}
	return nil
}

// maxPath is the length of sun_path in bytes, less the 0 at its end, where it is
// shortest: 104 on BSD systems; Linux has 108.
const maxPath = 103

func checkPath(path string) error {
	switch {
	case path == "":
		return errors.New("the path is empty; write one such as /run/cairn/statsd.sock")
	case path[0] == '@' || strings.ContainsRune(path, 0):
		return fmt.Errorf("%q is not the path of a file, such as /run/cairn/statsd.sock", path)
	case len(path) > maxPath:
		return fmt.Errorf("%q is longer than %d bytes, which is what systems allow for a socket", path, maxPath)
	}
	return nil
}

// checkLine checks the limits on lines. Offsets within a line have 16 bits.
func checkLine(l metric.LineLimits) (problems []error) {
	between := func(name string, n, low, high int) {
		if n < low || n > high {
			problems = append(problems, fmt.Errorf("%s: %d is not between %d and %d", name, n, low, high))
		}
	}
	between("max-line", l.Line, 64, 65535)
	between("max-name", l.Name, 1, 65535)
	between("max-tag", l.Tag, 1, 65535)
	between("max-tags", l.Tags, 1, 1024)
	return problems
}

// listenVariables are the environment variables of sd_listen_fds(3). They mean
// this process and none that it starts: who has loaded the settings unsets them.
var listenVariables = [...]string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}

// UnsetInherited removes what Load has read about inherited sockets from the
// environment, by unset, which is os.Unsetenv or a test's.
func UnsetInherited(unset func(string) error) error {
	var errs []error
	for _, name := range listenVariables {
		errs = append(errs, unset(name))
	}
	return errors.Join(errs...)
}

const (
	// firstFD is SD_LISTEN_FDS_START.
	firstFD = 3
	// maxInherited bounds what is believed of LISTEN_FDS.
	maxInherited = 256
)

// readInherited reads which sockets were handed over to this process.
func readInherited(getenv func(string) (string, bool)) ([]Inherited, error) {
	pid, ok := getenv("LISTEN_PID")
	if !ok || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil // none, or meant for another process
	}
	text, _ := getenv("LISTEN_FDS")
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxInherited {
		return nil, fmt.Errorf("LISTEN_FDS: %q is not a number of sockets from 0 to %d", text, maxInherited)
	}
	var names []string
	if v, ok := getenv("LISTEN_FDNAMES"); ok && v != "" {
		names = strings.Split(v, ":")
	}
	var out []Inherited
	for i := range n {
		s := Inherited{FD: firstFD + i, Name: "unknown", Dialect: dialects[0]} // the name that sd_listen_fds_with_names(3) gives
		if i < len(names) && names[i] != "" {
			s.Name = names[i]
		}
		if word, _, _ := strings.Cut(s.Name, "-"); slices.Contains(dialects[:], word) {
			s.Dialect = word
		}
		out = append(out, s)
	}
	return out, nil
}
