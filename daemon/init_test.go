package daemon

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fleetPage says how to provision; its first block of TOML is a whole provisioning file.
const fleetPage = "../docs/operate/provisioning.md"

func TestAFileOnTheBootPartitionMakesAGateway(t *testing.T) {
	n := newNewcomer(t)
	writeFile(t, n.config(), "[log]\nlevel = \"warn\"\n")
	writeFile(t, n.file(), n.fleet())
	said := n.mustInit()
	n.provisioned()
	log := readFile(t, filepath.Join(n.boot, initLog))
	done := readFile(t, filepath.Join(n.boot, initDone))
	for _, text := range []string{said, log, done, readFile(t, n.config())} {
		for _, secret := range n.secrets() {
			if strings.Contains(text, secret) {
				t.Errorf("%q is told: %s", secret, text)
			}
		}
	}
	if !strings.HasSuffix(log, said) || !strings.Contains(said, "this gateway is farm-") || !strings.Contains(done, `"cloud.token" = "***"`) {
		t.Errorf("said:\n%s\nlog:\n%s\ndone:\n%s", said, log, done)
	}
	if got := readFile(t, n.config()+beforeInit); got != "[log]\nlevel = \"warn\"\n" {
		t.Errorf("what was before: %q", got)
	}
	if got := treeNames(treeOf(t, n.boot)); got != "boot boot/tidegate-init.done boot/tidegate-init.log" {
		t.Errorf("on the card: %s", got)
	}
	before := treeOf(t, n.etc, n.state)
	if said := n.mustInit(); !strings.Contains(said, "nothing to apply") || !maps.Equal(before, treeOf(t, n.etc, n.state)) {
		t.Errorf("the next boot: %s", said)
	}
}

// TestAnEditorOfWindowsMakesAGateway: it adds a mark of its own, ends lines in two
// characters, and adds to the name what Windows then hides.
func TestAnEditorOfWindowsMakesAGateway(t *testing.T) {
	n := newNewcomer(t)
	writeFile(t, n.file()+".txt", "\xef\xbb\xbf[gateway]\r\nid = \"farm-7\"\r\n[credential]\r\na = \"s3cret\"\r\n")
	n.mustInit()
	if cfg, err := Parse("config", []byte(readFile(t, n.config()))); err != nil || cfg.Gateway.ID != "farm-7" || readFile(t, filepath.Join(credentialStore(n.config()), "a")) != "s3cret" {
		t.Errorf("%+v, %v", cfg.Gateway, err)
	}
	if got := treeNames(treeOf(t, n.boot)); got != "boot boot/tidegate-init.done boot/tidegate-init.log" {
		t.Errorf("on the card: %s", got)
	}
}

// TestAPowerCutWhileAGatewayIsSetUpIsHarmless stops before each step.
func TestAPowerCutWhileAGatewayIsSetUpIsHarmless(t *testing.T) {
	errCut := errors.New("power cut")
	for cut := 0; ; cut++ {
		n := newNewcomer(t)
		writeFile(t, n.config(), "")
		writeFile(t, n.file(), hashedBefore(n.fleet()))
		c, _ := n.init("-dry-run")
		c.dryRun = false
		steps, replaced := 0, false
		c.before = func(what string) error {
			if steps++; steps > cut {
				return errCut
			}
			replaced = replaced || strings.HasPrefix(what, n.config())
			return nil
		}
		err := c.run(t.Context())
		if err == nil {
			if cut < 6 {
				t.Fatalf("only %d steps", cut)
			}
			return
		}
		if !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		if got := readFile(t, n.config()); (got != "") != replaced {
			t.Errorf("cut %d: the configuration counts before what it names is there", cut)
		}
		n.mustInit()
		n.provisioned()
		if got := readFile(t, n.config()+beforeInit); got != "" {
			t.Errorf("cut %d: what was before is %q", cut, got)
		}
	}
}

func TestWhatIsWrongChangesNothingAndIsToldOnTheCard(t *testing.T) {
	const operator = "[operator]\npassword = "
	for what, c := range map[string]struct{ text, want string }{
		"no TOML":                 {"[gateway\n", ":1:9: "},
		"a copy that did not end": {"", "says nothing"},
		"nothing but comments":    {"# the farm's\n", "says nothing"},
		"UTF-16":                  {"\xff\xfe[\x00l\x00o\x00g\x00]\x00", "save it as UTF-8"},
		"the configuration":       {"[credential]\na = \"s3cret\"\n[gateway]\nid = \"a b\"\n", ":4:6: gateway.id: "},
		"a typo":                  {"[credentials]\na = \"s3cret\"\n", `did you mean "credential`},
		"a number as a secret":    {"[credential]\na = 739105\n", ":2:5: credential.a: is no text"},
		"a way out":               {"[credential]\n\"../a\" = \"s3cret\"\n", ":2:10: credential.\"../a\": \"../a\" is no name"},
		"a hidden file":           {"[file]\n\".a\" = \"\"\n", "is no name of a file"},
		"an empty secret":         {"[credential]\na = \"\"\n", "has 0 bytes"},
		"a long secret":           {"[credential]\na = \"" + strings.Repeat("s3cret", 11000) + "\"\n", "has 66000 bytes"},
		"many secrets":            {"[credential]\n" + manyLines(101, "s3cret"), "has 101 names"},
		"the configuration twice": {"[file]\n\"tidegate.toml\" = \"\"\n", "has another use"},
		"its trial":               {"[file]\n\"tidegate.toml.trial\" = \"\"\n", "has another use"},
		"a short password":        {operator + "\"s3cret\"\n", ":2:12: operator.password: the password is too short"},
		"a password unquoted":     {operator + "73910573910\n", "is no text"},
		"no hash":                 {"[operator]\npassword_hash = \"s3cret\"\n", "is no hash"},
		"two passwords":           {operator + "\"s3cret s3cret\"\npassword_hash = \"$7$\"\n", "take one of the two out"},
		"no password":             {"[operator]\n", "says nothing"},
		"another key":             {"[operator]\nuser = \"s3cret\"\n", ":2:8: operator.user: unknown key"},
		"users without a file":    {"[users]\na = \"s3cret\"\n", "write password_file = "},
		"users in a far file":     {"[ingest.mqtt]\npassword_file = \"/etc/shadow\"\n[users]\na = \"s3cret\"\n", "write password_file = "},
		"a bad user":              {"[ingest.mqtt]\npassword_file = \"ETC/passwords\"\n[users]\n\"a:b\" = \"s3cret\"\n", ":4:9: users.\"a:b\": "},
	} {
		t.Run(what, func(t *testing.T) {
			n := newNewcomer(t)
			writeFile(t, n.config(), fmt.Sprintf("[gateway]\ndata_dir = %q\n", n.state))
			writeFile(t, n.file(), strings.ReplaceAll(c.text, "ETC", n.etc))
			before := treeOf(t, n.etc, n.state)
			_, err := n.init()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v", err)
			}
			if !maps.Equal(before, treeOf(t, n.etc, n.state)) {
				t.Errorf("something was written: %s", treeNames(treeOf(t, n.etc, n.state)))
			}
			log := readFile(t, filepath.Join(n.boot, initLog))
			if !strings.Contains(log, "did not work") || !strings.Contains(log, c.want) {
				t.Errorf("the card says %s", log)
			}
			if strings.Contains(log+n.out.String()+err.Error(), "s3cret") || strings.Contains(log, "73910") {
				t.Errorf("a secret is told: %s", log)
			}
			if _, err := os.Stat(n.file()); err != nil {
				t.Errorf("the file is gone: %v", err)
			}
		})
	}
}

func manyLines(count int, value string) string {
	var b strings.Builder
	for i := range count {
		fmt.Fprintf(&b, "n%d = %q\n", i, value)
	}
	return b.String()
}

func TestARehearsalWritesAndTellsNothing(t *testing.T) {
	n := newNewcomer(t)
	writeFile(t, n.file(), n.fleet())
	before := treeOf(t, n.etc, n.state, n.boot)
	said := n.mustInit("-dry-run")
	if !maps.Equal(before, treeOf(t, n.etc, n.state, n.boot)) {
		t.Errorf("there is %s", treeNames(treeOf(t, n.etc, n.state, n.boot)))
	}
	for _, want := range []string{"would write " + filepath.Join(credentialStore(n.config()), "cloud.token") + " (a secret)", "passwords (1 user)", "would write the operator's password", "would write " + n.config()} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	for _, secret := range n.secrets() {
		if strings.Contains(said, secret) {
			t.Errorf("%q is told", secret)
		}
	}
}

// TestACredentialCountsOnce provisions from systemd's credential, which is there at every
// boot: what somebody has changed since stays.
func TestACredentialCountsOnce(t *testing.T) {
	n := newNewcomer(t)
	path := filepath.Join(n.credentials, initCredential)
	writeFile(t, path, hashedBefore(n.fleet()))
	writeFile(t, n.file(), "[log]\nlevel = \"debug\"\n") // comes after it
	n.mustInit()
	n.provisioned()
	changed := readFile(t, n.config()) + "\n[log]\nlevel = \"warn\"\n"
	writeFile(t, n.config(), changed)
	if said := n.mustInit(); !strings.Contains(said, "was applied before") || readFile(t, n.config()) != changed {
		t.Errorf("the next boot: %s", said)
	}
	if said := n.mustInit(path); !strings.Contains(said, "wrote "+n.config()) {
		t.Errorf("by hand: %s", said)
	}
	writeFile(t, path, hashedBefore(n.fleet())+"\n[log]\nlevel = \"error\"\n")
	if n.mustInit(); !strings.Contains(readFile(t, n.config()), `"error"`) {
		t.Error("another credential is not applied")
	}
}

// TestPasswordsAreHashedByTheStepsThatWriteThem: a credential is understood at every boot,
// and hashing what is in it would take longer than all the rest.
func TestPasswordsAreHashedByTheStepsThatWriteThem(t *testing.T) {
	n := newNewcomer(t)
	writeFile(t, filepath.Join(n.credentials, initCredential), n.fleet())
	p, err := parseInit("fleet", []byte(n.fleet()), n.config(), Default(), nil)
	if err != nil {
		t.Fatal(err)
	}
	understood := fmt.Sprintf("%s", any(p)) // texts that are bytes, too
	if strings.Contains(understood, "$7$") || !strings.Contains(understood, "pump-7-secret") {
		t.Errorf("understood: %s", understood)
	}
	for _, hashes := range []bool{true, false} {
		c, _ := n.init("-dry-run")
		steps := 0
		c.before = func(string) error { steps++; return nil }
		if err := c.run(t.Context()); err != nil || steps > 0 {
			t.Errorf("a rehearsal: %d steps, %v", steps, err)
		}
		c.dryRun = false
		if err := c.run(t.Context()); err != nil || hashes != (steps > 0) {
			t.Errorf("hashes %v: %d steps, %v", hashes, steps, err)
		}
		for _, path := range []string{filepath.Join(n.etc, "passwords"), filepath.Join(n.state, "operator.json")} {
			if text := readFile(t, path); !strings.Contains(text, "$7$") || strings.Contains(text, "pump-7-secret") || strings.Contains(text, "unrelated") {
				t.Errorf("%s holds %s", path, text)
			}
		}
	}
}

// TestACardThatCannotBeWrittenIsAppliedOnce lets something be in the way.
func TestACardThatCannotBeWrittenIsAppliedOnce(t *testing.T) {
	n := newNewcomer(t)
	writeFile(t, n.file(), hashedBefore(n.fleet()))
	writeFile(t, filepath.Join(n.boot, initDone, "in the way"), "")
	if _, err := n.init(); err == nil || !strings.Contains(err.Error(), "stays as it is, with its secrets") {
		t.Fatalf("%v", err)
	}
	n.provisioned()
	writeFile(t, n.config(), "")
	writeFile(t, filepath.Join(n.state, "x"), "")
	// Where data_dir is says the file itself.
	if said := n.mustInit(); !strings.Contains(said, "was applied before") || readFile(t, n.config()) != "" {
		t.Errorf("the next boot: %s", said)
	}
}

func TestSecretsAloneLeaveTheConfiguration(t *testing.T) {
	n := newNewcomer(t)
	config := fmt.Sprintf("[gateway]\ndata_dir = %q\n", n.state)
	writeFile(t, n.config(), config)
	writeFile(t, n.file(), "# another token\n[credential]\n\"cloud.token\" = \"new\"\n")
	n.mustInit()
	if got := readFile(t, n.config()); got != config {
		t.Errorf("the configuration is %q", got)
	}
	if got := treeNames(treeOf(t, n.etc, filepath.Dir(credentialStore(n.config())))); got != "credstore credstore/tidegate credstore/tidegate/cloud.token tidegate tidegate/tidegate.toml" {
		t.Errorf("there is %s", got)
	}
}

// TestSecretsAreFoundBeforeTheyAreHanded: the configuration is read before systemd has
// given the gateway what it names.
func TestSecretsAreFoundBeforeTheyAreHanded(t *testing.T) {
	n := newNewcomer(t)
	writeFile(t, filepath.Join(credentialStore(n.config()), "there"), "x")
	for text, want := range map[string]string{
		`a = "credential:given"`:   fmt.Sprintf("a = %q", filepath.Join(credentialStore(n.config()), "given")),
		`a = 'credential:there'`:   fmt.Sprintf("a = %q", filepath.Join(credentialStore(n.config()), "there")),
		`a = "credential:nobody"`:  `a = "credential:nobody"`,
		`a = "credential:../a"`:    `a = "credential:../a"`,
		`a = "a credential:there"`: `a = "a credential:there"`,
	} {
		if got := string(withSecrets(n.config(), []byte(text), map[string]string{"given": "x"})); got != want {
			t.Errorf("%s became %s", text, got)
		}
	}
}

// TestNobodyLeadsRootAway puts links where root is going to write.
func TestNobodyLeadsRootAway(t *testing.T) {
	for _, name := range []string{"tidegate.toml", "../credstore/tidegate", "ca.pem", "passwords", "tidegate.toml" + beforeInit} {
		n := newNewcomer(t)
		away := t.TempDir()
		writeFile(t, filepath.Join(away, "precious"), "precious")
		target := filepath.Join(away, "precious")
		if filepath.Base(name) == "tidegate" {
			target = away
			if err := os.Mkdir(filepath.Join(n.etc, "../credstore"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(target, filepath.Join(n.etc, name)); err != nil {
			t.Fatal(err)
		}
		writeFile(t, n.file(), hashedBefore(n.fleet()))
		_, err := n.init()
		refused := name == "tidegate.toml" || filepath.Base(name) == "tidegate"
		if refused != (err != nil) || refused && !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%s: %v", name, err)
		}
		if got := readFile(t, filepath.Join(away, "precious")); got != "precious" || len(treeOf(t, away)) != 2 {
			t.Errorf("%s: outside is %v", name, treeOf(t, away))
		}
	}
}

// FuzzInit gives parseInit whatever there is: it must not show secrets, and what it would
// write must be what it has understood.
func FuzzInit(f *testing.F) {
	for _, seed := range []string{"", "[gateway]\nid = \"a\"\n[credential]\na = \"hunter2\"\n", "credential = {a = \"hunter2\"}\n", "# c\n\n[file]\na = '''\n# x'''\n[log]\n#d\nlevel=\"warn\"", "[operator]\npassword_hash=\"$6$c2FsdA==$\"",
		"[operator]\npassword=\"hunter2 hunter2\"", "[ingest.mqtt]\npassword_file=\"/etc/tidegate/p\"\n[users]\na=\"hunter2\"\nb=\"$7$\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parseInit("fleet", text, "/etc/tidegate/tidegate.toml", Default(), nil)
		if err != nil {
			return
		}
		if p.config != nil {
			if _, err := Parse("config", p.config); err != nil {
				t.Errorf("%q: %v", p.config, err)
			}
		}
		if len(p.Operator) > 0 {
			return // what stands for his password is none
		}
		again, err := parseInit("done", p.done, "/etc/tidegate/tidegate.toml", Default(), nil)
		if err != nil || len(again.Credential) > len(p.Credential) || len(again.File) > len(p.File) {
			t.Errorf("%q: %v", p.done, err)
		}
		maps.Copy(again.Credential, again.Users)
		for name, secret := range again.Credential {
			if secret != "***" {
				t.Errorf("%s is %q", name, secret)
			}
		}
	})
}
