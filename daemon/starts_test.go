package daemon

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/starts"
)

// keepRecord writes the record of the starts before.
func (s *site) keepRecord(r starts.Record) {
	s.Helper()
	text, err := json.Marshal(r)
	if err == nil {
		err = os.MkdirAll(s.data, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(s.data, "starts.json"), text, 0o600)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// A gateway that is killed again and again within a minute of its start says since
// which upgrade, in the log, the status, on the page and in check; and no more once it
// was told to end.
func TestACrashLoopAfterAnUpgradeIsTold(t *testing.T) {
	s := newSite(t)
	before := starts.Program{Version: "0.0.9", Build: "the one before"}
	s.keepRecord(starts.Record{Format: 1, Last: before, Good: &before})
	for range starts.Loop {
		gateway := s.startGateway()
		s.eventually("it listens", func() bool { return listens(s.mqtt) })
		gateway.kill()
	}
	gateway := s.startGateway()
	const loop = "the last 3 starts ended by themselves within a minute, since the upgrade from 0.0.9 (the one before) to " + Version
	loops := func(p string) bool {
		return strings.HasPrefix(p, loop) && strings.Contains(p, "./tidegate_0.0.9_ARCH.deb")
	}
	s.eventuallyStatus("it says so", func(st dashboard.Status) bool { return slices.ContainsFunc(st.Problems, loops) })
	if text := s.do(exitOK, "tidegate", "status", "-config", s.configFile()); !strings.Contains(text, "! "+loop) {
		t.Errorf("status:\n%s", text)
	}
	if said := s.said(); strings.Count(said, "level=ERROR msg=\""+loop) != 1 {
		t.Errorf("the log does not say it once")
	}
	if text := s.checked(); !strings.Contains(text, "! the gateway does not get on its legs: "+loop) {
		t.Errorf("check:\n%s", text)
	}
	gateway.stop()
	gateway = s.startGateway()
	s.eventuallyStatus("it says so no more", func(st dashboard.Status) bool { return !slices.ContainsFunc(st.Problems, loops) })
	if text := s.checked(); strings.Contains(text, "its legs") {
		t.Errorf("check:\n%s", text)
	}
	gateway.stop()
}

// checked is what "tidegate check" says of the machine.
func (s *site) checked() string {
	s.Helper()
	cfg, err := Load(s.configFile())
	if err != nil {
		s.Fatal(err)
	}
	k := &checklist{}
	k.dataDir(cfg.Gateway.DataDir, int64(cfg.Buffer.MaxBytes))
	k.starts(cfg.Gateway.DataDir, cfg.Gateway.SocketPath(), starts.Itself(Version))
	var b strings.Builder
	if err := WriteFindings(&b, k.findings); err != nil {
		s.Fatal(err)
	}
	return b.String()
}

// A second gateway on the folder is no start of the first.
func TestAGatewayThatRunsAlreadyIsNoFailedStart(t *testing.T) {
	s := newSite(t)
	gateway := s.startGateway()
	s.eventually("it listens", func() bool { return listens(s.mqtt) })
	for range starts.Loop {
		if said := s.do(exitFailure, "tidegate", "run", "-config", s.configFile()); !strings.Contains(said, "is a tidegate running on this folder?") {
			t.Error(said)
		}
	}
	gateway.stop()
	if r, err := starts.Read(s.data); err != nil || r.Failed != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Who goes back to an earlier version is told by check, and by the log.
func TestAFolderOfALaterVersionIsTold(t *testing.T) {
	s := newSite(t)
	later := starts.Program{Version: "99.1.0", Build: "to come"}
	s.keepRecord(starts.Record{Format: 1, Last: later, Good: &later})
	const used = "data_dir was last used by a later version, 99.1.0"
	if text := s.checked(); !strings.Contains(text, "! "+used) || !strings.Contains(text, "hint: install that version again") {
		t.Errorf("check:\n%s", text)
	}
	gateway := s.startGateway()
	s.eventually("it listens", func() bool { return listens(s.mqtt) })
	gateway.stop()
	if !strings.Contains(s.said(), "level=WARN msg=\""+used) {
		t.Error("the log does not say so")
	}
	if err := os.WriteFile(filepath.Join(s.data, "journal", "state.db.later-1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if text := s.checked(); !strings.Contains(text, "state.db.later-1") {
		t.Errorf("check:\n%s", text)
	}
	s.keepRecord(starts.Record{Format: 99})
	if text := s.checked(); !strings.Contains(text, "! data_dir: starts.json is of a later version") {
		t.Errorf("check:\n%s", text)
	}
}
