package config

import (
	"strings"

	"github.com/spf13/pflag"
)

// Where a setting's value can come from.
const (
	FromDefault     = "default"
	FromFile        = "file"
	FromEnvironment = "environment"
	FromFlag        = "flag"
)

// Setting is a setting in force. None is secret; one that is would need its value left out here.
type Setting struct {
	Name    string
	Value   string // as a flag would be given it
	Default string
	From    string // one of the above
	Where   string // the file's path, the variable or the flag; "": it is the default
	About   string // as --help has it
}

// source is where a value was found.
type source struct{ from, where string }

// settings returns all that are in force, by name.
func (l *Loader) settings() []Setting {
	var out []Setting
	for _, name := range l.names() {
		f := l.flags.Lookup(name)
		out = append(out, setting(f, l.sources[name]))
	}
	if list := l.values.Retention.Overrides; len(list) > 0 {
		var texts []string
		for _, o := range list {
			texts = append(texts, o.Prefix+": "+o.Retention.String())
		}
		out = append(out, Setting{Name: overridesName, Value: strings.Join(texts, "; "), From: FromFile, Where: l.file, About: "the same for metrics by prefixes of their names"})
	}
	return out
}

func setting(f *pflag.Flag, s source) Setting {
	if s.from == "" {
		s.from = FromDefault
	}
	return Setting{f.Name, f.Value.String(), f.DefValue, s.from, s.where, strings.ReplaceAll(f.Usage, "`", "")}
}
