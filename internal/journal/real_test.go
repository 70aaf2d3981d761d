package journal

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// daemon is where Debian has the journal.
const daemon = "/lib/systemd/systemd-journald"

// inNamespace runs the journal in a mount namespace with a /run of its own, then this
// test in it, then prints what the journal has.
const inNamespace = `
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
echo 0123456789abcdef0123456789abcdef >/run/machine-id
mount --bind /run/machine-id /etc/machine-id
` + daemon + ` 2>/run/journald.log &
trap "kill $!" EXIT
for i in $(seq 1200); do [ -S /run/systemd/journal/socket ] && [ -S /run/systemd/journal/io.systemd.journal ] && break; sleep 0.05; done
JOURNAL_TEST=inside "$0" -test.run='^TestARealJournal$' >&2
journalctl --sync
journalctl -q -o json --all SYSLOG_IDENTIFIER=tidegate TIDEGATE_EVENT=login_refused
`

// TestARealJournal has systemd's own journal read what is sent, and journalctl find it.
func TestARealJournal(t *testing.T) {
	if os.Getenv("JOURNAL_TEST") == "inside" {
		log := slog.New(New(Config{Identifier: "tidegate", Prefix: "TIDEGATE_"}))
		log.Info("another event", "event", "login")
		for i, text := range realTexts() {
			log.Warn("a client may not connect", "event", "login_refused", "n", i, "client", text, "more", strings.Repeat(text, 2),
				"and", strings.Repeat(text, 2), "so", text, "on", text, "until", text, "it", text, "is", text, "too", text, "long", text)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root may make a namespace")
	}
	for _, tool := range []string{"unshare", "journalctl", daemon} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s of the package systemd: %v", tool, err)
		}
	}
	if err := exec.Command("unshare", "-m", "true").Run(); err != nil {
		t.Skip("this machine allows no namespaces: ", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := exec.Command("unshare", "-m", "sh", "-c", inNamespace, self)
	var said strings.Builder
	run.Stderr = &said
	out, err := run.Output()
	if err != nil {
		t.Fatal(err, said.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(realTexts()) {
		t.Fatalf("%d entries were found\n%s%s", len(lines), out, said.String())
	}
	for i, text := range realTexts() {
		checkReal(t, lines[i], i, text)
	}
}

// realTexts are values that are sent in each of the ways that there are.
func realTexts() []string {
	return []string{"sensor-7", "two\nlines\n", "\x1b[0m\xff\x00", strings.Repeat("long ", 6000), "PRIORITY=0"}
}

func checkReal(t *testing.T, line string, i int, text string) {
	t.Helper()
	var got struct {
		Priority string          `json:"PRIORITY"`
		Message  string          `json:"MESSAGE"`
		PID      string          `json:"_PID"`
		N        string          `json:"TIDEGATE_N"`
		Client   json.RawMessage `json:"TIDEGATE_CLIENT"`
	}
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatal(err, line)
	}
	var client string
	if json.Unmarshal(got.Client, &client) != nil { // what is no text comes as numbers
		var numbers []int
		if err := json.Unmarshal(got.Client, &numbers); err != nil {
			t.Fatal(err)
		}
		for _, n := range numbers {
			client += string([]byte{byte(n)})
		}
	}
	if got.Priority != "4" || got.N != fmt.Sprint(i) || got.PID == "" || client != text || !strings.HasPrefix(got.Message, "a client may not connect (event=login_refused, n=") {
		t.Errorf("entry %d is %.400s", i, line)
	}
}
