// Package packaging_test holds what goes into the Debian packages against what it is
// made of: pages and completions against the programs, the package's papers against
// the code. "make deb-check" tests the packages themselves.
package packaging_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/daemon"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// TestMain lets this test be the programs: called by one of their names, it does what
// they do.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "tidegate":
		os.Exit(daemon.Main(os.Args[1:], os.Stdout, os.Stderr))
	case "firmware-sim":
		os.Exit(firmwaresim.Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// programs returns a folder with the three programs.
func programs(t *testing.T) string {
	t.Helper()
	t.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector ends a program a second late
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"tidegate", "firmware-sim"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "", "go", "build", "-o", filepath.Join(dir, "tidegate-cloud"), "../cmd/tidegate-cloud")
	return dir
}

// made returns a folder with what one of the makers here makes of the programs.
func made(t *testing.T, maker, bin string) string {
	t.Helper()
	dir := t.TempDir()
	run(t, "", "go", "run", "./"+maker, "-bin", bin, "-o", dir)
	return dir
}

// run returns what a command prints on standard output, and fails unless it ends
// well.
func run(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return stdout.String()
}

// need skips the test where a tool is missing.
func need(t *testing.T, tool, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(tool); errors.Is(err, exec.ErrNotFound) {
		t.Skipf("no %s: apt-get install %s", tool, pkg)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestChangelogHasTheVersionOfTheProgram(t *testing.T) {
	first, _, _ := strings.Cut(read(t, "debian/changelog"), "\n")
	if !strings.HasPrefix(first, "tidegate ("+daemon.Version+") ") {
		t.Errorf("debian/changelog begins with %q, the program says %s", first, daemon.Version)
	}
	if !regexp.MustCompile(`(?m)^## .*\b` + regexp.QuoteMeta(daemon.Version) + `\b`).MatchString(read(t, "../CHANGELOG.md")) {
		t.Errorf("CHANGELOG.md has no version %s", daemon.Version)
	}
}

// TestShippedConfiguration: a gateway starts with it, and it says nothing that is not
// so by default. It must stay as it is from version to version: dpkg asks whoever has
// changed theirs about every change of ours.
func TestShippedConfiguration(t *testing.T) {
	text := read(t, "tidegate.toml")
	if _, err := daemon.Parse("tidegate.toml", []byte(text)); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "schema = ") && line != "\n" {
			t.Errorf("%q: what is set here cannot change with the program any more", line)
		}
	}
}

// TestPackagesShipWhatIsThere looks for every file that the lists of debian/ name and
// that is no product of packaging/build.
func TestPackagesShipWhatIsThere(t *testing.T) {
	build := read(t, "build")
	for _, want := range []string{"packaging/debian", "packaging/grafana", "packaging/prometheus", "packaging/tidegate.toml", "CHANGELOG.md", "docs/operate/install.md", "docs/operate/upgrade.md", "daemon/example.toml"} {
		if !strings.Contains(build, want) {
			t.Errorf("packaging/build does not copy %s", want)
		}
		if _, err := os.Stat(filepath.Join("..", want)); err != nil {
			t.Error(err)
		}
	}
	units, err := filepath.Glob("../systemd/*.service")
	if err != nil || len(units) == 0 {
		t.Fatalf("no units: %v", err)
	}
	for _, u := range units {
		if name := strings.TrimSuffix(filepath.Base(u), ".service"); !strings.Contains(build, ":"+name) {
			t.Errorf("systemd/%s.service is in no package: packaging/build has a list", name)
		}
	}
}

// TestUserAndFolders applies sysusers.d and tmpfiles.d to an empty root.
func TestUserAndFolders(t *testing.T) {
	need(t, "systemd-sysusers", "systemd")
	need(t, "systemd-tmpfiles", "systemd")
	if os.Getuid() != 0 {
		t.Skip("only root can give files to the gateway's user")
	}
	root := t.TempDir()
	write := func(path, text string, mode os.FileMode) {
		path = filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode)); err != nil {
			t.Fatal(err)
		}
	}
	write("etc/credstore/tidegate/token", "secret", 0o644)
	write("usr/lib/sysusers.d/tidegate.conf", read(t, "debian/tidegate.sysusers"), 0o644)
	write("usr/lib/tmpfiles.d/tidegate.conf", read(t, "debian/tidegate.tmpfiles"), 0o644)
	run(t, "", "systemd-sysusers", "--root="+root, "tidegate.conf")
	run(t, "", "systemd-tmpfiles", "--root="+root, "--create", "tidegate.conf")
	user := regexp.MustCompile(`(?m)^tidegate:x:(\d+):(\d+):[^:]*:/var/lib/tidegate:.*nologin$`).FindStringSubmatch(read(t, filepath.Join(root, "etc/passwd")))
	if user == nil {
		t.Fatalf("no user tidegate with that home and no shell:\n%s", read(t, filepath.Join(root, "etc/passwd")))
	}
	for path, want := range map[string]string{
		"etc/tidegate":                 "755 " + user[1] + " " + user[2],
		"etc/credstore/tidegate":       "700 0 0",
		"etc/credstore/tidegate/token": "600 0 0",
		"var/lib/tidegate":             "750 " + user[1] + " " + user[2],
	} {
		if got := strings.TrimSpace(run(t, "", "stat", "-c", "%a %u %g", filepath.Join(root, path))); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}
