// Cairn counts: StatsD datagrams in, exact sums on a dashboard.
package main

import (
	"os"

	"cairn/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
