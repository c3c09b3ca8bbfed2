package ledger

import (
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/ingest"
	"cairn/internal/flush"
	"cairn/internal/metric"
)

func TestImbalanceIsWhatIsMissing(t *testing.T) {
	feeders := ingest.Counts{Received: 10, Accepted: 7}
	feeders.Rejected[metric.BadValue], feeders.Rejected[metric.NoType] = 2, 1
	pump := flush.Stats{Accepted: 7, Open: 1, Frozen: 2, Stored: 4}
	a := Read(feeders, pump)
	require.Zero(t, a.Imbalance())
	require.EqualValues(t, 3, a.Open, "what is being flushed is still open")

	lost := pump
	lost.Stored--
	require.EqualValues(t, 1, Read(feeders, lost).Imbalance())
	twice := pump
	twice.Open++
	require.EqualValues(t, -1, Read(feeders, twice).Imbalance())
	silent := feeders
	silent.Rejected[metric.NoType] = 0
	require.EqualValues(t, 1, Read(silent, pump).Imbalance())
}
