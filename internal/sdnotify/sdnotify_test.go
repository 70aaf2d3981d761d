package sdnotify

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// environment is a getenv over pairs.
func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// systemd plays the manager: it listens, and returns what comes.
func systemd(t *testing.T, address string) (heard func() string) {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return func() string {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(time.Minute))
		var b [4096]byte
		n, err := c.Read(b[:])
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func TestWithoutSystemdNothingIsSaid(t *testing.T) {
	m, err := FromEnvironment(environment("WATCHDOG_USEC", "1000000"))
	if m != nil || err != nil {
		t.Fatalf("got %v, %v, want none", m, err)
	}
	for _, err := range []error{m.Ready("x"), m.Reloading(), m.Stopping(), m.Status("x"), m.Alive()} {
		if err != nil {
			t.Error(err)
		}
	}
	if m.Watchdog() != 0 {
		t.Error("nobody watches, and that is to be heard")
	}
}

func TestWhatSystemdHears(t *testing.T) {
	for name, address := range map[string]string{
		"path": filepath.Join(t.TempDir(), "notify"), "abstract": "@tidegate-test-" + strconv.Itoa(os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) {
			heard := systemd(t, address)
			m, err := FromEnvironment(environment("NOTIFY_SOCKET", address))
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				say  func() error
				want string
			}{
				{func() error { return m.Ready("") }, "READY=1\n"},
				{func() error { return m.Ready("all is well") }, "READY=1\nSTATUS=all is well\n"},
				{m.Stopping, "STOPPING=1\n"},
				{func() error { return m.Status("12 readings wait") }, "STATUS=12 readings wait\n"},
				{func() error { return m.Status("a line\nWATCHDOG=1\r\x00x") }, "STATUS=a line WATCHDOG=1 x\n"},
				{m.Alive, "WATCHDOG=1\n"},
			} {
				if err := c.say(); err != nil {
					t.Fatal(err)
				}
				if got := heard(); got != c.want {
					t.Errorf("heard %q, want %q", got, c.want)
				}
			}
		})
	}
}

func TestReloadingTellsWhen(t *testing.T) {
	address := filepath.Join(t.TempDir(), "notify")
	heard := systemd(t, address)
	m, err := FromEnvironment(environment("NOTIFY_SOCKET", address))
	if err != nil {
		t.Fatal(err)
	}
	before := monotonic(t)
	if err := m.Reloading(); err != nil {
		t.Fatal(err)
	}
	after := monotonic(t)
	text, ok := strings.CutPrefix(heard(), "RELOADING=1\nMONOTONIC_USEC=")
	at, err := strconv.ParseInt(strings.TrimSuffix(text, "\n"), 10, 64)
	if !ok || err != nil || at < before || at > after {
		t.Errorf("said %q, want a time from %d to %d", text, before, after)
	}
}

func monotonic(t *testing.T) int64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano() / 1000
}

func TestALongStatusIsCutBetweenCharacters(t *testing.T) {
	got := statusLine("x" + strings.Repeat("é", 1000))
	if want := "STATUS=x" + strings.Repeat("é", (maxStatus-1)/2) + "…"; got != want {
		t.Errorf("got %q", got)
	}
}

func TestEnvironment(t *testing.T) {
	mine := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		name  string
		pairs []string
		want  time.Duration
		fails bool
	}{
		{"no watchdog", nil, 0, false},
		{"watchdog", []string{"WATCHDOG_USEC", "60000000"}, time.Minute, false},
		{"ours", []string{"WATCHDOG_USEC", "60000000", "WATCHDOG_PID", mine}, time.Minute, false},
		{"another's", []string{"WATCHDOG_USEC", "60000000", "WATCHDOG_PID", mine + "1"}, 0, false},
		{"no number", []string{"WATCHDOG_USEC", "60s"}, 0, true},
		{"too large", []string{"WATCHDOG_USEC", "9223372036854775807"}, 0, true},
		{"negative", []string{"WATCHDOG_USEC", "-1"}, 0, true},
	} {
		m, err := FromEnvironment(environment(append(c.pairs, "NOTIFY_SOCKET", "/run/x")...))
		if m == nil || m.Watchdog() != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %v, %v", c.name, m.Watchdog(), err)
		}
	}
	for _, bad := range []string{"relative", "vsock:2:1234", "@", "/"} {
		if m, err := FromEnvironment(environment("NOTIFY_SOCKET", bad)); m != nil || err == nil || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%q: %v, %v", bad, m, err)
		}
	}
}

func TestAManagerThatIsGoneIsAnError(t *testing.T) {
	m, err := FromEnvironment(environment("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody")))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Alive(); err == nil {
		t.Error("nobody listens, and nobody says so")
	}
}
