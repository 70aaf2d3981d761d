package docs_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
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
	world   []string          // started before the gateway, as what does not end: devices, servers
	before  string            // commands before the first of the page, with the gateway running
	after   string            // commands after the last
	more    string            // configuration besides the page's
	needs   []string          // programs without which the page is skipped
	steps   map[string]string // commands before the block that begins so; "@stop" and "@start" are for the gateway
	cloud   bool              // there is a tidegate-cloud on port 8440
	refuses bool              // on port 8086 is a server that refuses everything
	idle    bool              // the page starts its gateway itself, or has none
	apart   bool              // and then stands for itself
	inOrder bool              // the configuration is written where the page shows it, not before all else
	stored  []string          // what is on flash in the end: "device metric value", * for anything
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
		if b.info == "toml" && !prep.inOrder {
			configuration += "\n" + b.text
		}
	}
	s.configure(configuration)
	if prep.cloud {
		s.start("tidegate-cloud run -data /var/lib/tidegate-cloud -listen 127.0.0.1:8440", says("receiving"))
	}
	if prep.refuses {
		s.refuse(8086)
	}
	for _, command := range prep.world {
		s.start(s.withPorts([]string{command})[0], anything)
	}
	if !prep.idle {
		s.startGateway()
	}
	s.must(prep.before)
	s.play(blocks, prep, configuration)
	s.must(prep.after)
	for _, reading := range prep.stored {
		s.eventuallyStored(reading)
	}
}

// play goes through the blocks as a reader does.
func (s *session) play(blocks []block, prep preparation, configuration string) {
	s.Helper()
	said := ""
	for _, b := range blocks {
		if b.commands() && ofTheMachine.MatchString(b.text) {
			s.Fatalf("%v is not for a test: TestEveryBlockIsHeld says more", b)
		}
		s.step(prep.steps, b)
		switch {
		case b.info == "toml" && prep.inOrder:
			if configuration += "\n" + b.text; prep.apart {
				configuration = b.text
			}
			s.configure(configuration)
		case b.info == "toml init":
			s.write("fleet.toml", s.here(b.text))
		case b.asked():
			s.ask(b)
		case b.commands() && b.language() == "console":
			s.console(b)
		case b.commands():
			said = s.runBlock(b)
		case b.info == "" && said != "":
			if err := alike(s.here(b.text), said); err != nil {
				s.Errorf("%v shows what is not printed: %v", b, err)
			}
		}
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

// step does what belongs before the block.
func (s *session) step(steps map[string]string, b block) {
	s.Helper()
	first, _, _ := strings.Cut(b.text, "\n")
	for _, line := range strings.Split(steps[first], "\n") {
		switch strings.TrimSpace(line) {
		case "@stop":
			s.must("kill -INT $(cat gateway.pid); while kill -0 $(cat gateway.pid) 2>/dev/null; do sleep 0.05; done")
		case "@start":
			s.startGateway()
		default:
			if background, ok := strings.CutPrefix(line, "& "); ok {
				s.start(background, anything)
				continue
			}
			s.must(line)
		}
	}
}

// refuse answers everything with 400, as a database does whose fields have other types.
func (s *session) refuse(port int) {
	s.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.port(port)))
	if err != nil {
		s.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "field type conflict", http.StatusBadRequest)
	})}
	go server.Serve(l)
	s.Cleanup(func() { server.Close() })
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
var goesOn = regexp.MustCompile(`^(tidegate (run|tap\b|log .*-f|ports .*-watch)|tidegate-cloud run|firmware-sim (serial|modbus|link|fleet)\b|mosquitto_sub\b|curl -N)`)

// runBlock runs the commands of a block and returns what they print.
func (s *session) runBlock(b block) string {
	s.Helper()
	lines := strings.Split(strings.TrimSpace(b.text), "\n")
	going := func(line string) bool { return goesOn.MatchString(strings.NewReplacer(s.replaced...).Replace(line)) }
	if !slices.ContainsFunc(lines, going) {
		lines = []string{b.text}
	}
	printed := ""
	for _, line := range lines {
		if going(line) {
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
		compare := alike
		if strings.Contains(command, "/api/v1/") && strings.HasPrefix(shown, "{") && json.Valid([]byte(completed(shown))) && json.Valid([]byte(out)) {
			compare = shapedLike
		}
		if differs := compare(s.here(shown), out); differs != nil {
			s.Errorf("%v: %s (%v) does not print what is shown: %v", b, command, err, differs)
		} else if err != nil && strings.TrimSpace(shown) == "" {
			s.Errorf("%v: %s: %v", b, command, err)
		}
	}
}

// ask sends the request that a block names and compares the answer's shape.
func (s *session) ask(b block) {
	s.Helper()
	words := append(strings.SplitN(b.rest(), " ", 3), "")
	last := errNever
	defer func() {
		if s.Failed() && last != nil {
			s.Logf("%v: %v", b, last)
		}
	}()
	s.eventually(b.info+" answers as is shown", func() bool {
		answer, err := s.request(words[0], words[1], words[2])
		if err == nil {
			lines := strings.Split(strings.TrimSpace(answer), "\n")
			err = shapedLike(b.text, lines[len(lines)-1])
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

// samples is a batch of n temperatures, a second apart, with a hole of some
// seconds in the middle.
func samples(n, hole int) string {
	var all []string
	for i := range n {
		at := 1788217200000 + 1000*i
		if i > n/2 {
			at += 1000 * hole
		}
		all = append(all, fmt.Sprintf(`{"ts":%d,"temp":%.1f}`, at, 21+float64(i%7)/10))
	}
	return "[" + strings.Join(all, ",") + "]"
}
