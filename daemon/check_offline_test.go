package daemon

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/ptytest"
)

// touching is a configuration with doors, ways out and orders of all kinds that Check
// would bind, open or connect.
const touching = `
[gateway]
id = "north-7"
data_dir = "DIR/data"
[buffer]
max_bytes = "32MiB"
[ingest.mqtt]
listen = "127.0.0.1:0"
[ingest.http]
listen = "127.0.0.1:0"
[ingest.coap]
listen = "127.0.0.1:0"
[dashboard]
listen = "127.0.0.1:0"
[[ingest.line]]
name = "datagrams"
transport = "udp"
listen = "127.0.0.1:0"
[[ingest.line]]
name = "server"
connect = "127.0.0.1:1"
[[ingest.modbus]]
name = "hall"
url = "tcp://127.0.0.1:1"
[[ingest.modbus.slave]]
unit = 1
device = "meter"
map = "meter"
[[modbus.map]]
name = "meter"
[[modbus.map.register]]
address = 1
metric = "power"
[[ingest.serial]]
name = "scale"
port = "DIR/port"
[[link]]
name = "modem"
interface = "wwan0"
[[uplink.http]]
name = "cloud"
url = "https://127.0.0.1:1/v1/ingest"
token_file = "DIR/token"
links = ["modem"]
[command]
allow = ["dev/+/set"]
[[command.http]]
name = "orders"
url = "https://127.0.0.1:1/v1/commands"
token_file = "DIR/token"
`

// touchingIn makes the folder, the secret and the port that touching names.
func touchingIn(t *testing.T, dir string) string {
	t.Helper()
	_, port := ptytest.New(t)
	if err := errors.Join(os.Symlink(port, filepath.Join(dir, "port")), os.Symlink(port, filepath.Join(dir, "alias")),
		os.Mkdir(filepath.Join(dir, "data"), 0o700), os.WriteFile(filepath.Join(dir, "token"), []byte("hunter2\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(touching, "DIR", dir)
}

// TestOfflineCheckTouchesNothing watches the system calls of a check of everything that
// could be bound, opened or connected.
func TestOfflineCheckTouchesNothing(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("watching system calls needs strace: apt-get install strace")
	}
	if os.Getenv("TIDEGATE_EMULATOR") != "" {
		t.Skip("system calls of an emulator are not those of the program")
	}
	dir := t.TempDir()
	file, log := filepath.Join(dir, "tidegate.toml"), filepath.Join(dir, "calls")
	if err := os.WriteFile(file, []byte(touchingIn(t, dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "tidegate") // see TestMain
	if err := os.Symlink(os.Args[0], program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(strace, "-f", "-o", log, "-e", "trace=%network,%file,fsync,fdatasync,sync,ftruncate", "--", program, "check", "-offline", "-config", file)
	said, err := cmd.CombinedOutput()
	if probe := exec.Command(strace, "-o", os.DevNull, "true").Run(); probe != nil {
		t.Skipf("strace does not work here: %v", probe)
	}
	if err != nil || !strings.HasSuffix(string(said), " fine, 1 to look at, 0 to fix\n") || !strings.Contains(string(said), "no signature") {
		t.Errorf("it says %q, %v", said, err)
	}
	calls := readFile(t, log)
	if !strings.Contains(calls, filepath.Join(dir, "token")) {
		t.Error("the calls are not those of the check")
	}
	for _, wrong := range regexp.MustCompile(`(?m)^\d+ +((connect|bind|listen|sendto|sendmsg|socket|mkdirat|unlinkat|renameat2?|fsync|fdatasync|sync|ftruncate|fchmodat|utimensat)\(.*|open.*(O_WRONLY|O_RDWR|O_CREAT|`+`/dev/pts).*)$`).FindAllString(calls, -1) {
		t.Error(wrong)
	}
}

func offlineFindings(t *testing.T, text string) []Finding {
	t.Helper()
	c, err := Parse("check", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return CheckOffline(c)
}

func TestOfflineCheckFindsWhatFilesAndFoldersLack(t *testing.T) {
	dir := t.TempDir()
	text := touchingIn(t, dir)
	if worst := Worst(offlineFindings(t, text)); worst == Fail {
		t.Fatal("it is fine as it is")
	}
	file := filepath.Join(dir, "nothing.pem")
	for _, c := range []struct{ was, is, word string }{
		{"data_dir = \"" + dir + "/data\"", "data_dir = \"" + dir + "/token\"", "is a file"},
		{"[ingest.mqtt]\n", "[ingest.mqtt]\npassword_file = \"" + file + "\"\n", "ingest.mqtt: "},
		{"[ingest.http]\n", "[ingest.http]\ntoken_file = \"" + file + "\"\n", "ingest.http: "},
		{"[dashboard]\n", "[dashboard]\ntls_cert = \"" + file + "\"\ntls_key = \"" + file + "\"\n", "dashboard: "},
		{"[[uplink.http]]\n", "[[uplink.http]]\ntls_ca = \"" + file + "\"\n", "uplink cloud: "},
		{"links = [", "#", "no uplink uses it"},
		{"token\"\nlinks", "gone\"\nlinks", "uplink cloud: "},
		{"/token\"\n" + "", "/gone\"\n", "commands from orders: "},
		{"[[link]]\n", "[[ingest.serial]]\nname = \"again\"\nport = \"" + filepath.Join(dir, "alias") + "\"\n[[link]]\n", "are two names of"},
		{"[command]\n", "[command]\nkey_file = \"" + file + "\"\n", "nothing.pem"},
	} {
		if !strings.Contains(text, c.was) {
			t.Fatalf("%q is not in the configuration", c.was)
		}
		findings := offlineFindings(t, strings.ReplaceAll(text, c.was, c.is))
		if !slices.ContainsFunc(findings, func(f Finding) bool {
			return f.Level != OK && f.Hint != "" && strings.Contains(f.What, c.word)
		}) {
			t.Errorf("%q: nothing with %q is found: %+v", c.is, c.word, findings)
		}
	}
}

// TestProblemsBeforeAStartAreEntriesOfTheJournal: systemd makes one of every line, with
// the priority in front.
func TestProblemsBeforeAStartAreEntriesOfTheJournal(t *testing.T) {
	findings := []Finding{{OK, "flash is fine", ""}, {Warn, "the clock is odd", "look at\nit"}, {Fail, "port 1883 is taken", ""}}
	for _, c := range []struct {
		findings []Finding
		want     string
	}{
		{findings[:1], ""},
		{findings, "<4>the clock is odd — hint: look at it\n<3>port 1883 is taken\n"},
		{unusable(conf.Problems{{File: "a.toml", Line: 3, Column: 1, Key: "gatewy", What: "unknown key", Hint: "remove it"}, {File: "a.toml", What: "no"}}),
			"<3>a.toml:3:1: gatewy: unknown key — hint: remove it\n<3>a.toml: no\n"},
		{unusable(errors.New("read configuration: no")), "<3>read configuration: no — hint: check the path, and who may read the file\n"},
	} {
		var b strings.Builder
		if err := writeForJournal(&b, c.findings); err != nil || b.String() != c.want {
			t.Errorf("got %q, want %q, %v", b.String(), c.want, err)
		}
	}
}

// TestTheUnitChecksBeforeItStarts, and starts whatever the check finds.
func TestTheUnitChecksBeforeItStarts(t *testing.T) {
	unit := readFile(t, "../systemd/tidegate.service")
	check, run := strings.Index(unit, "\nExecStartPre=-/usr/bin/tidegate check -offline\n"), strings.Index(unit, "\nExecStart=/usr/bin/tidegate run -fallback\n")
	if check < 0 || run < check {
		t.Errorf("check at %d, run at %d", check, run)
	}
}
