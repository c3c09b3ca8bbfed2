package flush

import (
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// TestWhatIsTheSame: before the first second that any later change has touched, as long as it
// is known.
func TestWhatIsTheSame(t *testing.T) {
	a, b := metric.ID{Name: "a"}, metric.ID{Name: "b"}
	require.Equal(t, metric.Never, sameBefore(nil, a, 0), "nothing was flushed yet")
	p := &Pump{}
	p.changed(change{first: map[metric.ID]metric.UnixSec{a: 100}, all: metric.Never})
	p.changed(change{first: map[metric.ID]metric.UnixSec{a: 70, b: 300}, all: metric.Never})
	p.changed(change{all: 200})
	require.EqualValues(t, 70, sameBefore(p.changes, a, 0))
	require.EqualValues(t, 70, sameBefore(p.changes, a, 1))
	require.EqualValues(t, 200, sameBefore(p.changes, a, 2))
	require.EqualValues(t, 200, sameBefore(p.changes, b, 0))
	require.Equal(t, metric.Never, sameBefore(p.changes, a, 3))
	before := p.changes
	for range maxChanges {
		p.changed(change{all: metric.Never})
	}
	require.Len(t, p.changes, maxChanges)
	require.Zero(t, sameBefore(p.changes, a, 2), "too long ago")
	require.Equal(t, metric.Never, sameBefore(p.changes, a, 3))
	require.EqualValues(t, 70, sameBefore(before, a, 0), "a view keeps what it has")
}
