//go:build linux

package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// Flush makes what was imported searchable.
func (v *Victoria) Flush(ctx context.Context) error {
	_, err := v.Get(ctx, "/internal/force_flush")
	return err
}

// Merge begins to merge what was flushed, which goes on in the background.
func (v *Victoria) Merge(ctx context.Context) error {
	_, err := v.Get(ctx, "/internal/force_merge")
	return err
}

// Merged waits until no merge goes on.
func (v *Victoria) Merged(ctx context.Context) error {
	return until(ctx, func(ctx context.Context) error {
		text, err := v.Get(ctx, "/metrics")
		if err != nil {
			return err
		}
		f, err := parseFigures(string(text))
		if err != nil {
			return err
		}
		for name, n := range f {
			if strings.HasPrefix(name, "vm_active_") && strings.Contains(name, "merges") && n > 0 {
				return fmt.Errorf("%s is %g", name, n)
			}
		}
		return nil
	})
}

// VictoriaOf returns the path of the binary that name stands for: "get" is that of
// Debian's package, from the path or else unpacked in dir; anything else is a path itself.
func VictoriaOf(ctx context.Context, name, dir string) (string, error) {
	const binary = "victoria-metrics"
	if name != "get" {
		return name, nil
	}
	if path, err := exec.LookPath(binary); err == nil {
		return path, nil
	}
	path := filepath.Join(dir, "usr", "bin", binary)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := Compile(ctx, dir, "apt-get", "download", "-q", binary); err != nil {
		return "", fmt.Errorf("download Debian's package of VictoriaMetrics: %w", err)
	}
	found, err := filepath.Glob(filepath.Join(dir, binary+"_*.deb"))
	if err != nil || len(found) != 1 {
		return "", errors.Join(fmt.Errorf("there are %d packages of VictoriaMetrics in %s, not one", len(found), dir), err)
	}
	return path, Compile(ctx, dir, "dpkg", "-x", filepath.Base(found[0]), ".")
}

// Close kills it, if it still runs.
func (v *Victoria) Close() {
	v.Kill()
	v.http.CloseIdleConnections()
}
