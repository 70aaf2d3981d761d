// Command tidegate-cloud is the other end of a gateway's uplink in one program:
// it receives, stores each reading once, acknowledges, and can account for
// everything that it has and has not. "tidegate-cloud help" tells how.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], streams{os.Stdout, os.Stderr})
	stop()
	os.Exit(exitCode(err))
}

// exitCode reports the error and returns 0 for success, 1 for failure, 2 for a
// command line that makes no sense.
func exitCode(err error) int {
	var wrong usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &wrong):
		fmt.Fprintln(os.Stderr, "tidegate-cloud:", err)
		fmt.Fprintln(os.Stderr, `hint: "tidegate-cloud help" lists commands and flags`)
		return 2
	}
	fmt.Fprintln(os.Stderr, "tidegate-cloud:", err)
	return 1
}
