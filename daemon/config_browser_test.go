package daemon

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/dashboard"
)

// TestConfigurationInABrowser runs browsertest/config.mjs, which says what people can
// do with the configuration on the page of a real gateway. With
// TIDEGATE_PICTURES=folder it leaves screenshots there.
func TestConfigurationInABrowser(t *testing.T) {
	const install = "apt-get install chromium nodejs npm && npm install --prefix dashboard/browsertest"
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium; ", install)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node; ", install)
	}
	if _, err := os.Stat("../dashboard/browsertest/node_modules/playwright-core"); err != nil {
		t.Skip("no playwright-core; ", install)
	}
	s := newSite(t)
	gateway := s.startGateway()
	s.eventuallyStatus("it runs", func(st dashboard.Status) bool { return st.Doors[0].State == dashboard.OK })
	code := regexp.MustCompile(`set-up code (\S+)`).FindStringSubmatch(s.said())
	if code == nil {
		t.Fatal("the gateway says no set-up code")
	}
	before := s.fileText()
	command := exec.CommandContext(t.Context(), node, "config.mjs", "http://"+s.dashboard, code[1], chromium, os.Getenv("TIDEGATE_PICTURES"))
	command.Dir = "../dashboard/browsertest"
	output, err := command.CombinedOutput()
	t.Logf("%s", output)
	if err != nil {
		t.Error(err)
	}
	if want := strings.Replace(before, `timeout = "1s"`, `timeout = "3s"`, 1); s.fileText() != want {
		t.Errorf("the file holds %q, want %q", s.fileText(), want)
	}
	gateway.stop()
}
