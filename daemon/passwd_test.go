package daemon

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens both ends of a pseudo-terminal: what a person types into, and
// what the program reads.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there are no pseudo-terminals: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	settings, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return settings.Lflag&unix.ECHO != 0
}

// typist types a line at each prompt, and notes whether it could be seen.
type typist struct {
	*testing.T
	person, program *os.File
	lines           []string
	seen            bool
}

func (p *typist) Write(prompt []byte) (int, error) {
	if bytes.HasSuffix(prompt, []byte(": ")) {
		p.seen = p.seen || echoes(p.T, p.program)
		if _, err := p.person.WriteString(p.lines[0] + "\n"); err != nil {
			return 0, err
		}
		p.lines = p.lines[1:]
	}
	return len(prompt), nil
}

func TestPasswordIsTypedTwiceAndUnseen(t *testing.T) {
	for _, again := range []string{"correct horse", "correct house"} {
		person, program := terminal(t)
		typist := &typist{T: t, person: person, program: program, lines: []string{"correct horse", again}}
		got, err := askPassword(program, typist)
		if same := again == "correct horse"; same != (err == nil) || same && string(got) != again {
			t.Errorf("%q, %v", got, err)
		}
		if typist.seen || !echoes(t, program) {
			t.Error("the password was seen, or nothing is afterwards")
		}
	}
}

func TestPasswordFromAPipeIsTheFirstLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in")
	for text, want := range map[string]string{"a b\n": "a b", "a\r\nb\n": "a", "a": "a"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		in, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := askPassword(in, nil); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
		in.Close()
	}
}
