package daemon

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/internal/netcheck"
)

// diagnosed runs "tidegate diagnose" with the site's configuration.
func (s *site) diagnosed(args ...string) (code int, out, err string) {
	s.Helper()
	var stdout, stderr bytes.Buffer
	code = Main(append([]string{"diagnose", "-config", s.configFile()}, args...), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestDiagnoseFromTheCommandLine(t *testing.T) {
	s := newSite(t)
	code, out, said := s.diagnosed()
	if code != exitFailure || !strings.Contains(out, "✗ Does the other side answer?") || !strings.Contains(out, "What to do: check the port") || !strings.Contains(said, "no gateway runs") {
		t.Errorf("without gateway and cloud: %d\n%s%s", code, out, said)
	}
	s.startCloud()
	if code, out, _ = s.diagnosed("cloud"); code != exitFailure || !strings.Contains(out, "The gateway does not run") {
		t.Errorf("without a gateway: %d\n%s", code, out)
	}
	s.startGateway()
	s.eventually("it answers", func() bool { _, ok := s.status(); return ok })
	if code, out, said = s.diagnosed("-send", "cloud"); code != exitOK || !strings.Contains(out, "went through") || said != "" {
		t.Errorf("with all: %d\n%s%s", code, out, said)
	}
	code, out, _ = s.diagnosed("-json", "cloud")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var last netcheck.Line
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || code != exitOK || last.Verdict == "" || last.State != netcheck.OK {
		t.Errorf("as JSON: %d, %v\n%s", code, err, out)
	}
	if code, out, _ = s.diagnosed("-door", "mqtt"); code != exitOK || !strings.Contains(out, "Is anybody connected?") {
		t.Errorf("a door: %d\n%s", code, out)
	}
	for args, want := range map[string]int{"clowd": exitFailure, "-door nobody": exitFailure, "a b": exitUsage, "-frob": exitUsage, "-help": exitOK} {
		code, _, said := s.diagnosed(strings.Fields(args)...)
		if code != want || said == "" {
			t.Errorf("%q: %d, %s", args, code, said)
		}
	}
}

func TestDiagnoseOfNothingConfigured(t *testing.T) {
	file := filepath.Join(t.TempDir(), "t.toml")
	if err := os.WriteFile(file, []byte("gateway.id = \"a\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := Main([]string{"diagnose", "-config", file}, &out, &out); code != exitFailure || !strings.Contains(out.String(), "hint") {
		t.Errorf("%d: %s", code, &out)
	}
}
