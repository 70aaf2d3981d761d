package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidegate/tidegate/daemon"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// TestMain lets the test binary run under the names of the programs, so that the
// commands of the pages find them. The cloud is in a package of its own: see cloudProgram.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"tidegate":     func() { os.Exit(daemon.Main(configured(os.Args[1:]), os.Stdout, os.Stderr)) },
		"firmware-sim": func() { os.Exit(firmwaresim.Main(os.Args[1:], os.Stdout, os.Stderr)) },
		"sudo":         sudo,
	})
}

// configured names the session's configuration, where a page's command takes that
// of the machine.
func configured(args []string) []string {
	file := os.Getenv("TIDEGATE_CONFIG")
	if file == "" || len(args) == 0 || slices.Contains(args, "-config") || slices.Contains(args, "-help") {
		return args
	}
	at := 1
	switch args[0] {
	case "version", "help", "config":
		return args
	case "token": // takes its flags behind the name
		return append(slices.Clone(args), "-config", file)
	case "buffer", "quarantine", "command", "operator":
		at = min(2, len(args))
		if at == 2 && args[1] == "help" {
			return args
		}
	}
	return slices.Concat(args[:at], []string{"-config", file}, args[at:])
}

// sudo runs the rest: the folder of a session belongs to whoever runs the tests.
func sudo() {
	args := os.Args[1:]
	for len(args) > 1 && args[0] == "-u" {
		args = args[2:]
	}
	program, err := exec.LookPath(args[0])
	if err != nil || !slices.Contains([]string{"tidegate", "tidegate-cloud", "firmware-sim"}, args[0]) {
		os.Exit(127)
	}
	cmd := exec.Command(program, args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if cmd.Run() != nil {
		os.Exit(max(1, cmd.ProcessState.ExitCode()))
	}
	os.Exit(0)
}

// cloudProgram builds tidegate-cloud into the folder.
func cloudProgram(t testing.TB, dir string) {
	t.Helper()
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "tidegate-cloud"), "../cmd/tidegate-cloud").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
