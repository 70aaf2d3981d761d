package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// preparation is what must be there before a page's commands can be run: the
// devices, servers and files that it speaks of.
type preparation struct {
	replace []string          // old, new, …: what is named otherwise in a test; {n} is the port here in place of n
	files   map[string]string // path as the page says it: content; relative ones are where the commands run
	env     []string
	world   []string // started before the gateway, as what does not end: devices, servers
	before  string   // commands before the first of the page, with the gateway running
	after   string   // commands after the last
	more    string   // configuration besides the page's
	needs   []string // programs without which the page is skipped
	cloud   bool     // there is a tidegate-cloud on port 8440
	idle    bool     // the page starts its gateway itself, or has none
	stored  []string // what is on flash in the end: "device metric value", * for anything
}

// TestPages runs the commands of every page against a gateway with the page's
// configuration, and compares what is printed with what is shown.
func TestPages(t *testing.T) {
	programs := t.TempDir()
	cloudProgram(t, programs)
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	all := pages(t)
	for page := range prepared {
		if !slices.Contains(all, page) {
			t.Errorf("there is no page %s", page)
		}
	}
	for _, page := range all {
		blocks, prep := blocksOf(t, page), prepared[page]
		runs := slices.ContainsFunc(blocks, func(b block) bool { return b.commands() || b.asked() })
		if !runs && len(prep.stored) == 0 {
			continue
		}
		t.Run(strings.TrimSuffix(page, ".md"), func(t *testing.T) {
			t.Parallel()
			runPage(t, blocks, prep)
		})
	}
}

// TestEveryDoorsPageIsRun: a page about a way in shows something that works.
func TestEveryDoorsPageIsRun(t *testing.T) {
	for _, page := range []string{"mqtt", "http", "coap", "line", "serial", "modbus", "host", "dialects"} {
		if len(prepared["docs/connect/"+page+".md"].stored) == 0 {
			t.Errorf("nothing is stored by what docs/connect/%s.md shows", page)
		}
	}
}

func runPage(t *testing.T, blocks []block, prep preparation) {
	for _, program := range prep.needs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	s := newSession(t, nil, prep.env...)
	s.replaced = s.withPorts(prep.replace)
	for name, text := range prep.files {
		s.write(name, text)
	}
	configuration := prep.more
	for _, b := range blocks {
		if b.language() == "toml" {
			configuration += "\n" + b.text
		}
	}
	s.configure(configuration)
	if prep.cloud {
		s.start("tidegate-cloud run -data /var/lib/tidegate-cloud -listen 127.0.0.1:8440", says("listening"))
	}
	for _, command := range prep.world {
		s.start(s.withPorts([]string{command})[0], anything)
	}
	if !prep.idle {
		s.startGateway()
	}
	s.must(prep.before)
	said := ""
	for _, b := range blocks {
		switch {
		case b.asked():
			s.ask(b)
		case b.commands() && b.language() == "console":
			s.console(b)
		case b.commands():
			said = s.runBlock(b)
		case b.info == "" && said != "":
			if err := alike(s.here(b.text), said); err != nil {
				t.Errorf("%v shows what is not printed: %v", b, err)
			}
		}
	}
	s.must(prep.after)
	for _, reading := range prep.stored {
		s.eventuallyStored(reading)
	}
}

// withPorts puts ports in place of {n}.
func (s *session) withPorts(texts []string) []string {
	var all []string
	for _, text := range texts {
		all = append(all, regexp.MustCompile(`\{\d+\}`).ReplaceAllStringFunc(text, func(m string) string {
			var n int
			fmt.Sscanf(m, "{%d}", &n)
			return fmt.Sprint(s.port(n))
		}))
	}
	return all
}

// must runs commands of the test.
func (s *session) must(text string) {
	s.Helper()
	if text == "" {
		return
	}
	if out, err := s.run(s.withPorts([]string{text})[0]); err != nil {
		s.Fatalf("%s: %v\n%s", text, err, out)
	}
}

func anything(said string) bool { return said != "" }
func says(word string) func(said string) bool {
	return func(said string) bool { return strings.Contains(said, word) }
}

// goesOn matches commands that do not end by themselves. They run until the end of
// the session; the commands behind them wait for their first word.
var goesOn = regexp.MustCompile(`^(tidegate (run|tap\b|log .*-f|ports .*-watch)|tidegate-cloud run|firmware-sim (serial|modbus|link|fleet)\b|mosquitto_sub\b)`)

// runBlock runs the commands of a block and returns what they print.
func (s *session) runBlock(b block) string {
	s.Helper()
	lines := strings.Split(strings.TrimSpace(b.text), "\n")
	if !slices.ContainsFunc(lines, goesOn.MatchString) {
		lines = []string{b.text}
	}
	printed := ""
	for _, line := range lines {
		if goesOn.MatchString(line) {
			s.start(line, anything)
			continue
		}
		out, err := s.run(line)
		printed += out
		if err != nil {
			s.Fatalf("%v: %v\n%s\n%s", b, err, line, out)
		}
	}
	return printed
}

// console runs what stands behind "$ " and compares what is below it.
func (s *session) console(b block) {
	s.Helper()
	for _, part := range strings.Split("\n"+b.text, "\n$ ")[1:] {
		command, shown, _ := strings.Cut(part, "\n")
		for strings.HasSuffix(command, "\\") {
			more, rest, _ := strings.Cut(shown, "\n")
			command, shown = command+"\n"+more, rest
		}
		var out string
		if goesOn.MatchString(command) {
			said := s.start(command, anything)
			s.eventually("it prints what is shown: "+command, func() bool { return alike(s.here(shown), said.String()) == nil })
			continue
		}
		out, err := s.run(command)
		if differs := alike(s.here(shown), out); differs != nil {
			s.Errorf("%v: %s (%v) does not print what is shown: %v", b, command, err, differs)
		} else if err != nil && strings.TrimSpace(shown) == "" {
			s.Errorf("%v: %s: %v", b, command, err)
		}
	}
}

// ask sends the request that a block names and compares the answer's shape.
func (s *session) ask(b block) {
	s.Helper()
	url := strings.TrimPrefix(b.rest(), "GET ")
	last := errNever
	defer func() {
		if s.Failed() && last != nil {
			s.Logf("%v: %v", b, last)
		}
	}()
	s.eventually(b.info+" answers as is shown", func() bool {
		answer, err := s.get(url)
		if err == nil {
			err = shapedLike(b.text, answer)
		}
		last = err
		return err == nil
	})
}

var errNever = fmt.Errorf("it was never asked")

// anyFile returns the only file that a pattern of the session matches.
func (s *session) anyFile(pattern string) string {
	s.Helper()
	found, err := filepath.Glob(s.path(pattern))
	if err != nil || len(found) == 0 {
		s.Fatalf("no %s: %v", pattern, err)
	}
	return found[0]
}
