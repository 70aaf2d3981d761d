// Firmware-sim simulates the devices in front of a gateway and the bad link
// behind it, and audits what the cloud received. "firmware-sim help" tells how.
package main

import (
	"os"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

func main() {
	os.Exit(firmwaresim.Main(os.Args[1:], os.Stdout, os.Stderr))
}
