//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc/PID/stat: USER_HZ is 100 on every Linux
// that Go runs on.
const tick = 10 * time.Millisecond

// cpuOf returns the CPU time of a process, user and system, of all threads.
func cpuOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read the server's CPU time: %w", err)
	}
	return parseStat(b)
}

// parseStat adds fields 14 and 15 of /proc/PID/stat (proc_pid_stat(5)). The
// second field is in parentheses and may hold blanks and parentheses itself.
func parseStat(b []byte) (time.Duration, error) {
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/PID/stat has %d fields after the name", len(f))
	}
	user, err1 := strconv.ParseUint(f[11], 10, 64)
	system, err2 := strconv.ParseUint(f[12], 10, 64)
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// waitedOf returns how long the threads of a process were ready to run and had no
// core: others had it, or another thread of the process. It is the second field
// of /proc/PID/task/TID/schedstat, in nanoseconds; a thread that ended meanwhile
// is left out.
func waitedOf(pid int) (total time.Duration, err error) {
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		f := strings.Fields(string(b))
		if len(f) != 3 {
			return 0, fmt.Errorf("%s has %d fields, not 3", name, len(f))
		}
		ns, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		total += time.Duration(ns)
	}
	return total, nil
}

// resident returns VmRSS and VmHWM of a process, in bytes.
func resident(pid int) (now, peak uint64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("read the server's memory: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		n, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read the server's memory: %w", err)
		}
		switch f[0] {
		case "VmRSS:":
			now = n << 10
		case "VmHWM:":
			peak = n << 10
		}
	}
	if now == 0 || peak == 0 {
		return 0, 0, errors.New("/proc/PID/status has no VmRSS or no VmHWM")
	}
	return now, peak, nil
}

// socket is a line of /proc/net/udp: bytes queued, and datagrams dropped.
type socket struct{ queued, drops uint64 }

func socketOn(port int) (socket, error) {
	b, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		return socket{}, fmt.Errorf("read the kernel's drops: %w", err)
	}
	return parseUDP(string(b), port)
}

// parseUDP finds the one socket on 127.0.0.1:port: the second field is the local
// address in hexadecimal, the fifth tx_queue:rx_queue, the last drops.
func parseUDP(text string, port int) (s socket, err error) {
	local, found := fmt.Sprintf("0100007F:%04X", port), 0
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 13 || f[1] != local {
			continue
		}
		found++
		_, rx, _ := strings.Cut(f[4], ":")
		var err1, err2 error
		s.queued, err1 = strconv.ParseUint(rx, 16, 64)
		s.drops, err2 = strconv.ParseUint(f[len(f)-1], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return s, fmt.Errorf("/proc/net/udp: %w", err)
		}
	}
	if found != 1 {
		return s, fmt.Errorf("/proc/net/udp has %d sockets on 127.0.0.1:%d, not one", found, port)
	}
	return s, nil
}
