package tsdb

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/matcher"
	"cairn/internal/metric"
)

// endsAfter is a context that ends once it was asked so often.
type endsAfter struct {
	context.Context
	left int
}

var errEnded = errors.New("it ended")

func (c *endsAfter) Err() error {
	if c.left--; c.left < 0 {
		return errEnded
	}
	return nil
}

// TestSlowExpressionsAreDecidedApart: an expression of the slowest kind is tried on no more than a
// few values while the index is locked, and on the rest in between; an end of the context is seen
// before each value.
func TestSlowExpressionsAreDecidedApart(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer func() { require.NoError(t, s.Close()) }()
	const n = 150
	add := func(from, to int) {
		b := s.NewBatch()
		for i := from; i < to; i++ {
			_, err := b.Ref(seriesOf("m", metric.Tag{Key: "k", Value: fmt.Sprintf("%0200d", i)}))
			require.NoError(t, err)
		}
		require.NoError(t, b.Commit())
		b.Publish()
	}
	add(0, n)
	id := seriesOf("m").ID
	f, err := matcher.New("k", matcher.Regexp, "(?:.?){990}[0-4]")
	require.NoError(t, err)
	match := matcher.List{f}
	require.Less(t, nowSteps/f.Steps()/200, 6, "milliseconds each")

	_, err = s.SelectNow(context.Background(), id, match)
	var u *Undecided
	require.ErrorAs(t, err, &u)
	require.Greater(t, len(u.pairs), n-6)
	require.ErrorContains(t, err, `the regular expression for the tag "k" has yet to be tried on`)

	left := len(u.pairs)
	require.ErrorIs(t, u.Decide(&endsAfter{context.Background(), 3}), errEnded)
	_, err = s.SelectNow(context.Background(), id, match)
	require.ErrorAs(t, err, &u)
	require.InDelta(t, left-3, len(u.pairs), 6)

	require.NoError(t, u.Decide(context.Background()))
	got, err := s.SelectNow(context.Background(), id, match)
	require.NoError(t, err)
	require.Len(t, got, n/2)

	_, err = s.SelectNow(&endsAfter{context.Background(), 0}, id, match)
	require.ErrorIs(t, err, errEnded)
	_, err = s.SelectContext(&endsAfter{context.Background(), n / 2}, id, matcher.List{remade(t, f)})
	require.ErrorIs(t, err, errEnded)

	// What is removed takes its verdicts with it: its number is that of another value.
	b := s.NewBatch()
	b.removeSeries([]Ref{got[0].Ref}) // matches
	require.NoError(t, b.Commit())
	b.Publish()
	add(n+5, n+6) // does not
	require.NoError(t, u.Decide(context.Background()), "of an earlier era")
	got, err = s.SelectContext(context.Background(), id, match)
	require.NoError(t, err)
	require.Len(t, got, n/2-1)
}

func remade(t *testing.T, f *matcher.Matcher) *matcher.Matcher {
	t.Helper()
	out, err := matcher.New(f.Key, matcher.Regexp, "(?:.?){990}[0-4]")
	require.NoError(t, err)
	return out
}
