package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/internal/base/whole"
)

// TestRootMakesNoFolderBecauseAGatewaySaysSo: one in /etc/systemd/system that is the
// gateway's would make it root.
func TestRootMakesNoFolderBecauseAGatewaySaysSo(t *testing.T) {
	n := newNewcomer(t)
	system := filepath.Join(t.TempDir(), "ssh.service.d")
	other := t.TempDir()
	for _, dir := range []string{system, other} {
		writeFile(t, n.config(), fmt.Sprintf("[gateway]\ndata_dir = %q\n", dir))
		given(t, n.config())
		writeFile(t, n.file(), hashedBefore("[operator]\npassword = \"four unrelated words here\"\n"))
		if _, err := n.init(); err == nil || !strings.Contains(err.Error(), "is no folder of the user") || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if _, err := os.Lstat(system); err == nil || len(treeOf(t, other)) != 1 {
		t.Errorf("it was made to write %v", treeNames(treeOf(t, system, other)))
	}
	writeFile(t, n.config(), fmt.Sprintf("[gateway]\ndata_dir = %q\n", n.state))
	if err := os.Mkdir(n.state, 0o750); err != nil {
		t.Fatal(err)
	}
	given(t, n.config(), n.state)
	n.mustInit()
}

// TestDataDirBehindALinkIsTheGatewaysOwn: it is often on another disk, and whoever made the
// link is root.
func TestDataDirBehindALinkIsTheGatewaysOwn(t *testing.T) {
	n := newNewcomer(t)
	real := t.TempDir()
	given(t, real)
	if err := os.Symlink(real, n.state); err != nil {
		t.Fatal(err)
	}
	writeFile(t, n.file(), hashedBefore(n.fleet()))
	n.mustInit()
	for _, path := range []string{n.config(), filepath.Join(real, "operator.json")} {
		if is, _, err := ownerOf(path); err != nil || is.UID != aGateway {
			t.Errorf("%s is user %d's, %v", path, is.UID, err)
		}
	}
}

// TestWhatWasAppliedIsTakenAwayWhenThatIsPossible: its secrets are on the card as long.
func TestWhatWasAppliedIsTakenAwayWhenThatIsPossible(t *testing.T) {
	n := newNewcomer(t)
	writeFile(t, n.file(), hashedBefore(n.fleet()))
	way := filepath.Join(n.boot, initDone)
	writeFile(t, filepath.Join(way, "in the way"), "")
	if _, err := n.init(); err == nil {
		t.Fatal("nothing is in the way")
	}
	if err := os.RemoveAll(way); err != nil {
		t.Fatal(err)
	}
	writeFile(t, n.config(), "# changed since\n")
	n.mustInit()
	if got := treeNames(treeOf(t, n.boot)); got != "boot boot/tidegate-init.done boot/tidegate-init.log" || readFile(t, n.config()) != "# changed since\n" {
		t.Errorf("on the card: %s", got)
	}
}

func TestAFolderInTheWayOfAFileIsNamed(t *testing.T) {
	n := newNewcomer(t)
	writeFile(t, filepath.Join(n.etc, "ca.pem", "x"), "")
	writeFile(t, n.file(), hashedBefore(n.fleet()))
	if _, err := n.init(); err == nil || !strings.Contains(err.Error(), "ca.pem") || !strings.Contains(err.Error(), " — hint: a folder is in its place") {
		t.Errorf("%v", err)
	}
	if log := readFile(t, filepath.Join(n.boot, initLog)); !strings.Contains(log, "a folder is in its place") {
		t.Errorf("the card says %s", log)
	}
	if _, err := os.Lstat(whole.Temp(filepath.Join(n.etc, "ca.pem"))); err == nil {
		t.Error("its text is left behind")
	}
}

func TestUsersDoNotGoIntoTheConfigurationsOwnFiles(t *testing.T) {
	for _, name := range []string{"tidegate.toml", "tidegate.toml.reset", "tidegate.toml.before-init"} {
		n := newNewcomer(t)
		writeFile(t, n.file(), fmt.Sprintf("[ingest.mqtt]\npassword_file = %q\n[users]\na = \"long enough\"\n", filepath.Join(n.etc, name)))
		if _, err := n.init(); err == nil || !strings.Contains(err.Error(), "write password_file = ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFileThatCannotBeReadIsToldOnTheCard(t *testing.T) {
	n := newNewcomer(t)
	writeFile(t, n.file(), strings.Repeat("# x\n", 300_000))
	if _, err := n.init(); err == nil {
		t.Error("nothing is wrong with it")
	}
	if log := readFile(t, filepath.Join(n.boot, initLog)); !strings.Contains(log, "larger than 1024 KiB") {
		t.Errorf("the card says %s", log)
	}
}

// TestABrokenFileTellsNoSecret: what is wrong is told on the card, which anybody can read.
func TestABrokenFileTellsNoSecret(t *testing.T) {
	for _, line := range []string{`a = hunter2`, `a = "hunter2`, `a = 'hunter2`, `a = "hunter2" x`, `a = "\qhunter2"`, `a = "x"` + "\n" + `a = "hunter2"`,
		`a = ["hunter2"]`, `a = {b = "hunter2"}`, "a = \"\"\"hunter2\n", `a "hunter2"`, "a = \"hunter2\x01\"", "a = \"hunter2\xff\""} {
		for _, table := range initTables() {
			_, err := parseInit("fleet", []byte("["+table+"]\n"+line+"\n"), "/etc/tidegate/tidegate.toml", Default(), nil)
			if err == nil {
				err = errors.New("nothing is wrong")
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "unter") {
				t.Errorf("%s: %q: %v", table, line, err)
			}
		}
	}
}

// TestAURLThatIsWrongTellsNoPassword: it stands in the configuration part of the file.
func TestAURLThatIsWrongTellsNoPassword(t *testing.T) {
	for _, url := range []string{"https://gw:hunter2@host:99999/", "htps://gw:hunter2@host/", "https://gw:hunter2@/", "https://gw:hunter2@host/%zz", "https://gw:hunter2@host/#x"} {
		_, err := parseInit("fleet", fmt.Appendf(nil, "[[uplink.http]]\nname = \"cloud\"\nurl = %q\n", url), "/etc/tidegate/tidegate.toml", Default(), nil)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
