package e2e

import "syscall"

// child lets the kernel end a server whose test process died, by a timeout for
// example, before it could clean up.
func child() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
