package tsdb

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// BenchmarkOpen1M opens a store of a million series of three tags: two have few
// values, the third 100,000 or one a series. It reports the time, the heap that the
// open store keeps, and what a process that does nothing else takes in all.
func BenchmarkOpen1M(b *testing.B) {
	for _, hosts := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("values=%d", hosts), func(b *testing.B) {
			dir := b.TempDir()
			s := buildMillion(b, dir, hosts)
			require.NoError(b, s.Close())
			s = nil
			before := heap()
			var after uint64
			for b.Loop() {
				s, err := Open(dir, Options{})
				require.NoError(b, err)
				b.StopTimer()
				after = heap()
				require.NoError(b, s.Close())
				b.StartTimer()
			}
			b.ReportMetric(float64(after-before)/1e6, "heap-B/series")
			b.ReportMetric(float64(processOf(b, dir))/(1<<20), "process-MiB")
		})
	}
}

const million = 1_000_000

func millionID(i int) metric.ID {
	return metric.ID{Name: fmt.Sprintf("m%02d", i%10), Kind: metric.Counter}
}

func buildMillion(b *testing.B, dir string, hosts int) *Store {
	s, err := Open(dir, Options{})
	require.NoError(b, err)
	for at := 0; at < million; at += million / 4 {
		batch := s.NewBatch()
		for i := at; i < at+million/4; i++ {
			host := i % hosts
			r, err := batch.Ref(metric.Series{ID: millionID(i / (hosts / 10)), Tags: metric.NewTagset([]metric.Tag{
				{Key: "env", Value: strconv.Itoa(i / 7 % 5)}, {Key: "region", Value: "eu-" + strconv.Itoa(i/11%20)}, {Key: "host", Value: fmt.Sprintf("web-%07d", host)},
			})})
			require.NoError(b, err)
			require.NoError(b, batch.Add(r, []metric.Sum{{Sec: 1_700_000_000, Events: 1, Value: 1}}))
		}
		require.NoError(b, batch.Commit())
		batch.Publish()
	}
	return s
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

const openEnv = "CAIRN_TEST_OPEN"

// processOf returns the resident memory of a process that has opened the store.
func processOf(b *testing.B, dir string) int {
	cmd := exec.Command(os.Args[0], "-test.run=^TestResident$", "-test.v")
	cmd.Env = append(os.Environ(), openEnv+"="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(b, err, string(out))
	_, rest, ok := bytes.Cut(out, []byte("VmRSS:"))
	if !ok {
		return 0 // not Linux
	}
	n, err := strconv.Atoi(string(bytes.Fields(rest)[0]))
	require.NoError(b, err)
	return n << 10
}

// TestResident is the process of processOf.
func TestResident(t *testing.T) {
	dir := os.Getenv(openEnv)
	if dir == "" {
		t.Skip("BenchmarkOpen1M starts this")
	}
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	fmt.Println(string(status))
	require.NoError(t, s.Close())
}
