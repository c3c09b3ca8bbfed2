package promql

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGrafanasExpressionsAreRead parses every expression of the dashboards in deploy/grafana.
func TestGrafanasExpressionsAreRead(t *testing.T) {
	files, err := filepath.Glob("../../deploy/grafana/dashboards/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	variable := regexp.MustCompile(`\$\{?[A-Za-z_]+(:[a-z]+)?\}?`)
	e := newWorld(base).engine()
	n := 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		var d any
		require.NoError(t, json.Unmarshal(b, &d))
		var walk func(v any)
		walk = func(v any) {
			switch v := v.(type) {
			case []any:
				for _, x := range v {
					walk(x)
				}
			case map[string]any:
				for k, x := range v {
					if text, ok := x.(string); ok && k == "expr" {
						text = variable.ReplaceAllStringFunc(text, func(s string) string {
							switch {
							case strings.HasSuffix(s, ":doublequote}"):
								return `"x"`
							case strings.HasPrefix(s, "$__"):
								return "5m"
							}
							return "x"
						})
						_, err := e.parse(text)
						require.NoError(t, err, "%s: %s", name, text)
						n++
						continue
					}
					walk(x)
				}
			}
		}
		walk(d)
	}
	require.Greater(t, n, 20)
}
