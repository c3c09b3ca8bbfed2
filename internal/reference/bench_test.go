package reference

import (
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// BenchmarkRead tells how long a journal takes to be reconciled.
func BenchmarkRead(b *testing.B) {
	r := Rules{Dialect: "dogstatsd", Limits: metric.DefaultLineLimits}
	for _, line := range []string{"page.views:1|c", "page.views:1|c|#env:prod,region:eu,host:web-17", "latency:12.5|ms|@0.1|#env:prod", "page.views,env=prod:1|c"} {
		b.Run(line, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				events, faults := r.Read(line, 1_700_000_000)
				require.Len(b, events, 1)
				require.Empty(b, faults)
			}
		})
	}
}
