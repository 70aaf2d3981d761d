package daemon

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// privateAddress gives this machine an address that is neither loopback nor
// anybody's, until the test ends.
func privateAddress(t *testing.T) string {
	t.Helper()
	const address = "10.213.77.1"
	if out, err := exec.Command("ip", "address", "add", address+"/32", "dev", "lo").CombinedOutput(); err != nil {
		t.Skipf("ip: %v, %s: only root may add an address (apt-get install iproute2)", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "address", "del", address+"/32", "dev", "lo").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return address
}

// browserTools returns Chromium and Node.js, or skips the test.
func browserTools(t *testing.T) (chromium, node string) {
	t.Helper()
	const install = "apt-get install chromium nodejs npm && npm install --prefix dashboard/browsertest"
	for name, path := range map[string]*string{"chromium": &chromium, "node": &node} {
		var err error
		if *path, err = exec.LookPath(name); err != nil {
			t.Skipf("no %s; %s", name, install)
		}
	}
	if _, err := os.Stat("../dashboard/browsertest/node_modules/playwright-core"); err != nil {
		t.Skip("no playwright-core; ", install)
	}
	return chromium, node
}

// Somebody with a phone sets up a gateway that he reaches over its network: not
// over loopback, where everybody may look. With TIDEGATE_PICTURES=folder there are
// screenshots.
func TestOperatorInABrowser(t *testing.T) {
	chromium, node := browserTools(t)
	s := newSite(t)
	address := privateAddress(t)
	_, port, err := net.SplitHostPort(s.dashboard)
	if err != nil {
		t.Fatal(err)
	}
	local := s.dashboard
	s.dashboard = "0.0.0.0:" + port
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	s.insertInto("[dashboard]", "tls_generate = true")
	gateway := s.startGateway()
	var said []string
	s.eventually("the journal has the code", func() bool {
		said = regexp.MustCompile(`set-up code (\S+)  certificate SHA-256 (\S+)\n`).FindStringSubmatch(s.said())
		return said != nil
	})
	command := exec.CommandContext(t.Context(), node, "login.mjs", fmt.Sprintf("https://%s:%s/", address, port), "https://"+local+"/",
		said[1], said[2], chromium, os.Getenv("TIDEGATE_PICTURES"))
	command.Dir = "../dashboard/browsertest"
	output, err := command.CombinedOutput()
	t.Logf("%s", output)
	if err != nil {
		t.Error(err)
	}
	gateway.stop()
	for _, event := range []string{"set_up", "signed_in", "wrong_password", "wrong_code", "token_made", "token_used", "token_revoked", "password_changed", "signed_out", "foreign_host"} {
		if !strings.Contains(s.said(), "msg=access event="+event+" from=") {
			t.Errorf("the journal does not tell of %s", event)
		}
	}
	for _, secret := range []string{"correct horse", "another horse", "tg_"} {
		if strings.Contains(s.said(), secret) {
			t.Errorf("the journal tells %q", secret)
		}
	}
	for _, name := range []string{"operator.json", "tokens.json", "dashboard.pem"} {
		if info, err := os.Stat(filepath.Join(s.data, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// insertInto puts a line behind one of the configuration.
func (s *site) insertInto(table, line string) {
	s.Helper()
	text, err := os.ReadFile(s.configFile())
	if err != nil {
		s.Fatal(err)
	}
	changed := strings.Replace(string(text), table+"\n", table+"\n"+line+"\n", 1)
	if err := os.WriteFile(s.configFile(), []byte(changed), 0o600); err != nil {
		s.Fatal(err)
	}
}
