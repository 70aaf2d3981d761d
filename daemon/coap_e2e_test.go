package daemon

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/base/porttest"
)

// coap runs one of libcoap's clients. Whatever it prints is an error.
func (s *site) coap(flavour string, args ...string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "coap-client-"+flavour, args...)
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "" {
		s.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// What libcoap's clients were told is stored reaches the cloud, although the
// gateway is killed, and large bodies reach it whole.
func TestLibcoapClientsLoseNothingToKillNine(t *testing.T) {
	for _, flavour := range []string{"notls", "openssl"} {
		if _, err := exec.LookPath("coap-client-" + flavour); err != nil {
			t.Skipf("coap-client-%s is missing: apt-get install libcoap3-bin", flavour)
		}
	}
	s := newSite(t)
	plain, secure := porttest.For(t), porttest.For(t) // of TCP, and as good for UDP
	keys := filepath.Join(s.dir, "keys")
	if err := os.WriteFile(keys, []byte("boiler:"+fmt.Sprintf("%x", "a-key-of-16-byte")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.more = fmt.Sprintf(`
[ingest.coap]
listen = %q
dtls_listen = %q
psk_file = %q
[[ingest.coap.route]]
topic = "mine/{metric}"
device = "{user}"
`, plain, secure, keys)
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	large := filepath.Join(s.dir, "large")
	body := strings.Repeat("0123456789", 300)
	if err := os.WriteFile(large, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	const lives = 3
	for life := range lives {
		gateway := s.startGateway()
		s.eventuallyStatus("the gateway listens", hasCoAP)
		s.coap("notls", "-m", "post", "-t", "json", "-e", fmt.Sprintf(`{"life":%d}`, life), "coap://"+plain+"/hall")
		s.coap("openssl", "-m", "put", "-u", "boiler", "-k", "a-key-of-16-byte", "-e", fmt.Sprint(life), "coaps://"+secure+"/mine/life")
		s.coap("notls", "-m", "post", "-t", "110", "-e", fmt.Sprintf(`[{"n":"urn:dev:ow:10e2073a01080063:life","v":%d}]`, life), "coap://"+plain+"/senml")
		s.coap("notls", "-m", "put", "-b", "256", "-t", "42", "-f", large, fmt.Sprintf("coap://%s/large/%d", plain, life))
		s.eventuallyStatus("the door has counted", func(st dashboard.Status) bool {
			for _, d := range st.Doors {
				if d.Kind == "coap" {
					return d.Readings == 4 && d.State == dashboard.OK && d.Clients > 0 && d.Malformed == 0
				}
			}
			return false
		})
		gateway.kill()
	}
	s.startGateway()
	s.startCloud()
	s.eventuallyDelivered()
	seen := map[string]int{}
	for _, r := range s.export("") {
		seen[fmt.Sprintf("%s %s %s%s", r.Device, r.Metric, r.Value, r.Bytes)]++
	}
	for life := range lives {
		for _, want := range []string{fmt.Sprintf("hall life %d", life), fmt.Sprintf("boiler life %d", life), fmt.Sprintf("urn:dev:ow:10e2073a01080063 life %d", life), fmt.Sprintf("large/%d raw %s", life, body)} {
			if seen[want] != 1 {
				t.Errorf("%.40s is there %d times", want, seen[want])
			}
		}
	}
}

// hasCoAP says whether the door for CoAP listens.
func hasCoAP(st dashboard.Status) bool {
	return slices.ContainsFunc(st.Doors, func(d dashboard.Door) bool { return d.Kind == "coap" && d.State == dashboard.OK })
}
