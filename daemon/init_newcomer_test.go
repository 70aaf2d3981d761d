package daemon

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/internal/login"
	"github.com/tidegate/tidegate/internal/passwd"
)

// newcomer is a machine without a gateway, and a card in it.
type newcomer struct {
	*testing.T
	etc, state, boot, credentials string
	out                           bytes.Buffer
}

func newNewcomer(t *testing.T) *newcomer {
	dir := t.TempDir()
	n := &newcomer{T: t, etc: filepath.Join(dir, "tidegate"), state: filepath.Join(dir, "state"), boot: filepath.Join(dir, "boot"), credentials: filepath.Join(dir, "systemd")}
	for _, dir := range []string{n.etc, n.boot, n.credentials} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func (n *newcomer) config() string { return filepath.Join(n.etc, "tidegate.toml") }
func (n *newcomer) file() string   { return filepath.Join(n.boot, initName) }

// hashedBefore hashes as passwords of the page's file were, in fewer rounds than it takes to
// be safe: there is one test for that.
func hashedBefore(fleet string) string {
	return strings.NewReplacer(
		`password = "four unrelated words here"`, `password_hash = "$7$7$MDEyMzQ1Njc4OWFi$Cq4XeOsG87CWynItyAPZGNIrO71K8csT6mK/+a26j2ufWxy1Kloeg+9jHWqAplAMy/diTpSzAjHDbu/tTyGSdg=="`,
		`"pump-7" = "pump-7-secret"`, `"pump-7" = "$7$7$MDEyMzQ1Njc4OWFi$Pf2NEwaA+bI7vb6d/ZxJ+Wav9NTfTKp0IjsZHzdCEape9yOFeBPC+1VhcDyxSYrR3VgKUSZINI28beeIa4/2HQ=="`,
	).Replace(fleet)
}

// fleet is the file of the page, with the paths of this machine.
func (n *newcomer) fleet() string {
	n.Helper()
	text, err := os.ReadFile(fleetPage)
	if err != nil {
		n.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```toml init\n")
	block, _, found := strings.Cut(rest, "```\n")
	if !found {
		n.Fatal("the page shows no file")
	}
	block = strings.ReplaceAll(block, "/etc/tidegate/", n.etc+"/")
	return strings.Replace(block, "[gateway]\n", fmt.Sprintf("[gateway]\ndata_dir = %q\n", n.state), 1)
}

// secrets are what must never be told.
func (n *newcomer) secrets() []string {
	return []string{"3xLqtv8hTbW1", "four unrelated words here", "pump-7-secret"}
}

func (n *newcomer) init(args ...string) (*initCall, error) {
	n.out.Reset()
	c := &initCall{
		call:        call{stdout: &n.out, stderr: &n.out, flags: flag.NewFlagSet("init", flag.ContinueOnError), file: n.config()},
		credentials: n.credentials, boots: []string{filepath.Join(n.boot, "firmware"), n.boot},
	}
	c.dryRun = slices.Contains(args, "-dry-run")
	if len(args) > 0 && args[len(args)-1] != "-dry-run" {
		c.from = args[len(args)-1]
	}
	return c, c.run(n.Context())
}

func (n *newcomer) mustInit(args ...string) string {
	n.Helper()
	if _, err := n.init(args...); err != nil {
		n.Fatalf("%v\n%s", err, &n.out)
	}
	return n.out.String()
}

// treeOf returns every file below the folders, by name, with mode and content.
func treeOf(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					return nil
				}
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			text := []byte("folder")
			if info.Mode().IsRegular() {
				text, err = os.ReadFile(path)
			}
			name, _ := filepath.Rel(filepath.Dir(dir), path)
			tree[name] = fmt.Sprintf("%v %s", info.Mode(), text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func treeNames(tree map[string]string) string {
	return strings.Join(slices.Sorted(maps.Keys(tree)), " ")
}

// provisioned fails unless the machine is what the fleet's file wants.
func (n *newcomer) provisioned() {
	n.Helper()
	cfg, err := Parse("config", withSecrets(n.config(), []byte(readFile(n.T, n.config())), nil))
	if err != nil {
		n.Fatal(err)
	}
	if id, err := cfg.Gateway.Identity(); err != nil || !strings.HasPrefix(id, "farm-") {
		n.Errorf("it is called %q, %v", id, err)
	}
	if got := readFile(n.T, filepath.Join(credentialStore(n.config()), "cloud.token")); got != "3xLqtv8hTbW1" {
		n.Errorf("the token is %q", got)
	}
	if got := readFile(n.T, filepath.Join(n.etc, "ca.pem")); !strings.HasPrefix(got, "-----BEGIN CERTIFICATE-----\n") {
		n.Errorf("ca.pem is %q", got)
	}
	users, err := passwd.Read(filepath.Join(n.etc, "passwords"))
	if err != nil || !users.Check(n.Context(), "pump-7", []byte("pump-7-secret")) {
		n.Errorf("users: %v", err)
	}
	if operated, err := login.Peek(n.state, passwd.ParseHash); err != nil || !operated {
		n.Errorf("operated %v, %v", operated, err)
	}
	for path, mode := range map[string]fs.FileMode{credentialStore(n.config()): 0o700 | fs.ModeDir, filepath.Join(credentialStore(n.config()), "cloud.token"): 0o600, filepath.Join(n.etc, "passwords"): 0o640, filepath.Join(n.etc, "ca.pem"): 0o644} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			n.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}
