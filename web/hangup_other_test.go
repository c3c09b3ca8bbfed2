//go:build !linux

package web

const looksForHangups = false
