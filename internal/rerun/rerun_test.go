package rerun

import (
	"os"
	"slices"
	"testing"
)

func TestAnotherProcessIsThisProgram(t *testing.T) {
	if os.Getenv("RERUN_TEST") != "" {
		os.Exit(7)
	}
	again := Command("-test.run=^" + t.Name() + "$")
	again.Env = append(os.Environ(), "RERUN_TEST=1")
	if again.Run(); again.ProcessState.ExitCode() != 7 {
		t.Errorf("it ended with %v", again.ProcessState)
	}
}

func TestEmulatorComesFirst(t *testing.T) {
	t.Setenv("TIDEGATE_EMULATOR", "qemu-arm-static -cpu arm1176")
	if got, want := Command("a", "b").Args, []string{"qemu-arm-static", "-cpu", "arm1176", os.Args[0], "a", "b"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
