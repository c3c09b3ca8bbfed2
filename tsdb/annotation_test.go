package tsdb

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

func note(i int) metric.Annotation {
	return metric.Annotation{
		Time: metric.UnixSec(1000 + i), Check: i%2 == 0, Title: fmt.Sprintf("title %d", i), Text: "a\nb", Status: "warning", Priority: "low",
		Host: "h", Key: "k", Source: "s", Tags: metric.NewTagset([]metric.Tag{{Key: "env", Value: "prod"}}),
	}
}

func TestAnnotationsAreKept(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	var want []metric.Annotation
	n := 0
	for _, size := range []int{0, 3, 1, 9_000, 2_000} {
		var list []metric.Annotation
		for range size {
			list = append(list, note(n))
			n++
		}
		b := s.NewBatch()
		b.AddAnnotations(list)
		require.NoError(t, b.Commit())
		b.Publish()
		want = append(want, list...)
		if size == 1 {
			require.NoError(t, s.Close())
			s = open(t, fs)
		}
	}
	want = want[len(want)-keepAnnotations:]
	got, err := s.Annotations()
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NoError(t, s.Close())
}

// TestGoldenAnnotation holds the bytes that docs/format.md draws.
func TestGoldenAnnotation(t *testing.T) {
	require.Equal(t, []byte{0x13, 0, 0, 0, 0, 0, 0, 1, 2}, annotationKey(258))
	a := metric.Annotation{Time: 1000, Check: true, Title: "disk", Status: "ok", Tags: metric.NewTagset([]metric.Tag{{Key: "env", Value: "prod"}})}
	require.Equal(t, []byte("\x01\x01\xe8\x07\x04disk\x00\x02ok\x00\x00\x00\x00\x09\x03env\x04prod"), appendAnnotation(nil, &a))
}

func FuzzAnnotation(f *testing.F) {
	a := note(1)
	f.Add(appendAnnotation(nil, &a))
	f.Add([]byte{formatAnnotation, 0, 1, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decodeAnnotation(b)
		if err != nil {
			return
		}
		again, err := decodeAnnotation(appendAnnotation(nil, &a))
		require.NoError(t, err)
		require.Equal(t, a, again)
	})
}
