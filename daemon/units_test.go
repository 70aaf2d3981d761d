package daemon

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sandboxing are the directives that take something away from a program.
var sandboxing = regexp.MustCompile(`^(Protect|Private|Restrict|SystemCall|Capability|Ambient|NoNew|Lock|MemoryDeny|RemoveIPC|Device|IPAddress|Keyring|UMask|ReadWrite|ProcSubset)\w*=`)

// unexplained returns the directives of a unit that have no why above them: a comment, and
// no empty line and not too many directives between.
func unexplained(unit string) (names []string) {
	const most = 8 // of a comment: more than that are not about one thing
	above := most
	for line := range strings.Lines(unit) {
		switch line = strings.TrimSpace(line); {
		case line == "" || strings.HasPrefix(line, "["):
			above = most
		case strings.HasPrefix(line, "#"):
			above = 0
		default:
			if above >= most && sandboxing.MatchString(line) {
				names = append(names, line)
			}
			above++
		}
	}
	return names
}

func TestEveryWallOfASandboxHasItsWhy(t *testing.T) {
	units, err := filepath.Glob("../systemd/*.service")
	if err != nil || len(units) < 4 {
		t.Fatal(units, err)
	}
	for _, file := range units {
		unit := readFile(t, file)
		if n := len(regexp.MustCompile(`(?m)^(Protect|Private)`).FindAllString(unit, -1)); n < 8 {
			t.Errorf("%s: only %d walls are seen", file, n)
		}
		for _, line := range unexplained(unit) {
			t.Errorf("%s: why %s?", file, line)
		}
	}
	for unit, want := range map[string]int{
		"# why\nProtectHome=yes\n": 0, "ProtectHome=yes\n": 1, "# why\n\nProtectHome=yes\n": 1, "[Service]\nRestart=always\n": 0,
		"# why\n" + strings.Repeat("PrivateTmp=yes\n", 9): 1,
	} {
		if got := unexplained(unit); len(got) != want {
			t.Errorf("%q: %q", unit, got)
		}
	}
}
