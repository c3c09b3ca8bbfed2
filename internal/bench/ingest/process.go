//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cairn/internal/clock"
)

const (
	generatorCore = 0
	serverCore    = 1
)

// process is a child on one core. It does not outlive this program.
type process struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr bytes.Buffer
	cancel context.CancelFunc
	done   bool
}

// start starts a child on core and kills it after limit. A Go child sees one
// processor: the set is there before it begins.
func start(ctx context.Context, core int, limit time.Duration, name string, args ...string) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	p := &process{cmd: exec.CommandContext(ctx, name, args...), cancel: cancel}
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

func (p *process) pid() int { return p.cmd.Process.Pid }

// wait waits for the child to end by itself.
func (p *process) wait() error {
	err := p.cmd.Wait()
	p.done = true
	p.cancel()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", p.cmd.Path, err, p.stderr.Bytes())
	}
	return nil
}

// terminate asks the child to end and waits for it.
func (p *process) terminate() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("end %s: %w", p.cmd.Path, err)
	}
	return p.wait()
}

// kill ends the child if it still runs.
func (p *process) kill() {
	if p.done {
		return
	}
	p.cancel()
	_ = p.cmd.Wait() // it was killed, and says so
	p.done = true
}

// cpu returns the CPU time of a child that has ended.
func (p *process) cpu() time.Duration {
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// spinCommand as the only argument turns this program into the spinner.
const spinCommand = "spin"

// startSpinner keeps the server's core awake: a virtual core that wakes from a
// halt stalls for milliseconds, in which the kernel drops datagrams of a server
// that is far from busy. It is for paced traffic only: where two virtual cores
// share a real one, it slows the generator, and doubles what the sink takes.
func startSpinner(ctx context.Context) (*process, error) {
	return start(ctx, serverCore, longest, "/proc/self/exe", spinCommand)
}

// spin uses the time that nobody else wants, until its parent kills it. It is a
// process and no goroutine: a thread that starves would stall the collector.
func spin() {
	runtime.LockOSThread()
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return // better no spinner than one that takes the server's time
	}
	c := clock.NewSystem()
	for end := c.Now().Add(longest); c.Now().Before(end); {
		for range 1 << 20 {
		}
	}
}

const receiveLimit = "/proc/sys/net/core/rmem_max"

// raiseReceiveLimit lets the sink have the receive buffer that it asks for. Only
// root can; others measure with what there is.
func raiseReceiveLimit() (restore func() error, err error) {
	restore = func() error { return nil }
	if os.Geteuid() != 0 {
		return restore, nil
	}
	before, err := os.ReadFile(receiveLimit)
	if err != nil {
		return restore, fmt.Errorf("read the limit on receive buffers: %w", err)
	}
	if err := os.WriteFile(receiveLimit, []byte("67108864"), 0); err != nil {
		return restore, nil // a container may not
	}
	return func() error {
		if err := os.WriteFile(receiveLimit, before, 0); err != nil {
			return fmt.Errorf("restore the limit on receive buffers: %w", err)
		}
		return nil
	}, nil
}
