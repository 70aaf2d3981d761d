package daemon

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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

// A start may take its time: what is told to the gateway meanwhile counts, and does not
// end it as a crash would.
func TestASignalInAStartCounts(t *testing.T) {
	t.Run("SIGTERM", func(t *testing.T) {
		s := newSite(t)
		gateway, goOn := s.startSlowly()
		gateway.signal(syscall.SIGTERM)
		goOn()
		if state := gateway.waitExit(patience); !state.Success() {
			t.Errorf("it ended with %v", state)
		}
		if r, err := starts.Read(s.data); err != nil || r.Last.Version != Version || r.Failed != 0 {
			t.Errorf("%+v failed, %v", r, err)
		}
	})
	t.Run("SIGHUP", func(t *testing.T) {
		s := newSite(t)
		gateway, goOn := s.startSlowly()
		gateway.signal(syscall.SIGHUP)
		goOn()
		s.eventually("the file is read again", func() bool {
			return isClosed(gateway.ended) || strings.Contains(s.said(), "event=config_reloaded by=hangup")
		})
		gateway.stop()
	})
}

// startSlowly starts a gateway that waits for a file of its own until goOn is called.
func (s *site) startSlowly() (gateway *program, goOn func()) {
	s.Helper()
	path := filepath.Join(s.data, "tokens.json")
	if err := errors.Join(os.MkdirAll(s.data, 0o700), syscall.Mkfifo(path, 0o600)); err != nil {
		s.Fatal(err)
	}
	gateway = s.startGateway()
	var pipe *os.File
	s.eventually("it reads the file", func() (reads bool) {
		var err error
		pipe, err = os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0) // fails as long as nobody reads
		return err == nil
	})
	return gateway, func() {
		s.Helper()
		_, err := pipe.WriteString(`{"version":1}`)
		if err = errors.Join(err, pipe.Close()); err != nil && !isClosed(gateway.ended) {
			s.Fatal(err)
		}
	}
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
