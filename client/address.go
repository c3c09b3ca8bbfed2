package client

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
)

const defaultAddress = "udp://127.0.0.1:8125"

// fromEnvironment returns the address that the environment names, or the default.
func fromEnvironment() string {
	if a := os.Getenv("CAIRN_ADDR"); a != "" {
		return a
	}
	if a := os.Getenv("DD_DOGSTATSD_URL"); a != "" {
		return a
	}
	if host := os.Getenv("DD_AGENT_HOST"); host != "" {
		port := os.Getenv("DD_DOGSTATSD_PORT")
		if port == "" {
			port = "8125"
		}
		return "udp://" + net.JoinHostPort(host, port)
	}
	return defaultAddress
}

// dial returns the way to an address. It does not wait for anybody there.
func dial(address string, o *options) (transport, error) {
	if address == "" {
		address = fromEnvironment()
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("client: the address %q: %w", address, err)
	}
	switch u.Scheme {
	case "udp":
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), "8125")
		}
		if u.Hostname() == "" {
			return nil, fmt.Errorf("client: the address %q has no host", address)
		}
		size := farDatagram
		if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
			size = nearDatagram
		}
		return &datagrams{network: "udp", address: u.Host, size: size}, nil
	case "unixgram", "unix":
		path := u.Path
		if u.Host != "" || !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("client: the address %q has no absolute path: unixgram:///run/cairn.sock is one", address)
		}
		return &datagrams{network: "unixgram", address: path, size: nearDatagram}, nil
	case "http", "https":
		if u.Host == "" {
			return nil, fmt.Errorf("client: the address %q has no host", address)
		}
		return newHTTP(u), nil
	}
	return nil, fmt.Errorf("client: the address %q begins with none of udp://, unixgram://, http:// and https://", address)
}
