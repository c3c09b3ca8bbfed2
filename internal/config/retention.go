package config

import (
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"

	"cairn/internal/metric"
)

// overridesName is the one setting that only the file has: a mapping has no good form
// on a command line.
const overridesName = "retention-overrides"

// maxOverrides bounds the list: each expiry pass looks at each of them in each tier.
const maxOverrides = 100

// retention is a pflag.Value for how long tiers are kept.
type retention struct{ to *metric.Retention }

func newRetention(to *metric.Retention, def metric.Retention) retention {
	*to = def
	return retention{to}
}

// String implements pflag.Value.
func (r retention) String() string {
	if r.to == nil {
		return ""
	}
	return r.to.String()
}

// Type implements pflag.Value.
func (r retention) Type() string { return "retention" }

// Set implements pflag.Value.
func (r retention) Set(text string) error {
	got, err := metric.ParseRetention(text)
	if err != nil {
		return err
	}
	*r.to = got
	return nil
}

// readOverrides reads the mapping of name prefixes to how long they are kept.
func (l *Loader) readOverrides(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("%s:%d: %s must be a mapping of name prefixes to retentions, such as `debug.: 1s:1h,10s:1d`", l.file, node.Line, overridesName)
	}
	if n := len(node.Content) / 2; n > maxOverrides {
		return fmt.Errorf("%s:%d: %s has %d prefixes; at most %d are allowed", l.file, node.Line, overridesName, n, maxOverrides)
	}
	var problems []error
	list := &l.values.Retention.Overrides
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		bad := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf("%s:%d: %s: %w", l.file, key.Line, overridesName, fmt.Errorf(format, args...)))
		}
		switch r, err := metric.ParseRetention(value.Value); {
		case key.Kind != yaml.ScalarNode || key.Value == "":
			bad("the prefix is empty; what holds for all metrics is the setting retention")
		case slices.ContainsFunc(*list, func(o metric.Override) bool { return o.Prefix == key.Value }):
			bad("the prefix %q is given twice", key.Value)
		case value.Kind != yaml.ScalarNode:
			bad("%q must be one value, such as 1s:1h,10s:1d", key.Value)
		case err != nil:
			bad("%q: %w", key.Value, err)
		default:
			*list = append(*list, metric.Override{Prefix: key.Value, Retention: r})
		}
	}
	return errors.Join(problems...)
}
