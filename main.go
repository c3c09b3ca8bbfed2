// Cairn counts: StatsD datagrams in, exact sums on a dashboard.
package main

import (
	"os"
	_ "time/tzdata" // queries ask for time zones on hosts without a database of them

	"cairn/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
