// Command tidegate is the gateway: see "tidegate help".
package main

import (
	"os"

	"github.com/tidegate/tidegate/daemon"
)

func main() { os.Exit(daemon.Main(os.Args[1:], os.Stdout, os.Stderr)) }
