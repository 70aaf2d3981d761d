package daemon

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/paho"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/base/whole"
)

// fullConfig is a gateway that keeps whatever a gateway can keep: a place in the journal for an
// uplink that is away, what a link has cost, commands, an operator, tokens, a certificate.
const fullConfig = `
[gateway]
id = "hall-7"
data_dir = %q
[buffer]
profile = "speed"
[ingest.mqtt]
listen = %q
password_file = %q
[dashboard]
listen = %q
tls_generate = true
[command]
allow = ["dev/+/set"]
[[command.http]]
name = "orders"
url = "http://127.0.0.1:9/v1/commands"
[[link]]
name = "sim"
source = "127.0.0.1"
budget_month = "500MB"
[[uplink.http]]
name = "cloud"
url = "http://127.0.0.1:9/v1/ingest"
token_file = %q
links = ["sim"]
`

// resettable is a gateway whose folders are like those of the package.
type resettable struct {
	*site
	etc, config string
}

func newResettable(t *testing.T) *resettable {
	r := &resettable{site: newSite(t)}
	r.etc = filepath.Join(r.dir, "tidegate")
	r.config = filepath.Join(r.etc, "tidegate.toml")
	token := filepath.Join(credentialStore(r.config), "cloud.token")
	writeFile(t, token, "a-token-of-the-cloud")
	users := filepath.Join(r.etc, "passwords")
	writeFile(t, users, "pump:$6$c2FsdA==$"+strings.Repeat("A", 86)+"==\n")
	writeFile(t, r.config, fmt.Sprintf(fullConfig, r.data, r.mqtt, users, r.dashboard, token))
	return r
}

// run runs a command to its end, with this on standard input.
func (r *resettable) run(stdin string, args ...string) (said string, ok bool) {
	r.Helper()
	cmd := exec.Command("tidegate", args...)
	cmd.Env = append(os.Environ(), "GORACE="+quickExit)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// live lets the gateway run until it is up and somebody has used it.
func (r *resettable) live(use func()) {
	r.Helper()
	p := r.start("tidegate", "run", "-config", r.config)
	r.eventuallyStatus("it runs", func(dashboard.Status) bool { return true })
	use()
	p.stop()
}

// use does what leaves something behind.
func (r *resettable) use() {
	r.Helper()
	for _, args := range [][]string{{"operator", "passwd"}, {"token", "add", "scada"}} {
		if said, ok := r.run("correct horse battery\n", append(args, "-config", r.config)...); !ok {
			r.Errorf("%v: %s", args, said)
		}
	}
	next := filepath.Join(r.dir, "next.toml")
	writeFile(r.T, next, readFile(r.T, r.config)+"\n[[ingest.mqtt.route]]\ntopic = \"raw/{device}\"\ndecode = \"raw\"\n")
	for _, args := range [][]string{{"apply", next}, {"confirm"}, {"apply", "-confirm", "1h", r.config + ".previous"}} {
		if said, ok := r.run("", append(args, "-config", r.config)...); !ok {
			r.Errorf("%v: %s", args, said)
		}
	}
}

// leftBehind is everything that the gateway has left, and what is planted beside it.
func (r *resettable) leftBehind() map[string]string {
	r.Helper()
	if entries, err := os.ReadDir(r.data); err != nil || len(foreign(entries)) > 0 {
		r.Errorf("of what a gateway has left, it does not know %v, %v", foreign(entries), err)
	}
	for _, path := range []string{filepath.Join(r.data, "operator.json.damaged"), filepath.Join(r.data, appliedFile), filepath.Join(r.data, "lost+found", "kept"),
		whole.Temp(filepath.Join(r.data, "links", "sim")), r.config + beforeInit, r.config + ".dpkg-old", whole.Temp(r.config), filepath.Join(r.etc, "ca.pem")} {
		writeFile(r.T, path, "planted")
	}
	tree := treeOf(r.T, r.data, r.etc)
	for _, name := range []string{"data/operator.json", "data/tokens.json", "data/identity.json", "data/dashboard.pem", "data/links/sim", "data/journal/state.db",
		"tidegate/tidegate.toml.trial", "tidegate/tidegate.toml.previous"} {
		if tree[name] == "" {
			r.Errorf("the gateway has left no %s: %s", name, treeNames(tree))
		}
	}
	return tree
}

func TestNothingOfItsUserIsInAGatewayAfterAFactoryReset(t *testing.T) {
	r := newResettable(t)
	fresh := newResettable(t)
	fresh.live(func() {})
	code := ""
	r.live(func() {
		code = readFile(t, filepath.Join(r.data, "setup-code"))
		if said, ok := r.run("", "factory-reset", "-yes", "-config", r.config); ok || !strings.Contains(said, "the gateway runs — hint: systemctl stop tidegate") {
			t.Errorf("while it runs: %s", said)
		}
		r.use()
	})
	before := r.leftBehind()
	if said, ok := r.run("hall-8\n", "factory-reset", "-config", r.config); ok || !maps.Equal(before, treeOf(t, r.data, r.etc)) ||
		!strings.Contains(said, "Type hall-7 to go on: ") || !strings.Contains(said, "nothing was changed") {
		t.Errorf("nobody agreed: %s", said)
	}
	if said, ok := r.run("hall-7\n", "factory-reset", "-keep-config", "-config", r.config); !ok {
		t.Fatal(said)
	}
	after := treeOf(t, r.data, r.etc)
	if got := treeNames(treeOf(t, r.data)); got != "data data/lost+found data/lost+found/kept" {
		t.Errorf("left: %s", got)
	}
	for name, was := range before {
		if strings.HasPrefix(name, "tidegate") && after[name] != was {
			t.Errorf("%s was to be kept: %q became %q", name, was, after[name])
		}
	}
	r.live(func() {
		if now := readFile(t, filepath.Join(r.data, "setup-code")); now == code || code == "" {
			t.Errorf("the set-up code is %q again", now)
		}
	})
	// A run that ends at once may not have come to making the file for its last words.
	sometimes := strings.NewReplacer(" data/lost+found data/lost+found/kept", "", " data/crash.txt", "")
	if got, want := treeNames(treeOf(t, r.data)), treeNames(treeOf(t, fresh.data)); sometimes.Replace(got) != sometimes.Replace(want) {
		t.Errorf("a first start makes\n%s, and this\n%s", want, got)
	}
	if said, ok := r.run("", "factory-reset", "-yes", "-config", r.config); !ok {
		t.Fatal(said)
	}
	if got := treeNames(treeOf(t, r.data, r.etc, filepath.Dir(credentialStore(r.config)))); got != "credstore credstore/tidegate data data/lost+found data/lost+found/kept tidegate tidegate/tidegate.toml" {
		t.Errorf("left: %s", got)
	}
	if readFile(t, r.config) != shippedConfig {
		t.Error("the configuration is not what is shipped")
	}
}

// TestWhatIsLostIsToldBefore publishes readings that no uplink takes.
func TestWhatIsLostIsToldBefore(t *testing.T) {
	s := newSite(t)
	p := s.startGateway()
	s.eventually("the broker listens", func() bool { return listens(s.mqtt) })
	sensor, _ := client(t, s.mqtt, "sensor")
	if _, err := sensor.Publish(t.Context(), &paho.Publish{Topic: "site/a/dev/b/telemetry", QoS: 1, Payload: []byte(`{"temp":1,"hum":2}`)}); err != nil {
		t.Fatal(err)
	}
	s.eventuallyStatus("the readings wait", func(st dashboard.Status) bool { return len(st.Links) == 1 && st.Links[0].Waiting == 2 })
	p.stop()
	writeFile(t, filepath.Join(s.data, "notes.txt"), "not the gateway's")
	cmd := exec.Command("tidegate", "factory-reset", "-config", s.configFile())
	cmd.Env = append(os.Environ(), "GORACE="+quickExit)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("it went on without an answer")
	}
	for _, want := range []string{"! 2 readings were not delivered to cloud yet", "! in there, and not the gateway's: notes.txt", "Type north-7 to go on: "} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if _, err := os.Stat(filepath.Join(s.data, "notes.txt")); err != nil {
		t.Error(err)
	}
}
