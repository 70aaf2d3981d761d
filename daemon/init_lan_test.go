package daemon

import (
	"reflect"
	"strings"
	"testing"
)

func TestThePageIsOpenedAndNothingElseChanges(t *testing.T) {
	for what, c := range map[string]struct{ before, want string }{
		"what is shipped":    {ExampleConfig(), strings.NewReplacer("listen = \"127.0.0.1:8080\"\n", "listen = \":8443\"\n", "tls_generate = false\n", "tls_generate = true\n").Replace(ExampleConfig())},
		"nothing":            {"", "\n\n[dashboard]\nKEYS"},
		"another table":      {"[log]\nlevel = \"warn\" # quiet", "[log]\nlevel = \"warn\" # quiet\n\n[dashboard]\nKEYS"},
		"an empty table":     {"[dashboard] # the page\n[log]\n", "[dashboard] # the page\nKEYS[log]\n"},
		"a page that is off": {"[dashboard]\nlisten = ''\n", "[dashboard]\ntls_generate = true\nlisten = \":8443\"\n"},
		"comments":           {"[dashboard]\nlisten = \"127.0.0.1:8080\" # loop\ntls_generate = false# no\n", "[dashboard]\nlisten = \":8443\" # loop\ntls_generate = true# no\n"},
		"signs in strings":   {"[dashboard]\nlisten = 'localhost:80'\t# 'a' \"b\"\n", "[dashboard]\ntls_generate = true\nlisten = \":8443\"\t# 'a' \"b\"\n"},
		"lines in a value":   {"[dashboard]\nlisten = \"\"\"\nlocalhost:80\"\"\" # x\n", "[dashboard]\ntls_generate = true\nlisten = \":8443\"\n"},
		"dotted keys":        {"dashboard.listen = \"localhost:80\"\ndashboard.tls_generate = false\n", "dashboard.listen = \":8443\"\ndashboard.tls_generate = true\n"},
		"a certificate":      {"[dashboard]\ntls_cert = \"c\"\ntls_key = \"k\"\n", "[dashboard]\nlisten = \":8443\"\ntls_cert = \"c\"\ntls_key = \"k\"\n"},
		"it is open already": {"[dashboard]\nlisten = \"192.168.4.1:443\"\ntls_generate = true\n", ""},
		"without TLS":        {"[dashboard]\nlisten = \"0.0.0.0:80\"\ninsecure_i_know = true\n", "[dashboard]\ntls_generate = true\nlisten = \"0.0.0.0:80\"\ninsecure_i_know = true\n"},
	} {
		now, err := Parse("before", []byte(c.before))
		if err != nil {
			t.Fatal(err)
		}
		text, cfg, err := lanConfig("tidegate.toml", []byte(c.before), now)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if c.want == "" {
			c.want = c.before
		}
		if got := string(text); got != strings.Replace(c.want, "KEYS", "listen = \":8443\"\ntls_generate = true\n", 1) {
			t.Errorf("%s:\n%s", what, got)
		}
		if again, err := Parse("after", text); err != nil || !reflect.DeepEqual(again, cfg) || !again.Dashboard.secure() {
			t.Errorf("%s: %+v, %v", what, again.Dashboard, err)
		}
	}
}

func TestAPageThatCannotBeOpenedIsLeftAlone(t *testing.T) {
	for what, text := range map[string]string{
		"a table in braces":    "dashboard = { hosts = [\"a\"] }\n",
		"a port that is taken": "[ingest.http]\nlisten = \"127.0.0.1:8443\"\n",
	} {
		now, err := Parse("before", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := lanConfig("tidegate.toml", []byte(text), now); err == nil || !strings.Contains(err.Error(), `hint: write listen = ":8443" and tls_generate = true`) {
			t.Errorf("%s: %s, %v", what, got, err)
		}
	}
}

func TestEveryAddressOfTheMachineIsNamed(t *testing.T) {
	if got := pageURLs("192.0.2.7:8443", true); !reflect.DeepEqual(got, []string{"https://192.0.2.7:8443/"}) {
		t.Errorf("%v", got)
	}
	seen := map[string]bool{}
	for _, url := range pageURLs(":8443", true) {
		if seen[url] || !strings.HasPrefix(url, "https://") || !strings.HasSuffix(url, ":8443/") {
			t.Errorf("%v: %s", seen, url)
		}
		seen[url] = true
	}
}
