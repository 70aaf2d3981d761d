package docs_test

import (
	"flag"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var updateCLI = flag.Bool("update-cli", false, "write docs/reference/cli.md anew")

const cliPage = "docs/reference/cli.md"

// TestCLIPageIsWhatTheProgramsSay holds the reference of the command line equal to
// the programs' own texts.
func TestCLIPageIsWhatTheProgramsSay(t *testing.T) {
	programs := t.TempDir()
	cloudProgram(t, programs)
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	want := cliText(t)
	if *updateCLI {
		if err := os.WriteFile(root+"/"+cliPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(root + "/" + cliPage)
	if err != nil || string(have) != want {
		t.Errorf("%s is not what the programs say (%v): go test ./docs -run CLI -update-cli", cliPage, err)
	}
}

func cliText(t *testing.T) string {
	var b strings.Builder
	b.WriteString("# The command line\n\nWhat the programs say of themselves; `go test ./docs -run CLI -update-cli` writes this page.\n")
	tell := func(heading string, call ...string) {
		out, _ := exec.Command(call[0], call[1:]...).CombinedOutput() // some end with 2 after their usage
		if !strings.Contains(strings.ToLower(string(out)), "usage") {
			t.Errorf("%q says no usage: %s", call, out)
		}
		text := regexp.MustCompile(`(?m)[ \t]+$`).ReplaceAllString(string(out), "")
		b.WriteString("\n" + heading + "\n\n```text " + strings.Join(call, " ") + "\n" + strings.TrimSpace(text) + "\n```\n")
	}
	tell("## tidegate", "tidegate", "help")
	seen := map[string]bool{"version": true, "help": true}
	for _, command := range commandsOf(t, "tidegate") {
		if !seen[command] {
			seen[command] = true
			tell("### tidegate "+command, "tidegate", command, "-help")
		}
	}
	tell("## tidegate-cloud", "tidegate-cloud", "help")
	tell("## firmware-sim", "firmware-sim", "help")
	for _, command := range []string{"demo", "fleet", "send", "serial", "modbus", "link", "audit"} {
		tell("### firmware-sim "+command, "firmware-sim", "help", command)
	}
	return b.String()
}

// commandsOf returns the commands that a program's usage lists.
func commandsOf(t *testing.T, program string) []string {
	t.Helper()
	out, err := exec.Command(program, "help").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^  `+program+` +(.*)$`).FindAllStringSubmatch(string(out), -1) {
		for _, alternative := range strings.Split(m[1], "|") {
			if word := regexp.MustCompile(`^ *([a-z-]+)\b`).FindStringSubmatch(alternative); word != nil && (alternative == strings.Split(m[1], "|")[0] || m[1][:6] == "reload") {
				all = append(all, word[1])
			}
		}
	}
	return all
}
