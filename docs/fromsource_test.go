package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// elsewhereRooted matches the paths in a block of commands that a machine has, not the
// repository.
var elsewhereRooted = regexp.MustCompile(`(^|\s)(/(?:etc|usr)/)`)

// installed runs a block that installs, with a folder in the place of the machine: systemd
// takes one as its root. Nothing is booted in there, so nothing is started or reloaded; a file
// stands for the program, and owners are those of the folder's own /etc/passwd.
func installed(t *testing.T, text, machine string) {
	t.Helper()
	for _, folder := range []string{"usr/bin", "etc/systemd/system"} {
		if err := os.MkdirAll(filepath.Join(machine, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(t.TempDir(), "tidegate")
	if err := os.WriteFile(program, []byte("#!/bin/true\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	text = elsewhereRooted.ReplaceAllString(text, "${1}"+machine+"${2}")
	text = regexp.MustCompile(`(?m)^sudo systemctl daemon-reload.*$`).ReplaceAllString(text, "")
	text = strings.NewReplacer("sudo ", "", " bin/tidegate ", " "+program+" ", " --now", "",
		"systemd-sysusers", "systemd-sysusers --root="+machine, "systemd-tmpfiles", "systemd-tmpfiles --root="+machine,
		"systemctl", "systemctl --root="+machine, "=tidegate ", "=$(owner) ").Replace(text)
	cmd := exec.Command("sh", "-euc", "owner() { sed -n 's/^tidegate:x:\\([0-9]*\\):.*/\\1/p' "+machine+"/etc/passwd; }\n"+text)
	cmd.Dir = root
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, text, said)
	}
}

// TestFromSourceInstallsWhatTheGatewayNeeds runs the lines of docs/start/install.md, twice:
// an upgrade is the same lines, and leaves the configuration alone.
func TestFromSourceInstallsWhatTheGatewayNeeds(t *testing.T) {
	blocks := blocksOf(t, "docs/start/install.md")
	at := slices.IndexFunc(blocks, func(b block) bool { return strings.Contains(b.text, " bin/tidegate ") })
	if at < 0 {
		t.Fatal("the page does not install bin/tidegate any more")
	}
	if os.Getuid() != 0 {
		t.Skip("gives files to others, which only root may")
	}
	for _, tool := range []string{"systemd-sysusers", "systemd-tmpfiles", "systemctl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s: apt-get install systemd", tool)
		}
	}
	machine := t.TempDir()
	installed(t, blocks[at].text, machine)
	configuration := filepath.Join(machine, "/etc/tidegate/tidegate.toml")
	if err := os.WriteFile(configuration, []byte("schema = 1 # mine\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	installed(t, blocks[at].text, machine)
	if text, err := os.ReadFile(configuration); err != nil || !strings.Contains(string(text), "mine") {
		t.Errorf("the same lines again have taken the configuration away: %q, %v", text, err)
	}
	ours := owner(t, machine, "/var/lib/tidegate")
	if ours == 0 {
		t.Error("/var/lib/tidegate is root's")
	}
	for path, want := range map[string]struct {
		mode  os.FileMode
		owner uint32
	}{
		"/usr/bin/tidegate":                          {0o755, 0},
		"/etc/tidegate":                              {0o755, ours},
		"/etc/tidegate/tidegate.toml":                {0o640, ours},
		"/etc/credstore/tidegate":                    {0o700, 0},
		"/var/lib/tidegate":                          {0o750, ours},
		"/etc/udev/rules.d/60-tidegate.rules":        {0o644, 0},
		"/etc/systemd/system/tidegate-init.service":  {0o644, 0},
		"/etc/systemd/system/tidegate-clock.service": {0o644, 0},
		"/etc/systemd/system/tidegate.service":       {0o644, 0},
	} {
		info, err := os.Stat(filepath.Join(machine, path))
		if err != nil || info.Mode().Perm() != want.mode || owner(t, machine, path) != want.owner {
			t.Errorf("%s: %v, %v, owner %d; want %v, %d", path, err, info.Mode(), owner(t, machine, path), want.mode, want.owner)
		}
	}
	for _, wanted := range []string{"multi-user.target.wants/tidegate", "tidegate.service.wants/tidegate-init", "tidegate.service.wants/tidegate-clock"} {
		if _, err := os.Lstat(filepath.Join(machine, "etc/systemd/system", wanted+".service")); err != nil {
			t.Errorf("%s is not enabled: %v", filepath.Base(wanted), err)
		}
	}
}

func owner(t *testing.T, machine, path string) uint32 {
	t.Helper()
	var found syscall.Stat_t
	if err := syscall.Stat(filepath.Join(machine, path), &found); err != nil {
		t.Fatal(err)
	}
	return found.Uid
}
