package daemon

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
)

// Who operates the page must not become who has the machine by that.
func TestThePageReachesNoFurtherIntoTheMachine(t *testing.T) {
	var asked atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer thief.Close()
	r, file := withFile(t, twoLinks)
	c := configuration{r.Daemon}
	uplink := func(more string) string {
		return r.text(twoLinks + fmt.Sprintf("[[uplink.http]]\nname = \"south\"\nurl = %q\n", thief.URL) + more)
	}
	for name, tt := range map[string]struct{ text, key string }{
		"a program":              {strings.Replace(r.text(twoLinks), "[dashboard]", "identify = [\"/bin/sh\", \"-c\", \"id\"]\n[dashboard]", 1), "gateway.identify"},
		"somebody's file":        {uplink("token_file = \"/etc/hostname\"\n"), "token_file"},
		"a way around":           {uplink(fmt.Sprintf("token_file = %q\n", filepath.Dir(file)+"/../../../../../../../../etc/hostname")), "token_file"},
		"the gateway's password": {uplink(fmt.Sprintf("username = \"x\"\npassword_file = %q\n", "/var/lib/tidegate/operator.json")), "password_file"},
		"a file of users":        {r.text("password_file = \"/etc/hostname\"\n" + twoLinks), "password_file"},
		"a folder":               {r.text(twoLinks + "[[uplink.file]]\nname = \"south\"\ndir = \"/var/spool\"\n"), "dir"},
		"a device that bites":    {r.text(twoLinks + "[[ingest.serial]]\nname = \"dog\"\nport = \"/dev/watchdog\"\n"), "port"},
	} {
		order := api.ConfigOrder{Do: "apply", Text: tt.text, Revision: c.State().Revision, Within: time.Hour}
		if err := c.Carry(t.Context(), order); !errors.Is(err, errMachine) || !strings.Contains(err.Error(), tt.key) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.Plan(tt.text, false); !errors.Is(err, errMachine) {
			t.Errorf("%s is planned: %v", name, err)
		}
		report := c.Check(t.Context(), tt.text, false)
		if f := report.Findings; len(report.Problems) > 0 || len(f) != 1 || f[0].Level != "fail" || !strings.Contains(f[0].What, tt.key) {
			t.Errorf("%s is checked: %+v", name, report)
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("what may not be applied was tried, and asked %d times", n)
	}
}

func TestThePageMaySetWhatLiesNear(t *testing.T) {
	r := &gatewayHere{T: t, dir: t.TempDir(), mqtt: "127.0.0.1:1"}
	file := filepath.Join(r.dir, "tidegate.toml")
	const far = "[[uplink.http]]\nname = \"a\"\nurl = \"https://a.example/\"\ntoken_file = \"/run/credentials/x/token\"\n"
	before := r.config(far)
	if err := before.mayBecomeFromAfar(before, file); err != nil {
		t.Errorf("nothing changes: %v", err)
	}
	for _, more := range []string{
		strings.Replace(far, "a.example", "b.example", 1),
		fmt.Sprintf("[[uplink.http]]\nname = \"b\"\nurl = \"https://b.example/\"\ntoken_file = %q\n", filepath.Join(r.dir, "secrets/token")),
		"[[uplink.file]]\nname = \"stick\"\ndir = \"/media/usb\"\n",
		"[[ingest.serial]]\nname = \"a\"\nport = \"/dev/ttyUSB0\"\n[[ingest.serial]]\nname = \"b\"\nport = \"/dev/serial/by-id/usb-x\"\n",
	} {
		if err := before.mayBecomeFromAfar(r.config(more), file); err != nil {
			t.Errorf("%s\n%v", more, err)
		}
	}
}

// Whoever may look sees where a link goes, and not with what key.
func TestAStatusShowsNoKeysOfURLs(t *testing.T) {
	r, _ := withFile(t, "[[uplink.http]]\nname = \"east\"\nurl = \"http://127.0.0.1:1/in?api_key=s3cr3t\"\n")
	if at := r.status().Links[0].Target; at != "http://127.0.0.1:1/in?***" {
		t.Error(at)
	}
}
