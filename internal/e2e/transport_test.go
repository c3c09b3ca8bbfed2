package e2e

import (
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// socketPath returns a path short enough for a Unix socket, which that of
// t.TempDir need not be.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cairn-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// Listener returns the address of the first listener of a sort (UDP, UDS, TCP)
// and dialect, as the server says it.
func (s *server) Listener(sort, dialect string) string {
	s.t.Helper()
	end := ""
	if dialect != "dogstatsd" {
		end = "  dialect " + dialect
	}
	m := regexp.MustCompile(`(?m)StatsD \(` + sort + `\) +(\S+)` + end + `$`).FindStringSubmatch(s.stdout.String())
	require.NotNil(s.t, m, "no listener for %s over %s:\n%s", dialect, sort, s.Output())
	return m[1]
}

// DialTo connects to a listener.
func (s *server) DialTo(sort, dialect string) net.Conn {
	s.t.Helper()
	network := map[string]string{"UDP": "udp", "UDS": "unixgram", "TCP": "tcp"}[sort]
	c, err := net.Dial(network, s.Listener(sort, dialect))
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// transmit sends each payload, which is some lines: as a datagram each, or one
// after the other in a stream that is cut anywhere.
func transmit(t testing.TB, c net.Conn, r *rand.Rand, payloads []string) {
	t.Helper()
	if c.RemoteAddr().Network() != "tcp" {
		for _, p := range payloads {
			_, err := c.Write([]byte(p))
			require.NoError(t, err)
		}
		return
	}
	stream := strings.Join(payloads, "\n") + "\n"
	for len(stream) > 0 {
		n := 1 + r.IntN(min(len(stream), 700))
		_, err := c.Write([]byte(stream[:n]))
		require.NoError(t, err)
		stream = stream[n:]
	}
}
