package daemon

import (
	"io"
	"slices"
)

// entry runs a command with the arguments behind its name, and returns the exit code.
type entry func(args []string, stdout, stderr io.Writer) int

// groupCommand returns a command that has commands or flags of its own, nil if there
// is none of that name.
func groupCommand(name string) entry {
	return map[string]entry{
		"buffer": bufferMain, "quarantine": quarantineMain, "command": commandMain, "test": testMain, "trace": traceMain, "diagnose": diagnoseMain,
		"init": initMain, "factory-reset": resetMain, "plan": planMain,
		"setup-code": operatorEntry("setup-code"), "operator": operatorEntry("operator"), "token": operatorEntry("token"),
	}[name]
}

func operatorEntry(name string) entry {
	return func(args []string, stdout, stderr io.Writer) int {
		return operatorMain(append([]string{name}, args...), stdout, stderr)
	}
}

// groupHelp says what a group of commands can do, if nothing was asked of it, or just that.
func groupHelp(args []string, usage string, stdout, stderr io.Writer) (code int, said bool) {
	switch {
	case len(args) == 0:
		io.WriteString(stderr, usage)
		return exitUsage, true
	case isHelp(args[0]):
		io.WriteString(stdout, usage)
		return exitOK, true
	}
	return 0, false
}

func isHelp(word string) bool {
	return slices.Contains([]string{"help", "-h", "-help", "--help"}, word)
}
