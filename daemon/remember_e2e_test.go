package daemon

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mosquitto runs one of mosquitto's clients and returns what it printed.
func (s *site) mosquitto(tool, version string, args ...string) string {
	s.Helper()
	host, port, _ := strings.Cut(s.mqtt, ":")
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, append([]string{"-h", host, "-p", port, "-V", version}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// What mosquitto's own clients were told has been done is done, although the
// gateway is killed: messages for a session that lasts, and retained ones.
func TestMosquittoClientsFindEverythingAfterKillNine(t *testing.T) {
	for _, tool := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing: apt-get install mosquitto-clients", tool)
		}
	}
	for version, lasts := range map[string][]string{"mqttv311": {"-c"}, "mqttv5": {"-c", "-x", "3600"}} {
		t.Run(version, func(t *testing.T) {
			s := newSite(t)
			gateway := s.startGateway()
			s.eventually("the broker listens", func() bool { return listens(s.mqtt) })
			reader := append(lasts, "-i", "reader", "-q", "2", "-t", "cmd/#")
			s.mosquitto("mosquitto_sub", version, append(reader, "-E")...)
			var want []string
			for i := range 6 {
				text := fmt.Sprint("message ", i)
				want = append(want, text)
				s.mosquitto("mosquitto_pub", version, "-q", fmt.Sprint(1+i%2), "-t", fmt.Sprint("cmd/", i), "-m", text)
			}
			s.mosquitto("mosquitto_pub", version, "-q", "2", "-r", "-t", "state", "-m", "on")
			for range 2 {
				gateway.kill()
				gateway = s.startGateway()
				s.eventually("the broker listens", func() bool { return listens(s.mqtt) })
			}
			// It prints a message of QoS 2 when that is released.
			got := strings.Split(s.mosquitto("mosquitto_sub", version, append(reader, "-C", "6", "-W", "20")...), "\n")
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("the session got %q, want %q", got, want)
			}
			if got := s.mosquitto("mosquitto_sub", version, "-t", "state", "-C", "1", "-W", "20"); got != "on" {
				t.Errorf("retained is %q", got)
			}
		})
	}
}
