package daemon

import (
	"path/filepath"
	"strings"
	"testing"
)

// What the running gateway finds wrong with a call is as wrong as what the program finds
// itself: a script need not try it again.
func TestWhatTheGatewayFindsWrongIsAWrongCall(t *testing.T) {
	s := newSite(t)
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	s.startGateway()
	s.eventually("the gateway answers", func() bool { _, ok := s.status(); return ok })
	for args, want := range map[string]string{
		"log -level loud":    "there is no level",
		"identify -for 1000": "1000 seconds cannot be shown",
		"token add|a b":      "hint",
		"scan modbus:nope":   `there is no door "modbus:nope"`,
	} {
		words, last, _ := strings.Cut(args, "|")
		call := append(strings.Fields(words), "-config", s.configFile())
		if words == "scan modbus:nope" {
			call = []string{"scan", "-config", s.configFile(), "modbus:nope"}
		}
		if last != "" {
			call = append(call, last)
		}
		if said := s.do(exitUsage, "tidegate", call...); !strings.Contains(said, want) {
			t.Errorf("%s: %s", args, said)
		}
	}
	// What cannot be done now is no wrong call.
	missing := filepath.Join(t.TempDir(), "nonexist", "all.ndjson")
	if said := s.do(exitFailure, "tidegate", "buffer", "export", "-config", s.configFile(), "-o", missing); !strings.Contains(said, "write "+missing+": ") || !strings.Contains(said, "hint: make the folder first") {
		t.Errorf("%s", said)
	}
}
