package firmwaresim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// run calls Main and returns what it printed.
func runMain(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = Main(args, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"", 2, "Usage: firmware-sim"},
		{"help", 0, "a TCP proxy"},
		{"help fleet", 0, "-ledger"},
		{"audit -h", 0, "Examples:"},
		{"fleat", 2, `there is no command "fleat"`},
		{"fleet -nonsense", 2, "-nonsense"},
		{"fleet extra", 2, "takes flags only"},
		{"fleet -qos 3", 2, "-qos is 0, 1 or 2"},
		{"fleet -mqtt 4", 2, "there are 3 and 5"},
		{"fleet -shape xml", 2, "is not one of"},
		{"link", 2, "-to is missing"},
		{"link -to a:1 -script explode", 2, "not a time and an action"},
		{"link -to a:1 -bandwidth much", 2, "bandwidth"},
		{"audit", 2, "-ledger and -cloud are needed"},
		{"audit -ledger nowhere -cloud nowhere", 1, "nowhere"},
		{"serial", 2, "-link is missing"},
		{"serial -link x -n 0", 2, "-n is less than 1"},
		{"serial -link x -faults explode", 2, "is no fault"},
		{"serial -link x -script 5s", 2, "not a time and an action"},
		{"serial -link x -script @nowhere", 1, "nowhere"},
		{`serial -link x -poll \q`, 2, "an escape that is not known"},
		{"serial -link x -encoding xml", 2, "is not one of"},
		{"modbus", 2, "-listen or -link is needed"},
		{"modbus -listen x -faults split", 2, "is no fault"},
		{"modbus -listen 127.0.0.1:0 -n 300", 2, "they are 1 to 247"},
		{"modbus -listen nowhere", 1, "modbus slaves: listen"},
		{"send", 2, "-to is missing"},
		{"send -to mqtt://x", 2, "nowhere to send to"},
		{"send -to tcp://x:1 -reply \\", 2, "an escape that is not known"},
		{"send -to http://x -token-file nowhere", 1, "nowhere"},
		{"demo -devices 0", 2, "-devices"},
		{"demo -bin nowhere", 1, "make build"},
	} {
		code, out, err := runMain(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+err, c.says) {
			t.Errorf("%q: exit code %d, want %d; printed %q%q, want %q", c.args, code, c.code, out, err, c.says)
		}
	}
}

func TestDevicesFromTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	link, ledger := filepath.Join(dir, "tty"), filepath.Join(dir, "sent.ledger")
	code, out, errs := runMain(t, "serial", "-link", link, "-n", "2", "-encoding", "kv", "-rate", "0", "-count", "3", "-for", "20s", "-ledger", ledger)
	sum := link + "1: 3 samples, 0 bytes, "
	if code != 0 || !strings.Contains(out, link+"0 is /dev/pts/") || !strings.Contains(out, sum) || !strings.Contains(out, "bytes that nobody listened to") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	text, err := os.Open(ledger)
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	if l, err := ReadLedger(text); err != nil || l.Account("tty-0000").sent.count != 3 || !l.Account("tty-0001").sent.has(3) {
		t.Errorf("%+v, %v", l, err)
	}
	code, out, errs = runMain(t, "modbus", "-listen", "127.0.0.1:0", "-link", link, "-n", "3", "-for", "50ms")
	if code != 0 || !strings.Contains(out, "3 slaves from unit 1 on answer at 127.0.0.1:") || !strings.Contains(out, link+" is /dev/pts/") ||
		!strings.Contains(out, "0 requests, 0 answers, 0 samples") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
}

func TestFleetThenAuditFromTheCommandLine(t *testing.T) {
	addr, _ := startMochi(t, false)
	ledger := filepath.Join(t.TempDir(), "acked.ledger")
	code, out, errs := runMain(t, "fleet", "-addr", addr, "-n", "2", "-rate", "0", "-count", "80", "-mqtt", "5",
		"-ledger", ledger, "-json")
	var summary fleetSummary
	if err := json.Unmarshal([]byte(out), &summary); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v: %s%s", code, err, out, errs)
	}
	if summary.Acked != 80 || summary.Published != 80 || summary.LatencyP99 < summary.LatencyP50 {
		t.Fatalf("summary %+v", summary)
	}
	rows := exportOf(2, 40)
	cloud := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(strings.Join(rows, "\n")))
	}))
	t.Cleanup(cloud.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	code, out, _ = runMain(t, "audit", "-ledger", ledger, "-cloud", cloud.URL)
	if code != 0 || out != "80 acknowledged, 80 delivered, 0 lost, 0 twice\n" {
		t.Fatalf("exit code %d: %s", code, out)
	}
	export := filepath.Join(t.TempDir(), "export.ndjson")
	if err := os.WriteFile(export, []byte(strings.Join(rows[2:], "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ = runMain(t, "audit", "-ledger", ledger, "-cloud", export)
	if code != 1 || out != "lost: dev-0000 1\n80 acknowledged, 79 delivered, 1 lost, 0 twice\n" {
		t.Fatalf("exit code %d: %s", code, out)
	}
}

func TestFleetWithoutABrokerSaysSo(t *testing.T) {
	code, _, err := runMain(t, "fleet", "-addr", "127.0.0.1:1", "-for", "50ms")
	if code != 1 || !strings.Contains(err, "is the broker running there?") {
		t.Fatalf("exit code %d: %s", code, err)
	}
}

// standIns makes a directory of programs that are this test binary.
func standIns(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for _, name := range []string{"tidegate", "tidegate-cloud"} {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return bin
}

func TestDemoEndsWithTheVerdict(t *testing.T) {
	code, out, err := runMain(t, "demo", "-bin", standIns(t), "-devices", "5", "-connected", "300ms", "-cut", "300ms")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	verdict := lines[len(lines)-1]
	if code != 0 || !strings.Contains(verdict, " 0 lost, 0 twice") || strings.HasPrefix(verdict, "0 ") {
		t.Fatalf("exit code %d: %s%s", code, out, err)
	}
	for _, line := range []string{"dashboard   http://127.0.0.1:", "the link is cut", "the link is back", "caught up within"} {
		if !strings.Contains(out, line) {
			t.Errorf("it did not say %q:\n%s", line, out)
		}
	}
}

func TestDemoConvictsAGatewayThatLoses(t *testing.T) {
	t.Setenv("STANDIN", "loses")
	code, out, _ := runMain(t, "demo", "-bin", standIns(t), "-devices", "5", "-connected", "300ms", "-cut", "300ms")
	if code != 1 || !strings.Contains(out, "lost: dev-000") || !strings.Contains(out, " 1 lost, 0 twice") {
		t.Fatalf("exit code %d: %s", code, out)
	}
}

func TestDemoShowsTheLastWordsOfAGatewayThatDies(t *testing.T) {
	t.Setenv("STANDIN", "dies")
	code, _, err := runMain(t, "demo", "-bin", standIns(t))
	if code != 1 || !strings.Contains(err, "no room on flash") {
		t.Fatalf("exit code %d: %s", code, err)
	}
}
