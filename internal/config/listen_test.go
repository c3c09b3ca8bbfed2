package config

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

func TestListsOfAddresses(t *testing.T) {
	dog, etsy := "dogstatsd", "etsy"
	for _, c := range []struct {
		file string
		env  map[string]string
		args []string
		udp  []Listen
		uds  []Listen
	}{
		{udp: []Listen{{dog, "127.0.0.1:8125"}}},
		{args: []string{"--udp", ":1, etsy@[::1]:2", "--udp", "brubeck@localhost:3"}, udp: []Listen{{dog, ":1"}, {etsy, "[::1]:2"}, {"brubeck", "localhost:3"}}},
		{args: []string{"--udp", "", "--uds", "etsy@/run/a@b,/c"}, uds: []Listen{{etsy, "/run/a@b"}, {dog, "/c"}}},
		{args: []string{"--udp=", "--uds", "/run/a@b"}, uds: []Listen{{dog, "/run/a@b"}}},
		{env: map[string]string{"CAIRN_UDP": ":1,:2"}, args: []string{"--uds", "./s"}, udp: []Listen{{dog, ":1"}, {dog, ":2"}}, uds: []Listen{{dog, "./s"}}},
		{env: map[string]string{"CAIRN_UDP": ":1"}, args: []string{"--udp", ":2"}, udp: []Listen{{dog, ":2"}}},
		{file: "udp: [':1', 'etsy@:2']\nuds: [/a, /b]\n", udp: []Listen{{dog, ":1"}, {etsy, ":2"}}, uds: []Listen{{dog, "/a"}, {dog, "/b"}}},
		{file: "udp: ':1,etsy@:2'\n", udp: []Listen{{dog, ":1"}, {etsy, ":2"}}},
		{file: "udp: ''\nuds: /a\n", uds: []Listen{{dog, "/a"}}},
		{file: "udp: []\nuds: /a\n", uds: []Listen{{dog, "/a"}}},
	} {
		got, err := load(t, c.file, c.env, c.args...)
		require.NoError(t, err, "%+v", c)
		require.Equal(t, c.udp, got.UDP, "%+v", c)
		require.Equal(t, c.uds, got.UDS, "%+v", c)
	}
}

func TestEveryListenerProblem(t *testing.T) {
	file := "tcp: [':1', [':2']]\nuds-mode: '0999'\n"
	_, err := load(t, file, nil, "--udp", "here,statsite@:1,:70000,:5,:5,@:6", "--uds", "etsy@,"+strings.Repeat("/long", 30),
		"--max-line", "63", "--max-name", "0", "--max-tag", "70000", "--max-tags", "0", "--max-metrics", "0")
	require.Error(t, err)
	for _, part := range []string{
		`cairn.yaml:1: tcp: a list holds values only`,
		`cairn.yaml: uds-mode: "0999": not permissions; write three octal digits`,
		`udp: "here" is not host:port`,
		`udp: there is no dialect "statsite" before ":1"; there are dogstatsd, etsy, brubeck`,
		`udp: there is no dialect "" before ":6"`,
		`udp: port "70000" is not a number`,
		`udp: :5 is given twice`,
		`uds: the path is empty`,
		`is longer than 103 bytes`,
		`max-line: 63 is not between 64 and 65535`,
		`max-name: 0 is not between`,
		`max-tag: 70000 is not between`,
		`max-tags: 0 is not between`,
		`max-metrics: 0 is not between`,
	} {
		require.ErrorContains(t, err, part)
	}
	require.Equal(t, 14, len(strings.Split(err.Error(), "\n")), err.Error())
	_, err = load(t, "", nil, "--udp", "")
	require.ErrorContains(t, err, "nothing to listen on")
}

func TestLimitsAreSettings(t *testing.T) {
	c, err := load(t, "", nil, "--max-line", "65535", "--max-name", "100", "--max-tag", "64", "--max-tags", "8", "--uds-mode", "660", "--origin-tags")
	require.NoError(t, err)
	require.Equal(t, metric.LineLimits{Line: 65535, Name: 100, Tag: 64, Tags: 8}, c.Line)
	require.Equal(t, os.FileMode(0o660), c.UDSMode)
	require.True(t, c.OriginTags)
}

func TestInheritedSockets(t *testing.T) {
	pid := strconv.Itoa(os.Getpid())
	c, err := load(t, "", map[string]string{"LISTEN_PID": pid, "LISTEN_FDS": "4", "LISTEN_FDNAMES": "http:etsy-udp::brubeck"}, "--udp", "")
	require.NoError(t, err)
	require.Equal(t, []Inherited{
		{3, "http", "dogstatsd"}, {4, "etsy-udp", "etsy"}, {5, "unknown", "dogstatsd"}, {6, "brubeck", "brubeck"},
	}, c.Inherited)
	c, err = load(t, "", map[string]string{"LISTEN_PID": "1", "LISTEN_FDS": "many"})
	require.NoError(t, err, "meant for another process")
	require.Empty(t, c.Inherited)
	for _, n := range []string{"", "many", "-1", "100000"} {
		_, err = load(t, "", map[string]string{"LISTEN_PID": pid, "LISTEN_FDS": n})
		require.ErrorContains(t, err, "LISTEN_FDS")
	}
	var unset []string
	require.NoError(t, UnsetInherited(func(name string) error { unset = append(unset, name); return nil }))
	require.Equal(t, []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}, unset)
}
