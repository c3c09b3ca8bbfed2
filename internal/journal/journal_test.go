package journal

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/golang/snappy"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"cairn/internal/clock"
	"cairn/internal/metric"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(fs vfs.FS) Options {
	return Options{FS: fs, Clock: clock.NewManual(time.Unix(1000, 0)), Sync: true, Retention: time.Hour, RetainBytes: 1 << 40}
}

func open(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open("data/journal", o)
	require.NoError(t, err)
	return l
}

// numbered is a record that says which one it is.
func numbered(i int, events uint64) *Record {
	return &Record{Kind: 1, Head: fmt.Appendf(nil, "%d", i), Body: bytes.Repeat([]byte{byte(i), byte(i >> 8), 7}, 20), Events: events, Last: metric.UnixSec(i)}
}

func add(t testing.TB, l *Log, r *Record) Pos {
	t.Helper()
	ticket := l.Append(r)
	require.NoError(t, ticket.Wait())
	return ticket.Pos()
}

// heads replays a log and returns what is in it.
func heads(t testing.TB, l *Log, from Pos) ([]string, Recovery) {
	t.Helper()
	var got []string
	last := Pos(0)
	r, err := l.Replay(from, func(p Pos, r *Record) error {
		require.Greater(t, p, last)
		last = p
		got = append(got, string(r.Head))
		return nil
	})
	require.NoError(t, err)
	return got, r
}

// TestWhatIsAppendedIsRead appends records of any form over some restarts and
// compares.
func TestWhatIsAppendedIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type entry struct {
			pos Pos
			r   Record
		}
		o := options(vfs.NewMem())
		o.SegmentBytes = rapid.Int64Range(1, 4000).Draw(t, "segment")
		o.Sync = rapid.Bool().Draw(t, "sync")
		var want []entry
		var total uint64
		for range rapid.IntRange(1, 3).Draw(t, "runs") {
			l, err := Open("a/b/journal", o)
			require.NoError(t, err)
			for range rapid.IntRange(0, 20).Draw(t, "records") {
				r := Record{
					Kind: Kind(rapid.IntRange(1, 255).Draw(t, "kind")), Head: rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "head"),
					Body: rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "body"), Events: rapid.Uint64Range(0, 1000).Draw(t, "events"),
					Last: metric.UnixSec(rapid.Int64Range(0, 1<<40).Draw(t, "last")),
				}
				in := r
				if rapid.Bool().Draw(t, "packed") {
					in.Packed, in.Body = true, snappy.Encode(nil, r.Body)
				}
				ticket := l.Append(&in)
				want = append(want, entry{ticket.Pos(), r})
				total += r.Events
				require.Greater(t, l.End(), ticket.Pos())
				if rapid.Bool().Draw(t, "wait") {
					require.NoError(t, ticket.Wait())
				}
				if rapid.IntRange(0, 9).Draw(t, "roll") == 0 {
					l.Roll()
				}
			}
			require.NoError(t, l.Close())
		}
		from := Pos(0)
		if len(want) > 0 {
			at := rapid.IntRange(0, len(want)-1).Draw(t, "from")
			from, want = want[at].pos, want[at:]
		}
		var got []entry
		r, err := Read(o.FS, "a/b/journal", from, 0, func(p Pos, r *Record) error {
			r.Head, r.Body = bytes.Clone(r.Head), bytes.Clone(r.Body)
			got = append(got, entry{p, *r})
			return nil
		})
		require.NoError(t, err)
		require.Len(t, got, len(want))
		for i := range got {
			require.Equal(t, want[i].pos, got[i].pos)
			require.True(t, bytes.Equal(want[i].r.Body, got[i].r.Body) && bytes.Equal(want[i].r.Head, got[i].r.Head))
			require.Equal(t, [3]any{want[i].r.Kind, want[i].r.Events, want[i].r.Last}, [3]any{got[i].r.Kind, got[i].r.Events, got[i].r.Last})
		}
		require.Equal(t, total, r.Total)
		require.Empty(t, r.Damage)
		require.Zero(t, r.Torn)
	})
}
