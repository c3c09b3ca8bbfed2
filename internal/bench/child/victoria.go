//go:build linux

package child

import (
	"context"
	"fmt"
	"time"
)

// Victoria is a running VictoriaMetrics, the binary of Debian's package.
type Victoria struct {
	*Process
	client
}

// importTime bounds one request; an import is the longest.
const importTime = 10 * time.Minute

// StartVictoria starts it with its data in dir and more flags, and waits until it
// answers. It is killed after limit. Results are not cached.
func StartVictoria(ctx context.Context, limit time.Duration, binary, dir string, flags ...string) (*Victoria, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	args := append([]string{"-storageDataPath", dir, "-httpListenAddr", fmt.Sprintf("127.0.0.1:%d", port), "-loggerLevel", "ERROR", "-search.disableCache"}, flags...)
	p, err := Start(ctx, AnyCore, limit, binary, args...)
	if err != nil {
		return nil, err
	}
	v := &Victoria{Process: p, client: newClient(port, importTime)}
	if err := until(ctx, func(ctx context.Context) error { _, err := v.Get(ctx, "/health"); return err }); err != nil {
		v.http.CloseIdleConnections()
		return nil, p.failed("wait for VictoriaMetrics", err)
	}
	return v, nil
}

// Settle makes what was imported searchable and merges it. The merge goes on in the
// background for a while.
func (v *Victoria) Settle(ctx context.Context) error {
	for _, path := range []string{"/internal/force_flush", "/internal/force_merge"} {
		if _, err := v.Get(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

// Close kills it, if it still runs.
func (v *Victoria) Close() {
	v.Kill()
	v.http.CloseIdleConnections()
}
