package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// many returns n tags.
func many(n int) string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf("key%d:value", i)
	}
	return strings.Join(tags, ",")
}

// longLine returns a line of n bytes that is right but for its length, if that
// is wrong.
func longLine(n int) string {
	line := "long:1|c|#" + strings.Repeat("k:"+strings.Repeat("v", 200)+",", n/203)
	return line + strings.Repeat(",", n-len(line))
}

// bad is examples of each reason to reject a line.
func bad(now int64) map[string][]string {
	return map[string][]string{
		"no_value":       {"novalue", "a:|c", "a:1::2|c", "  ", "a|c"},
		"no_type":        {"a:1", "a:1|", "a:1||#k:v"},
		"empty_name":     {":1|c", ":"},
		"bad_name":       {"a\x00b:1|c", "a\x1b31m:1|c"},
		"bad_utf8":       {"a\xff:1|c", "a:1|c|#k:\xc3\x28"},
		"bad_value":      {"a:x|c", "a:NaN|c", "a:Inf|c", "a:0x10|c", "a:1e999|c", "a:1_000|c", "a: 1|c", "a:--1|c", "a:1:2:x|c"},
		"bad_type":       {"a:1|zz", "a:1|C"},
		"bad_annotation": {"_e{5,4}:title", "_e{0,1}:|x", "_sc|name|4", "_sc||0", "_e{1,1}:a|b|p:high"},
		"mixed_tags":     {"a,k=v:1|c|#k:v", "a:1|c:2|ms|#k:v"},
		"bad_rate":       {"a:1|c|@2", "a:1|c|@0", "a:1|c|@-1", "a:1|c|@x", "a:1|c|@0.5|@0.5", "a:1|c|@"},
		"bad_timestamp":  {"a:1|c|T0", "a:1|c|Tx", "a:1|c|T-5", "a:1|c|T1.5", "a:1|c|T99999999999999999999", "a:1|c|T"},
		"future":         {fmt.Sprintf("a:1|c|T%d", now+3600), fmt.Sprintf("a:1|c|T%d000", now)},
		"too_old":        {"a:1|c|T1", fmt.Sprintf("a:1|c|T%d", now-401*24*3600)},
		"bad_tag":        {"a:1|c|#:v", "a:1|c|#k:\x07", "a\x1b[31m:1|c", "a,k:1|c", "a;=v:1|c", "a#,k=v:1|c"},
		"too_many_tags":  {"a:1|c|#" + many(65)},
		"tag_too_long":   {"a:1|c|#k:" + strings.Repeat("v", 254)},
		"name_too_long":  {strings.Repeat("n", 256) + ":1|c"},
		"line_too_long":  {longLine(4097), longLine(20000)},
	}
}

func TestEachReasonByExample(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	want := map[string]float64{}
	good, sent := 0, 0
	for reason, lines := range bad(time.Now().Unix()) {
		for _, line := range lines {
			s.Send("good:1|c", line, "good:1|c|#k:v")
			want[reason]++
			good += 2
			sent += 3
			f := s.AwaitReceived(sent)
			require.Equal(t, want[reason], f.rejected()[reason], "%q is not rejected as %s but: %v", line, reason, f.rejected())
		}
	}
	f := s.Figures()
	got := f.rejected()
	for _, unseen := range []string{
		"too_many_metrics", // TestTooManyMetrics
		"truncated",        // cannot come over IPv4
		"bad_json",         // only batches are JSON: TestBatchesByHand
		"bad_field",        // the same
	} {
		require.Contains(t, got, unseen)
		delete(got, unseen)
	}
	require.Contains(t, f, `cairn_events_shed_total{reason="memory"}`)
	require.Equal(t, want, got, "a reason without an example, or a wrong count")
	require.Equal(t, float64(good), f[accepted])
	s.RequireTotal(float64(good), "good")
	require.Equal(t, []string{"good"}, slices.Collect(maps.Keys(s.Metrics())))
	s.MustStop()
}

func TestLimitsAreInclusive(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	name := strings.Repeat("n", 255)
	now := time.Now().Unix()
	lines := []string{
		name + ":1|c",
		"tags:1|c|#" + many(64),
		"tag:1|c|#k:" + strings.Repeat("v", 253),
		longLine(4096),
		fmt.Sprintf("old:1|c|T%d", now-7000),
		fmt.Sprintf("ahead:1|c|T%d", now+8),
		"zero:0|c", "signed:+1|c", "exponent:1e3|c", "empty_fields:1|c|||#|", "unknown_fields:1|c|c:abc|e:xyz|card:low",
		"space in name:1|c", "ünïcödé:1|c|#schlüssel:wért",
	}
	for _, l := range lines {
		s.Send(l)
	}
	f := s.AwaitReceived(len(lines))
	require.Equal(t, float64(len(lines)), f[accepted], f.rejected())
	for _, metric := range []string{name, "tags", "tag", "long", "old", "ahead", "signed", "empty_fields", "unknown_fields", "space_in_name", "ünïcödé"} {
		s.RequireTotal(1, metric)
	}
	s.RequireTotal(0, "zero")
	s.RequireTotal(1000, "exponent")
	require.Len(t, s.Metrics(), len(lines))
}

func TestTooManyMetrics(t *testing.T) {
	t.Parallel()
	const limit, surplus, perPacket = 100_000, 50, 2500
	s := startServer(t)
	var lines []string
	for i := range limit + surplus {
		lines = append(lines, fmt.Sprintf("m%d:1|c", i))
	}
	n := 0
	for part := range slices.Chunk(lines, perPacket) {
		s.Send(part...)
		n += len(part)
		s.AwaitReceived(n)
	}
	f := s.Figures()
	require.Equal(t, float64(surplus), f.rejected()["too_many_metrics"])
	require.Equal(t, float64(limit), f[accepted])
	s.Send("m0:1|c") // known ones go on
	s.AwaitReceived(n + 1)
	s.RequireTotal(2, "m0")
	require.Len(t, s.Metrics(), limit)
	s.MustStop()
}

// mutate spoils a line in one of the ways in which lines are spoilt.
func mutate(r *rand.Rand, line []byte) []byte {
	b := bytes.Clone(line)
	for range 1 + r.IntN(4) {
		i := r.IntN(len(b))
		switch r.IntN(5) {
		case 0:
			b[i] = byte(r.Uint32())
		case 1:
			b = b[:i+1]
		case 2:
			b = append(b[:i:i], b[i:]...)
			b = slices.Insert(b, i, ":|@#,T\x00\r\xff"[r.IntN(9)])
		case 3:
			b = slices.Insert(b, i, b[r.IntN(i+1):i]...)
		case 4:
			b = slices.Insert(b, i, bytes.Repeat([]byte{b[i]}, r.IntN(300))...)
		}
	}
	return bytes.ReplaceAll(b, []byte("\n"), []byte(" "))
}

func TestRandomDatagrams(t *testing.T) {
	t.Parallel()
	r := random(t)
	s := startServer(t)
	const datagrams, window = 2000, 50 // those under way fit into any receive buffer
	good := 0
	for i := range datagrams {
		var b bytes.Buffer
		for range r.IntN(20) {
			switch r.IntN(3) {
			case 0: // of any bytes, line ends too
				junk := make([]byte, r.IntN(300))
				for j := range junk {
					junk[j] = byte(r.Uint32())
				}
				b.Write(junk)
			case 1:
				b.Write(mutate(r, []byte("requests:1:2|c|@0.5|#env:prod,host:a|T1700000000")))
			case 2:
				b.WriteString("\ngood:1|c|#k:v")
				good++
			}
			b.WriteByte('\n')
		}
		_, err := s.sender.Write(b.Bytes())
		require.NoError(t, err)
		if i%window == window-1 {
			s.AwaitPackets(i + 1)
		}
	}
	f := s.Figures()
	t.Logf("%v events: %v accepted, rejected: %v", f[received], f[accepted], f.rejected())
	requireBalance(t, f)
	s.RequireTotal(float64(good), "good")
	s.AwaitFlushed(func() { require.Equal(t, float64(good), s.Total("good", "1s")) })
	s.MustStop()
	s = startServer(t, "--data-dir", s.Dir)
	s.RequireTotal(float64(good), "good")
}

func TestTheLargestDatagram(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("other kernels send smaller ones by default")
	}
	const size = 65507
	s := startServer(t)
	line := "big:1|c|#k:v\n"
	full := size / len(line)
	last := "pad:1|c|#" // fills the rest, and has no line end
	for size-full*len(line) < len(last) {
		full--
	}
	payload := strings.Repeat(line, full) + last
	payload += strings.Repeat(",", size-len(payload))
	require.Len(t, payload, size)
	for range 10 {
		_, err := s.sender.Write([]byte(payload))
		require.NoError(t, err)
	}
	f := s.AwaitReceived(10 * (full + 1))
	require.Equal(t, float64(10*(full+1)), f[accepted], f.rejected())
	s.RequireTotal(float64(10*full), "big")
	s.RequireTotal(10, "pad")

	_, err := s.sender.Write(make([]byte, size)) // of zeros
	require.NoError(t, err)
	_, err = s.sender.Write(nil)
	require.NoError(t, err)
	s.AwaitPackets(12)
	require.Equal(t, 1.0, s.Figures().rejected()["line_too_long"])
}
