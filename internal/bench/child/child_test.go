//go:build linux

package child

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestChildrenEnd(t *testing.T) {
	p, err := Start(t.Context(), ServerCore, time.Minute, "cat", "/proc/self/status")
	if errors.Is(err, unix.EINVAL) {
		t.Skip("there is one core only")
	}
	require.NoError(t, err)
	require.NoError(t, p.Wait())
	require.Regexp(t, `Cpus_allowed_list:\s+1\n`, string(p.Stdout()))
	require.NotZero(t, p.PID())

	ctx, cancel := context.WithCancel(t.Context())
	p, err = Start(ctx, ServerCore, time.Minute, "sleep", "60")
	require.NoError(t, err)
	cancel()
	var exit *exec.ExitError
	require.ErrorAs(t, p.Wait(), &exit)

	p, err = Start(t.Context(), ServerCore, time.Nanosecond, "sleep", "60")
	if err == nil { // else it never began
		require.Error(t, p.Wait())
	}
	_, err = Start(t.Context(), ServerCore, time.Minute, filepath.Join(t.TempDir(), "nothing"))
	require.Error(t, err)
}

func TestParseFigures(t *testing.T) {
	f, err := parseFigures("# HELP x\na 1\nb{c=\"d e\"} 2.5\n\n")
	require.NoError(t, err)
	require.Equal(t, Figures{"a": 1, `b{c="d e"}`: 2.5}, f)
	for _, bad := range []string{"a", "a b"} {
		_, err := parseFigures(bad)
		require.Error(t, err, bad)
	}
}

func TestUntilTellsTheLastError(t *testing.T) {
	n := 0
	require.NoError(t, until(t.Context(), func(context.Context) error {
		if n++; n < 3 {
			return errors.New("not yet")
		}
		return nil
	}))
	require.Equal(t, 3, n)
	ctx, cancel := context.WithCancel(t.Context())
	err := until(ctx, func(context.Context) error { cancel(); return errors.New("never") })
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "never")
}

func TestClientTellsStatus(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/good" {
			http.Error(w, "no such thing", http.StatusNotFound)
			return
		}
		_, _ = io.Copy(w, r.Body)
	}))
	defer s.Close()
	c := newClient(s.Listener.Addr().(*net.TCPAddr).Port, time.Minute)
	defer c.http.CloseIdleConnections()
	body, err := c.Post(t.Context(), "/good", strings.NewReader("x"))
	require.NoError(t, err)
	require.Equal(t, "x", string(body))
	require.NoError(t, c.Fetch(t.Context(), "/good"))
	require.Error(t, c.Fetch(t.Context(), "/bad"))
	_, err = c.Get(t.Context(), "/bad")
	var status *StatusError
	require.ErrorAs(t, err, &status)
	require.Equal(t, 404, status.Code)
	require.ErrorContains(t, err, "no such thing")
}
