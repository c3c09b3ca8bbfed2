package web

import (
	"context"
	"net"
	"reflect"
	"sync"
	"syscall"
	"time"
)

// Hang-ups are looked for in queries that take long enough for it to matter: each look is
// a system call.
const (
	firstLook = 50 * time.Millisecond
	nextLook  = 100 * time.Millisecond
)

// watchHangup returns a context that ends when conn's client has hung up, of which
// fasthttp learns only when it writes the answer. A client that closes just its sending
// side has hung up too, as for net/http. What it has sent stays unread. stop ends the
// watch, and waits until it has ended.
func watchHangup(parent context.Context, conn net.Conn) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	var wait sync.WaitGroup
	wait.Add(1)
	first := time.AfterFunc(firstLook, func() {
		defer wait.Done()
		raw := rawConn(conn)
		if raw == nil {
			return
		}
		next := time.NewTicker(nextLook)
		defer next.Stop()
		for !hungUp(raw) {
			select {
			case <-next.C:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	})
	return ctx, func() {
		if first.Stop() {
			wait.Done()
		}
		cancel()
		wait.Wait()
	}
}

// rawConn returns the socket of a connection, or nil if it has none.
func rawConn(c net.Conn) syscall.RawConn {
	if s, ok := unwrapped(c).(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// unwrapped returns the connection that fasthttp has accepted. It wraps it in types of its
// own, to count connections by address, for one: they have it in a field, and no method
// for it.
func unwrapped(c net.Conn) net.Conn {
	if v := reflect.ValueOf(c); v.Kind() == reflect.Pointer && v.Elem().Kind() == reflect.Struct {
		if f := v.Elem().FieldByName("Conn"); f.IsValid() && f.CanInterface() {
			if inner, ok := f.Interface().(net.Conn); ok {
				return unwrapped(inner)
			}
		}
	}
	return c
}
