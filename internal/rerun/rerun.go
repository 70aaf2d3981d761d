// Package rerun starts a test's own program as another process, to be killed or
// watched. When the tests run in an emulator of another processor, so does that
// process: TIDEGATE_EMULATOR has the emulator and its arguments, see make arm.
package rerun

import (
	"os"
	"os/exec"
	"strings"
)

// Command is exec.Command for this program.
func Command(args ...string) *exec.Cmd {
	all := append(Program(), args...)
	return exec.Command(all[0], all[1:]...)
}

// Program returns the words that start this program.
func Program() []string {
	return append(strings.Fields(os.Getenv("TIDEGATE_EMULATOR")), os.Args[0])
}
