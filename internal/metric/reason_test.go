package metric

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReasonsAreDocumented compares the table of docs/metrics.md with the code.
func TestReasonsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(doc), "\n## Reasons\n")
	require.True(t, found)
	want := map[string]string{}
	for r := OK + 1; r < NumReasons; r++ {
		require.NotEmpty(t, r.String())
		want[r.String()] = r.Sentence()
	}
	got := map[string]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		if len(cells) == 5 && strings.HasPrefix(cells[1], " `") {
			got[strings.Trim(cells[1], " `")] = strings.ReplaceAll(strings.TrimSpace(cells[2]), "\x00", "|")
		}
	}
	require.Equal(t, want, got)
}
