package packaging_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/packaging/usage"
)

// drive is a program for bash that completes a line as if Tab had been pressed at its
// end: bash has divided it into words at blanks, = and :.
const drive = `
complete() { builtin complete "$@"; function=$2; }
source "$1"
COMP_LINE=$2 COMP_POINT=${#2}
shift 2
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
cd "$HOME"
"$function" "${COMP_WORDS[0]}" "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}" 2>&1
printf '%s\n' "${COMPREPLY[@]}"
`

// completed returns what bash offers for a line.
func completed(t *testing.T, script, line string) []string {
	t.Helper()
	words := strings.Split(strings.NewReplacer("=", " = ", ":", " : ").Replace(line), " ")
	return strings.Fields(run(t, "", "bash", slices.Concat([]string{"-c", drive, "bash", script, line}, words)...))
}

func TestCompletion(t *testing.T) {
	need(t, "bash", "bash")
	bin := programs(t)
	dir := made(t, "completion", bin)
	home := t.TempDir()
	t.Setenv("HOME", home)
	for _, name := range []string{"new.toml", "old.toml"} {
		if err := os.WriteFile(filepath.Join(home, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(home, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"tidegate appl":                         "apply",
		"tidegate c":                            "check confirm clock command config",
		"tidegate buffer ":                      "ls check peek export purge",
		"tidegate buffer pe":                    "peek",
		"tidegate buffer ls -j":                 "-json",
		"tidegate buffer purge -y":              "-yes",
		"tidegate buffer ls -y":                 "",
		"tidegate buffer export -format ":       "ndjson csv packed",
		"tidegate buffer export -format=c":      "csv",
		"tidegate log -level ":                  "debug info warn error",
		"tidegate log -f -level=w":              "warn",
		"tidegate run -config n":                "new.toml",
		"tidegate run -config=o":                "old.toml",
		"tidegate apply n":                      "new.toml",
		"tidegate apply -confirm ":              "",
		"tidegate status -":                     "-config -json",
		"tidegate nonsense ":                    "",
		"tidegate-cloud i":                      "import",
		"tidegate-cloud run -data d":            "data",
		"tidegate-cloud run -data n":            "",
		"tidegate-cloud import -tokens new.":    "new.toml",
		"firmware-sim fleet -shape n":           "nested",
		"firmware-sim help se":                  "send serial",
		"firmware-sim fleet -password-file old": "old.toml",
	} {
		program, _, _ := strings.Cut(line, " ")
		if got := strings.Join(completed(t, filepath.Join(dir, program), line), " "); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	for _, name := range []string{"tidegate", "tidegate-cloud", "firmware-sim"} {
		p, err := usage.Read(t.Context(), filepath.Join(bin, name))
		if err != nil {
			t.Fatal(err)
		}
		offersEverything(t, filepath.Join(dir, name), name, p.Commands)
	}
}

// offersEverything presses Tab behind every command, and behind each of its dashes.
func offersEverything(t *testing.T, script, call string, commands []usage.Command) {
	t.Helper()
	offered := completed(t, script, call+" ")
	for _, c := range commands {
		if !slices.Contains(offered, c.Name) {
			t.Errorf("%q does not offer %s", call, c.Name)
		}
		if len(c.Subs) > 0 {
			offersEverything(t, script, call+" "+c.Name, c.Subs)
			continue
		}
		if len(c.Flags) == 0 {
			continue
		}
		flags := completed(t, script, call+" "+c.Name+" -")
		for _, f := range c.Flags {
			if !slices.Contains(flags, f.Name) {
				t.Errorf("%s %s does not offer %s", call, c.Name, f.Name)
			}
		}
	}
}
