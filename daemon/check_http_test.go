package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckLooksAtTheHTTPDoor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	for _, tt := range []struct {
		text  string
		mode  os.FileMode
		level Level
		words []string
	}{
		{"pump 0123456789abcdef\n", 0o600, OK, []string{"tokens in " + file + ": 1"}},
		{"pump 0123456789abcdef\n", 0o644, Warn, []string{"everybody on this machine", "chmod o-rwx"}},
		{"# none yet\n", 0o600, Warn, []string{"no tokens", "openssl rand"}},
		{"pump secret\n", 0o600, Fail, []string{"line 1", "token of 6 bytes"}},
	} {
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, tt.mode); err != nil {
			t.Fatal(err)
		}
		k := &checklist{}
		k.http(HTTP{Listen: "127.0.0.1:0", TokenFile: file}, "")
		if len(k.findings) != 2 {
			t.Fatalf("findings: %+v", k.findings)
		}
		expect(t, k.findings[0], OK, "can listen on 127.0.0.1:0")
		expect(t, k.findings[1], tt.level, tt.words...)
		if strings.Contains(k.findings[1].What, "secret") {
			t.Error("a token is in the checklist")
		}
	}
	k := &checklist{}
	k.http(HTTP{}, "")
	if len(k.findings) != 0 {
		t.Errorf("of a door that is off: %+v", k.findings)
	}
	k.http(HTTP{Listen: "127.0.0.1:0", TokenFile: file + ".missing"}, "")
	expect(t, k.findings[1], Fail, "tokens.missing")
	k = &checklist{}
	k.http(HTTP{Listen: "127.0.0.1:0"}, "")
	expect(t, k.findings[1], OK, "lets everybody in")
}

// What is written of the HTTP door must be able to work.
func TestWrongHTTPDoorsAreRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		h    HTTP
		want string // empty for nothing
	}{
		"off":             {HTTP{}, ""},
		"loopback":        {HTTP{Listen: "127.0.0.1:8081"}, ""},
		"open":            {HTTP{Listen: "0.0.0.0:8081"}, "without password and encryption"},
		"no TLS":          {HTTP{Listen: "0.0.0.0:8081", TokenFile: "x"}, "read the passwords"},
		"no users":        {HTTP{Listen: "0.0.0.0:8081", TLSCert: "x", TLSKey: "y"}, "without password"},
		"all":             {HTTP{Listen: "0.0.0.0:8081", TLSCert: "x", TLSKey: "y", TokenFile: "x"}, ""},
		"meant":           {HTTP{Listen: "0.0.0.0:8081", InsecureIKnow: true}, ""},
		"half of a pair":  {HTTP{Listen: "127.0.0.1:8081", TLSCert: "x"}, "has no tls_key"},
		"the other half":  {HTTP{Listen: "127.0.0.1:8081", TLSKey: "x"}, "has no tls_cert"},
		"no port":         {HTTP{Listen: "127.0.0.1"}, "no address with a port"},
		"body too small":  {HTTP{Listen: "127.0.0.1:8081", MaxBody: 1}, "too small"},
		"body too large":  {HTTP{Listen: "127.0.0.1:8081", MaxBody: 3 << 20}, "too large"},
		"nobody may come": {HTTP{Listen: "127.0.0.1:8081", MaxClients: -1}, "too small"},
	} {
		t.Run(name, func(t *testing.T) {
			c := Default()
			if tt.h.MaxBody == 0 {
				tt.h.MaxBody = c.Ingest.HTTP.MaxBody
			}
			if tt.h.MaxClients == 0 {
				tt.h.MaxClients = c.Ingest.HTTP.MaxClients
			}
			said := ""
			tt.h.validate(func(key, hint, what string, args ...any) {
				said += key + what
				if !strings.HasPrefix(key, "ingest.http.") || hint == "" {
					t.Errorf("%s: %s — hint: %s", key, what, hint)
				}
			}, c.words())
			if (said == "") != (tt.want == "") || !strings.Contains(said, tt.want) {
				t.Errorf("said %q, want %q", said, tt.want)
			}
		})
	}
}
