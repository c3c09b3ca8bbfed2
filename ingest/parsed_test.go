package ingest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadingAsksForMemory(t *testing.T) {
	const allowed = 1 << 19
	for name, c := range map[string]struct {
		format format
		body   string
	}{
		"lines":      {formatLines, strings.Repeat("a:1|c\n", 30_000)},
		"slow lines": {formatLines, strings.Repeat("a:1|c|T1\n", 30_000)},
		"values":     {formatLines, strings.Repeat("a"+strings.Repeat(":1", 1000)+"|c\n", 30)},
		"JSON":       {formatJSON, "[" + strings.Repeat(`{"metric":"a","value":1},`, 30_000) + "{}]"},
		"one event":  {formatJSON, `[{"metric":"a","values":[` + strings.Repeat("1,", 30_000) + "1]}]"},
		"NDJSON":     {formatNDJSON, strings.Repeat(`{"metric":"a","value":1}`+"\n", 30_000)},
		"one line":   {formatNDJSON, `{"metric":"a","values":[` + strings.Repeat("1,", 30_000) + "1]}"},
	} {
		for _, full := range []bool{true, false} {
			asked := 0
			j := newJSONReader()
			b := &parsed{take: func(n int) *Refusal {
				if asked += n; full && asked > allowed {
					return refuse(statusUnavailable, "full")
				}
				return nil
			}}
			var refusal *Refusal
			if c.format == formatLines {
				body := strings.ReplaceAll(c.body, "T1\n", fmt.Sprintf("T%d\n", now))
				refusal = b.lines(testParser, []byte(body), now, nil, false)
			} else {
				refusal = j.read(b, testParser, c.format, []byte(c.body), now)
			}
			if !full {
				require.Nil(t, refusal, name)
				require.Nil(t, b.charge(1, 0), name)
				require.GreaterOrEqual(t, asked, len(b.events)*rawSize, name)
				require.GreaterOrEqual(t, len(b.events), 30_000, name)
				continue
			}
			require.NotNil(t, refusal, name)
			require.Equal(t, "full", refusal.Sentence, name)
			require.Less(t, cap(b.events)*rawSize+cap(j.values)*valueSize, 4*allowed, name)
		}
	}
}
