package docs_test

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// units are those that systemd starts programs by.
var units = []string{"tidegate", "tidegate-clock", "tidegate-init", "tidegate-cloud"}

// verified returns what systemd says about a unit with a drop-in: nothing if it is
// fine. The programs are not installed, so others stand for them.
func verified(t *testing.T, unit, dropIn string) string {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze: apt-get install systemd")
	}
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join(root, "systemd", unit+".service"))
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`/usr/bin/tidegate[a-z-]*`).ReplaceAll(text, []byte("/bin/true"))
	for name, text := range map[string]string{unit + ".service": string(text), unit + ".service.d/override.conf": dropIn} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	said, err := exec.Command("systemd-analyze", "verify", "--man=no", filepath.Join(dir, unit+".service")).CombinedOutput()
	if err != nil && len(said) == 0 {
		t.Fatal(err)
	}
	return string(said)
}

func TestUnitsAreTakenWithoutAWord(t *testing.T) {
	for _, unit := range units {
		if said := verified(t, unit, ""); said != "" {
			t.Errorf("%s: %s", unit, said)
		}
	}
	if said := verified(t, "tidegate", "[Service]\nNoSuchLine=yes\n"); !strings.Contains(said, "NoSuchLine") {
		t.Errorf("what is wrong in a drop-in is not found: %q", said)
	}
}

func TestDropInsAreTaken(t *testing.T) {
	n := 0
	for _, page := range pages(t) {
		for _, b := range blocksOf(t, page) {
			if b.language() != "ini" {
				continue
			}
			n++
			if said := verified(t, cmp.Or(b.rest(), "tidegate"), b.text); said != "" {
				t.Errorf("%v: %s", b, said)
			}
		}
	}
	if n == 0 {
		t.Error("no page has a drop-in any more")
	}
}

// The figure in docs/operate/systemd.md, and the bar of .ci/run.
func TestUnitsAreNoMoreExposedThanThePageSays(t *testing.T) {
	page, err := os.ReadFile("operate/systemd.md")
	if err != nil {
		t.Fatal(err)
	}
	for unit, said := range map[string]string{"tidegate": `says (\d\.\d), of 10`, "tidegate-cloud": `clock nor ports: (\d\.\d)\.`} {
		claimed := regexp.MustCompile(said).FindSubmatch(page)
		if claimed == nil {
			t.Fatalf("the page does not say %q", said)
		}
		verified(t, unit, "") // skips without systemd
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", filepath.Join(root, "systemd", unit+".service")).Output()
		found := regexp.MustCompile(`exposure level for \S+: (\d\.\d) `).FindSubmatch(out)
		if err != nil || found == nil || string(found[1]) != string(claimed[1]) {
			t.Errorf("%s: found %q, the page says %s, %v", unit, found, claimed[1], err)
		}
	}
}
