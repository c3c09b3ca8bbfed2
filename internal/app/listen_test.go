package app

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/config"
	"cairn/internal/metric"
)

// TestAllListeners sends to each sort of listener: the ledger, /metrics and the
// report on rejected lines add all of them up.
func TestAllListeners(t *testing.T) {
	c := settings()
	path := filepath.Join(t.TempDir(), "s")
	c.UDP = append(c.UDP, config.Listen{Dialect: "brubeck", Address: "127.0.0.1:0"})
	c.UDS = []config.Listen{{Dialect: "dogstatsd", Address: path}}
	c.TCP = []config.Listen{{Dialect: "etsy", Address: "127.0.0.1:0"}}
	a, err := Open(c, env(vfs.NewMem(), new(lockedBuffer)))
	require.NoError(t, err)
	a.Start()
	listeners := a.Listeners()
	require.Len(t, listeners, 4)
	for i, l := range listeners {
		network := map[string]string{"UDP": "udp", "UDS": "unixgram", "TCP": "tcp"}[l.Kind]
		conn, err := net.Dial(network, l.Addr)
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "good%d:1|c\nbad%d:x|c\nmeter:1|C", i, i)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
	status := a.status()
	require.Len(t, status.UDP, 2)
	require.Equal(t, []string{path}, status.UDS)
	require.Len(t, status.TCP, 1)
	require.NoError(t, a.Close())

	l := a.Ledger()
	require.Zero(t, a.Balance().Imbalance)
	require.EqualValues(t, 12, l.Received)
	require.EqualValues(t, 5, l.Accepted, "C counts where the dialect is brubeck's")
	r := a.Rejects()
	require.EqualValues(t, 7, r.Total)
	require.Len(t, r.Metrics, 5)
	senders := map[string]uint64{}
	for _, s := range r.Senders {
		senders[s.Name] = s.Count
	}
	require.Equal(t, map[string]uint64{"127.0.0.1": 5, "unix": 2}, senders)
	text := string(a.selfmon().Append(nil))
	for _, line := range []string{
		"cairn_udp_packets_total 2\n", "cairn_uds_packets_total 1\n", "cairn_tcp_connections_total 1\n", "cairn_tcp_connections 0\n",
		fmt.Sprintf("cairn_udp_kernel_drops_total{socket=%q} 0\n", listeners[1].Addr+"/1"),
	} {
		require.Contains(t, text, line)
	}
}

func TestAgeLimitIsTheLongestRetention(t *testing.T) {
	c := settings()
	c.Retention = metric.Policy{
		Default:   metric.Retention{3600, 7200},
		Overrides: []metric.Override{{Prefix: "a", Retention: metric.Retention{1: 9000}}, {Prefix: "b", Retention: metric.Retention{60}}},
	}
	for _, dialect := range []string{"dogstatsd", "etsy", "brubeck"} {
		require.EqualValues(t, 9000, parserOf(dialect, c).MaxAge)
	}
}
