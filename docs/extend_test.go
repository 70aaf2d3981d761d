package docs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// configured is the program of the extended repository with the session's
// configuration: it is not this test's.
const wrapper = `#!/bin/sh
case $1 in
buffer) call="$1 $2"; shift 2 ;;
*) call=$1; shift ;;
esac
exec %s $call -config "$TIDEGATE_CONFIG" "$@"
`

// TestWhatIsAddedByThePagesWorks applies the blocks of docs/extend to the
// repository, by way of an overlay: nothing on disk is changed. Then it runs the new
// packages' tests, and what the pages say to try.
func TestWhatIsAddedByThePagesWorks(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the gateway")
	}
	var extended []block
	for _, page := range pages(t) {
		if strings.HasPrefix(page, "docs/extend/") {
			extended = append(extended, blocksOf(t, page)...)
		}
	}
	programs := t.TempDir()
	overlay := overlaid(t, extended)
	inRoot := func(name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	program := filepath.Join(programs, "extended")
	inRoot("go", "build", "-overlay", overlay, "-o", program, "./cmd/tidegate")
	inRoot("go", "test", "-overlay", overlay, "-run", "Hexadecimal|HexWord", "./ingest/decode")
	for _, added := range []string{"ingest/filein", "uplink/tcpout"} { // folders that are in the overlay only cannot be entered
		binary := filepath.Join(programs, filepath.Base(added)+".test")
		inRoot("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, "./"+added)
		inRoot(binary)
	}
	if err := os.WriteFile(filepath.Join(programs, "tidegate"), fmt.Appendf(nil, wrapper, program), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	for _, needed := range []string{"socat", "mosquitto_pub"} {
		if _, err := exec.LookPath(needed); err != nil {
			t.Skipf("%s is not installed", needed)
		}
	}
	s := newSession(t, nil)
	text := ""
	for _, b := range extended {
		if b.info == "toml extended" {
			text += b.text
		}
	}
	s.configure(text)
	s.startGateway()
	for _, b := range extended {
		switch b.info {
		case "sh extended":
			s.runBlock(b)
		case "console extended":
			s.console(b)
		}
	}
}

// overlaid writes the files of the blocks, new ones and changed ones, and returns
// the list for go's flag -overlay.
func overlaid(t *testing.T, blocks []block) string {
	t.Helper()
	texts := make(map[string]string)
	for _, b := range blocks {
		name := b.rest()
		switch b.language() {
		case "go":
			if _, err := os.Stat(filepath.Join(root, name)); err == nil {
				t.Errorf("%v: %s is there already", b, name)
			}
			texts[name] = b.text
		case "diff":
			if texts[name] == "" {
				text, err := os.ReadFile(filepath.Join(root, name))
				if err != nil {
					t.Fatalf("%v: %v", b, err)
				}
				texts[name] = string(text)
			}
			texts[name] = patched(t, b, texts[name])
		}
	}
	dir := t.TempDir()
	replace := make(map[string]string)
	for name, text := range texts {
		from, err := filepath.Abs(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		replace[from] = filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(replace[from], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// patched applies a diff: lines that begin with a blank must stand in the text, in
// this order and once; "@@" parts one place from the next.
func patched(t *testing.T, b block, text string) string {
	t.Helper()
	for _, hunk := range strings.Split("\n"+b.text, "\n@@\n") {
		var before, after strings.Builder
		for _, line := range strings.Split(strings.Trim(hunk, "\n"), "\n") {
			mark, rest := line[:1], line[1:]+"\n"
			if mark != "+" {
				before.WriteString(rest)
			}
			if mark != "-" {
				after.WriteString(rest)
			}
		}
		if n := strings.Count(text, before.String()); n != 1 {
			t.Fatalf("%v: %s has these lines %d times, want once:\n%s", b, b.rest(), n, before.String())
		}
		text = strings.Replace(text, before.String(), after.String(), 1)
	}
	return text
}
