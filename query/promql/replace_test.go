package promql

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFunctionsOfLabelsAreBounded: neither what they compile nor what they make has no bound.
func TestFunctionsOfLabelsAreBounded(t *testing.T) {
	e := newWorld(base).engine()
	refs := func(inner string, n int) string {
		return `label_replace(` + inner + `, "a", "` + strings.Repeat("$1", n) + `", "a", "(.*)")`
	}
	huge := `"` + strings.Repeat("(.?){1000}", 3) + `"`
	twice := `label_join(m, "a", "", "b", "b")`
	deep := twice
	for range 8 {
		deep = strings.Replace(strings.ReplaceAll(twice, `"b"`, `"a"`), "m", deep, 1)
	}
	for text, says := range map[string]string{
		`label_replace(m, "a", "b", "c", (` + huge + `))`:          "2000 are allowed",
		`label_replace(m, "a", "b", "c", ((` + huge + `)))`:        "2000 are allowed",
		`sum(label_replace(m, "a", "b", "c", (` + huge + `))) + 1`: "2000 are allowed",
		refs("m", 100):                       "more than 16384 bytes",
		refs(refs("m", 20), 20):              "more than 16384 bytes",
		refs("topk(1, "+refs("m", 9)+")", 9): "more than 16384 bytes",
		`label_replace(m, "a", ("` + strings.Repeat("$1", 100) + `"), "a", "(.*)")`: "more than 16384 bytes",
		deep: "more than 16384 bytes",
	} {
		_, err := e.parse(text)
		var bad *BadQuery
		require.ErrorAs(t, err, &bad, text)
		require.ErrorContains(t, err, says, text)
	}
	fine := "m"
	for range 10 {
		fine = `label_replace(` + fine + `, "a", "$1-$2", "b", ("(.*)/(.*)"))`
	}
	for _, text := range []string{fine, refs("m", 20), twice, refs(refs("m", 2), 3), `label_join(m, "a", "-", "x", "y", "z")`, `label_join(m, "a", "-")`} {
		_, err := e.parse(text)
		require.NoError(t, err, text)
	}
}
