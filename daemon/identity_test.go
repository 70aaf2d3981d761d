package daemon

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// machineNamed returns a machine with this content of machine-id; "-" for no file.
func machineNamed(t *testing.T, id, host string) machine {
	t.Helper()
	file := filepath.Join(t.TempDir(), "machine-id")
	if id != "-" {
		writeFile(t, file, id)
	}
	return machine{file, func() (string, error) {
		if host == "" {
			return "", errors.New("no host name")
		}
		return host, nil
	}}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const (
	oneMachine     = "c0ffee00112233445566778899aabbcc\n"
	anotherMachine = "0f1e2d3c4b5a69788796a5b4c3d2e1f0\n"
	oneName        = "tg-8e8e63939c75" // of oneMachine
)

func TestTheNameIsWhatSystemdMakesOfTheMachinesID(t *testing.T) {
	name, passing, err := machineNamed(t, oneMachine, "host").derived()
	if err != nil || passing || name != oneName {
		t.Errorf("%q, %v, %v", name, passing, err)
	}
	if strings.Contains(oneMachine, strings.TrimPrefix(name, "tg-")) || !isName(name) || len(name) != len(machineLike) {
		t.Errorf("%q", name)
	}
	if _, err := exec.LookPath("systemd-id128"); err != nil {
		t.Skip("systemd-id128 is not installed (package systemd), so the name was compared with a remembered one only")
	}
	own, _, err := thisMachine().derived()
	if err != nil {
		t.Skipf("this machine has no id to compare with: %v", err)
	}
	out, err := exec.Command("systemd-id128", "--app-specific=251c0fb4461f81bb49db613bea73529f", "machine-id").Output()
	if err != nil || "tg-"+string(out[:12]) != own {
		t.Errorf("we say %q, systemd %q, %v", own, out, err)
	}
}

func TestMachinesWithoutAnIDHaveNoName(t *testing.T) {
	for _, id := range []string{"-", "", "uninitialized\n", strings.Repeat("0", 32), "3d12", oneMachine[:31] + "x"} {
		if name, _, err := machineNamed(t, id, "host").derived(); err == nil {
			t.Errorf("%q makes %q", id, name)
		}
	}
}

// TestTheNameStays goes through what can come together: what the configuration says, what
// the folder remembers, and what the machine is.
func TestTheNameStays(t *testing.T) {
	const remembered = `{"id":"hall-7","machine":"` + oneName + `"}`
	for what, c := range map[string]struct {
		id, kept, journal, machine string
		want, doubt                string
	}{
		"a new gateway":                       {machine: oneMachine, want: oneName},
		"a container":                         {machine: "-", want: "host", doubt: "this machine has no id"},
		"the first boot of an image":          {machine: "uninitialized\n", want: "host", doubt: "set gateway.id"},
		"a name that is configured":           {id: "north-7", machine: oneMachine, want: "north-7"},
		"one that is made of the machine's":   {id: "farm-7-{machine}", machine: oneMachine, want: "farm-7-" + oneName},
		"as in a container":                   {id: "farm-7-{machine}", machine: "-", want: "farm-7-host", doubt: "this machine has no id"},
		"a disk was full as it began":         {journal: "x", machine: oneMachine, want: oneName},
		"which another name was given":        {id: "north-7", journal: "x", machine: oneMachine, want: "north-7"},
		"the id was taken out":                {kept: remembered, journal: "x", machine: oneMachine, want: "hall-7"},
		"and the machine lost its id":         {kept: remembered, machine: "-", want: "hall-7"},
		"a copy, or a disk that has moved":    {kept: remembered, journal: "x", machine: anotherMachine, want: "tg-f2c49279abe5", doubt: `that was hall-7`},
		"a copy with a name for all":          {id: "farm-{machine}", kept: remembered, machine: "-", want: "farm-" + oneName},
		"a container that gets an id later":   {kept: `{"id":"host"}`, machine: oneMachine, want: "host"},
		"a container that is as it was":       {kept: `{"id":"host"}`, machine: "-", want: "host", doubt: "this machine has no id"},
		"what is remembered is damaged":       {kept: `{"id":`, journal: "x", machine: oneMachine, want: oneName, doubt: "identity.json is damaged"},
		"what is remembered is no name":       {kept: `{"id":"a/b"}`, machine: oneMachine, want: oneName, doubt: "identity.json is damaged"},
		"a container whose host name changes": {kept: `{"id":"before"}`, machine: "-", want: "before"},
	} {
		t.Run(what, func(t *testing.T) {
			g := Gateway{ID: c.id, DataDir: t.TempDir()}
			if c.kept != "" {
				writeFile(t, filepath.Join(g.DataDir, identityFile), c.kept)
			}
			if c.journal != "" {
				writeFile(t, filepath.Join(g.DataDir, "journal", "state.db"), c.journal)
			}
			m := machineNamed(t, c.machine, "host")
			is, err := g.identify(m)
			if err != nil || is.ID != c.want || !strings.Contains(is.doubt, c.doubt) || c.doubt == "" && is.doubt != "" {
				t.Fatalf("%+v, %v", is, err)
			}
			is.keep(g.DataDir, slog.New(slog.DiscardHandler))
			if again, err := g.identify(m); err != nil || again.ID != c.want || again.keptIdentity != again.before {
				t.Errorf("the next start: %+v, %v", again, err)
			}
		})
	}
}

func TestACopyGetsANameOnceAndIsTold(t *testing.T) {
	g, said := Gateway{DataDir: t.TempDir()}, &strings.Builder{}
	log := slog.New(slog.NewTextHandler(said, nil))
	for _, id := range []string{oneMachine, anotherMachine, anotherMachine} {
		is, err := g.identify(machineNamed(t, id, "host"))
		if err != nil {
			t.Fatal(err)
		}
		is.keep(g.DataDir, log)
	}
	if n := strings.Count(said.String(), "another name now"); n != 1 || strings.Count(said.String(), "\n") != 2 {
		t.Errorf("said:\n%s", said)
	}
}

func TestAGatewayWithoutAnyNameDoesNotStart(t *testing.T) {
	for _, host := range []string{"", "no/name"} {
		if is, err := (Gateway{DataDir: t.TempDir()}).identify(machineNamed(t, "-", host)); err == nil || !strings.Contains(err.Error(), "hint: set gateway.id") {
			t.Errorf("%q: %+v, %v", host, is, err)
		}
	}
}

func TestDoubtsAboutTheNameAreInTheCheck(t *testing.T) {
	for _, c := range []struct {
		id, machine, host string
		level             Level
		word              string
	}{
		{"", oneMachine, "raspberrypi", OK, oneName},
		{"", "-", "raspberrypi", Warn, "called by its host name"},
		{"raspberrypi", "-", "north-7", OK, "raspberrypi"}, // somebody wrote it: meant
		{"", "-", "no/name", Fail, "set gateway.id"},
		{"", "-", "", Fail, "set gateway.id"},
	} {
		k := &checklist{}
		k.identity(Gateway{ID: c.id, DataDir: t.TempDir()}, machineNamed(t, c.machine, c.host))
		expect(t, only(t, k), c.level, c.word)
	}
}
