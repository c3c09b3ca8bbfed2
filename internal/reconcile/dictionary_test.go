package reconcile

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/internal/journal"
	"cairn/internal/metric"
)

func TestDictionary(t *testing.T) {
	c := newCells(maxBytes)
	d := dictionary{runs: map[uint64][]uint32{}, place: c.place}
	record := func(run, first uint64, names ...string) *journal.Record {
		r := &journal.Record{Head: binary.AppendUvarint(binary.LittleEndian.AppendUint64([]byte{1}, run), first)}
		for _, n := range names {
			r.Body = append(append(append(r.Body, byte(metric.Gauge), byte(len(n))), n...), 0)
		}
		return r
	}
	require.NoError(t, d.add(record(7, 0, "a", "b", "c")))
	require.NoError(t, d.add(record(7, 1, "b"))) // written again
	require.NoError(t, d.add(record(7, 5, "f"))) // what is between is damaged
	require.NoError(t, d.add(record(8, 0, "c")))
	of := func(run uint64, handle uint32) string {
		i, ok := d.metric(run, handle)
		if !ok {
			return ""
		}
		return c.ids[i].Name
	}
	for handle, want := range []string{"a", "b", "c", "", "", "f", ""} {
		require.Equal(t, want, of(7, uint32(handle)))
	}
	require.Equal(t, "c", of(8, 0))
	require.Equal(t, "", of(9, 0))
	for _, bad := range []*journal.Record{
		{}, {Head: []byte{2, 0, 0, 0, 0, 0, 0, 0, 0, 0}}, record(7, 1<<40), {Head: record(7, 0).Head, Body: []byte{2, 9, 'a'}},
		{Head: append(record(7, 0).Head, 0)}, {Head: record(7, 0).Head, Body: []byte{77, 1, 'a', 0}},
	} {
		require.Error(t, d.add(bad))
	}
}
