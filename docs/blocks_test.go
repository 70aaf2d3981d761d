// Package docs_test runs what the documents show: configurations, commands and
// what they print. A block that is shown is a promise like any other.
//
//	toml       a configuration; all of a page are one, and the gateway of its session
//	toml init  a provisioning file, read by the tests of tidegate init
//	sh         commands, which the page's session runs from top to bottom
//	console    commands behind "$ ", and below each what it prints
//	(nothing)  what the commands before it print
//	ini [NAME] a drop-in of the unit, which is tidegate's if it says nothing
//	json GET … what the session's gateway answers, by the shape of it; also json POST
//	           with a path and a body, and the last line of several
//	sh WORD    commands that no session can run: see machine
//
// Everything else stands in the table elsewhere, with a reason.
package docs_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the repository, as seen from here.
const root = ".."

// block is what stands between two fences.
type block struct {
	page string // from the root
	line int    // of its first fence
	info string // what stands behind the fence
	text string
}

func (b block) String() string { return fmt.Sprintf("%s, the block below line %d", b.page, b.line) }

// language is the first word behind the fence, rest are the others.
func (b block) language() string { first, _, _ := strings.Cut(b.info, " "); return first }
func (b block) rest() string     { _, rest, _ := strings.Cut(b.info, " "); return rest }

// blocksOf returns the blocks of a page, in their order.
func blocksOf(t testing.TB, page string) []block {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	var in *block
	for i, line := range strings.Split(string(text), "\n") {
		mark, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && in != nil:
			all = append(all, *in)
			in = nil
		case fence:
			in = &block{page: page, line: i + 1, info: strings.TrimSpace(mark)}
		case in != nil:
			in.text += line + "\n"
		}
	}
	if in != nil {
		t.Errorf("%v never ends", in)
	}
	return all
}

// pages returns every document that people read: those beside the code that tell them
// what to do, and docs.
func pages(t testing.TB) []string {
	t.Helper()
	all := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md"}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && path.Ext(name) == ".md" {
			all = append(all, "docs/"+filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// machine says who runs the commands of a block "sh WORD", since no session can.
var machine = map[string]string{
	"root": "changes the machine, or reads its journal. packaging/vm and packaging/lifecycle install, start, upgrade, reset and " +
		"purge on machines of their own; here, commands and flags are looked at, and TestFromSourceInstallsWhatTheGatewayNeeds installs into a folder",
	"hardware": "wants a device that no machine of a test has",
	"abroad":   "wants a service or a program that Debian does not have",
	"build":    "builds or tests the repository: this is what the tests are run by",
}

// ofTheMachine matches lines that a test must not run, wherever it runs.
var ofTheMachine = regexp.MustCompile(`(?m)^(\$ )?(sudo (apt|install|systemctl|dpkg|rm|sh|tee)|apt|apt-get|dpkg|systemctl|journalctl|systemd-\w+|reboot|poweroff|ssh|scp|rm -rf /)\b`)

// commands are the languages of blocks that a session runs.
func (b block) commands() bool {
	return (b.language() == "sh" || b.language() == "console") && b.rest() == ""
}

// extends says whether the block is one of docs/extend that TestWhatIsAddedByThePagesWorks
// applies or runs.
func (b block) extends() bool {
	if !strings.HasPrefix(b.page, "docs/extend/") {
		return false
	}
	return b.rest() == "extended" || b.rest() != "" && (b.language() == "go" || b.language() == "diff")
}

// asked says whether the block shows an answer of the gateway.
func (b block) asked() bool {
	return b.language() == "json" && regexp.MustCompile("^(GET|POST) /").MatchString(b.rest())
}

func TestEveryBlockIsHeld(t *testing.T) {
	used := make(map[string]bool)
	for _, page := range pages(t) {
		ran := false
		for _, b := range blocksOf(t, page) {
			if b.commands() && ofTheMachine.MatchString(b.text) {
				t.Errorf("%v has %q: mark it \"sh root\"", b, strings.TrimSpace(ofTheMachine.FindString(b.text)))
			}
			switch {
			case b.extends():
			case b.info == "toml init": // a provisioning file: TestAFileOnTheBootPartitionMakesAGateway
			case b.info == "toml" || b.commands() || b.asked():
				ran = ran || b.commands()
			case b.language() == "sh":
				if machine[b.rest()] == "" {
					t.Errorf("%v is marked %q: one of %v, or nothing, so that it is run", b, b.info, machine)
				}
			case b.language() == "ini": // a drop-in: TestDropInsAreTaken
			case b.info == "" && ran:
			case page == cliPage: // TestCLIPageIsWhatTheProgramsSay
			case b.info == "json":
				if err := json.Unmarshal([]byte(completed(b.text)), new(any)); err != nil {
					t.Errorf("%v: %v", b, err)
				}
			default:
				if name := heldElsewhere(b); name != "" {
					used[name] = true
					continue
				}
				t.Errorf("%v (%q) is held by nothing: mark it so that it is run (blocks_test.go tells how), or give it a line in elsewhere", b, b.info)
			}
		}
	}
	for name := range elsewhere {
		if !used[name] {
			t.Errorf("no block is %q any more: take it out of elsewhere", name)
		}
	}
}

// heldElsewhere returns the line of the table that the block has.
func heldElsewhere(b block) string {
	if regexp.MustCompile(`^\w+ [\w+]+ (batch|series|device|reading)$`).MatchString(b.info) {
		return "docs/reference/encodings.md"
	}
	first, _, _ := strings.Cut(strings.TrimSpace(b.text), "\n")
	for name := range elsewhere {
		if at, begins, ok := strings.Cut(name, ": "); ok && at == b.page && strings.HasPrefix(first, begins) {
			return name
		}
	}
	return ""
}

// completed makes JSON of a text in which "…" stands for what was left out.
func completed(text string) string {
	text = regexp.MustCompile(`,\s*…`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`([\[{])\s*…\s*,?`).ReplaceAllString(text, "$1")
	return regexp.MustCompile(`:\s*…`).ReplaceAllString(text, ": null")
}
