//go:build linux

package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The cores that Start pins children to, so that the generator and the server have
// one each. AnyCore leaves a child where the kernel likes.
const (
	GeneratorCore = 0
	ServerCore    = 1
	AnyCore       = -1
)

// Process is a child. It does not outlive this program.
type Process struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr bytes.Buffer
	cancel context.CancelFunc
	done   bool
}

// Start starts a child on core and kills it after limit. A Go child that is pinned
// sees one processor: the set is there before it begins.
func Start(ctx context.Context, core int, limit time.Duration, name string, args ...string) (*Process, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	p := &Process{cmd: exec.CommandContext(ctx, name, args...), cancel: cancel}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := onCore(core, p.cmd.Start); err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// onCore runs f on one core; a child that f starts inherits it.
func onCore(core int, f func() error) error {
	if core == AnyCore {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("read the set of cores: %w", err)
	}
	set.Set(core)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("use core %d only: %w", core, err)
	}
	err := f()
	return errors.Join(err, unix.SchedSetaffinity(0, &before))
}

// PID returns the child's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stdout returns what a child has written there, once it has ended.
func (p *Process) Stdout() []byte { return p.stdout.Bytes() }

// Wait waits for the child to end by itself.
func (p *Process) Wait() error {
	err := p.cmd.Wait()
	p.done = true
	p.cancel()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", p.cmd.Path, err, p.stderr.Bytes())
	}
	return nil
}

// Terminate asks the child to end and waits for it.
func (p *Process) Terminate() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("end %s: %w", p.cmd.Path, err)
	}
	return p.Wait()
}

// Kill ends the child if it still runs. Afterwards all that it wrote is there.
func (p *Process) Kill() {
	if p.done {
		return
	}
	p.cancel()
	_ = p.cmd.Wait() // it was killed, and says so
	p.done = true
}

// CPU returns the CPU time, user and system, of a child that has ended.
func (p *Process) CPU() time.Duration {
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// failed kills the child, and adds to err what it wrote to its standard error.
func (p *Process) failed(what string, err error) error {
	p.Kill()
	return fmt.Errorf("%s: %w\n%s", what, err, p.stderr.Bytes())
}
