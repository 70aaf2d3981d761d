package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// credentialFiles makes files of these names in fresh folders.
func credentialFiles(t *testing.T, given, unit, store []string) credentials {
	t.Helper()
	make := func(names []string) string {
		dir := t.TempDir()
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("hush"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	c := credentials{given: make(given), unit: make(unit), store: make(store)}
	if given == nil {
		c.given = ""
	}
	return c
}

func TestWhereACredentialIs(t *testing.T) {
	here := []string{"tidegate_a"}
	for _, c := range []struct {
		name               string
		given, unit, store []string
		want               func(c credentials) string
	}{
		{"in the unit", here, here, []string{"a"}, func(c credentials) string { return c.given + "/tidegate_a" }},
		{"beside the unit that runs", nil, here, []string{"a"}, func(c credentials) string { return c.unit + "/tidegate_a" }},
		{"before it runs", nil, nil, []string{"a"}, func(c credentials) string { return c.store + "/a" }},
	} {
		from := credentialFiles(t, c.given, c.unit, c.store)
		if got, err := from.file("a"); got != c.want(from) || err != nil {
			t.Errorf("%s: got %q, %v", c.name, got, err)
		}
	}
}

func TestAMissingCredentialTellsWhichFileToMake(t *testing.T) {
	for name, from := range map[string]credentials{
		"in the unit":  credentialFiles(t, []string{"tidegate_b"}, []string{"tidegate_a"}, []string{"a"}), // the unit is another's
		"no folder":    {store: filepath.Join(t.TempDir(), "none"), unit: filepath.Join(t.TempDir(), "none")},
		"empty folder": credentialFiles(t, []string{}, nil, nil),
	} {
		_, err := from.file("a")
		if err == nil || !strings.Contains(err.Error(), from.store+"/a, owner root, mode 0600") || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNamesOfCredentials(t *testing.T) {
	from := credentialFiles(t, nil, nil, []string{"a"})
	for _, bad := range []string{"", "../shadow", "a/b", ".a", "a b", "a\x00", strings.Repeat("a", maxCredential+1)} {
		if file, err := from.file(bad); file != "" || err == nil || !strings.Contains(err.Error(), "no name of a credential") {
			t.Errorf("%q: %q, %v", bad, file, err)
		}
	}
}

// Whoever may not look into the folders can still find a gateway that runs.
func TestACredentialThatIsHiddenIsNoError(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may look everywhere")
	}
	from := credentialFiles(t, nil, []string{"tidegate_a"}, nil)
	if err := os.Chmod(from.unit, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := from.file("a"); err != nil {
		t.Error(err)
	}
}

func TestEveryKeyOfAFileTakesACredential(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	file := filepath.Join(dir, "tidegate_cloud.token")
	if err := os.WriteFile(file, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := Parse("tidegate.toml", []byte(`
[[uplink.http]]
name = "north"
url = "https://a.example/"
token_file = "credential:cloud.token"
tls_ca = "credential:cloud.token"
[[command.http]]
name = "south"
url = "https://a.example/"
token_file = "credential:cloud.token"
`))
	if err != nil {
		t.Fatal(err)
	}
	if u := cfg.Uplink.HTTP[0]; u.TokenFile != file || u.TLSCA != file || cfg.Command.HTTP[0].TokenFile != file {
		t.Errorf("got %+v and %+v", u, cfg.Command.HTTP[0])
	}
	var far Config
	if err := far.mayBecomeFromAfar(cfg, "/etc/tidegate/tidegate.toml"); err != nil {
		t.Errorf("the page may name a credential: %v", err)
	}
}

func TestAMissingCredentialIsFoundInTheFile(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", t.TempDir())
	_, err := Parse("tidegate.toml", []byte("[[uplink.http]]\nname = \"north\"\nurl = \"https://a.example/\"\ntoken_file = \"credential:cloud.token\"\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "tidegate.toml:4:") || !strings.Contains(err.Error(), "/etc/credstore/tidegate/cloud.token") {
		t.Error(err)
	}
}

// "tidegate passwd" must not change what systemd has made of a credential, which is gone
// with the next start.
func TestAPasswordIsChangedWhereItsCredentialComesFrom(t *testing.T) {
	c := credentials{given: "/run/given", unit: "/run/unit", store: "/etc/store"}
	for file, want := range map[string]string{
		"/run/given/tidegate_users": "/etc/store/users", "/run/unit/tidegate_users": "/etc/store/users", "/etc/store/users": "/etc/store/users",
	} {
		if got, restart := c.source(file); got != want || !restart {
			t.Errorf("%s comes from %s, to be given at the start: %v", file, got, restart)
		}
	}
	for _, file := range []string{"/etc/tidegate/users", "/etc/tidegate/tidegate_users", "users", "/run/unit/users"} {
		if got, restart := c.source(file); got != file || restart {
			t.Errorf("%s comes from %s, to be given at the start: %v", file, got, restart)
		}
	}
}
