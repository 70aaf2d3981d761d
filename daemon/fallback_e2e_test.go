package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard"
)

// A typo, made from afar in the file itself, and then the power went.
func TestAGatewayWithATypoRunsWhatRanBeforeAndSaysSo(t *testing.T) {
	s := newSite(t)
	fine := s.fileText()
	gateway := s.start("tidegate", "run", "-fallback", "-config", s.configFile())
	s.eventually("it runs", func() bool { return listens(s.mqtt) })
	gateway.stop()

	const typo = "no_such_key = 1\n"
	s.write(strings.Replace(fine, "[buffer]\n", "[buffer]\n"+typo, 1))
	if state := s.startGateway().waitExit(patience); state.ExitCode() != exitUsage {
		t.Errorf("without -fallback, it ends with %v", state)
	}
	systemd := s.playSystemd(0)
	gateway = s.start("tidegate", "run", "-fallback", "-config", s.configFile())
	systemd.hears("READY=1\nSTATUS=runs the last good configuration, because the file cannot be used: "+s.configFile(), 1)
	s.eventuallyStatus("the page says so", func(st dashboard.Status) bool {
		return len(st.Problems) > 0 && strings.HasPrefix(st.Problems[0], "runs the last good configuration") && strings.Contains(st.Problems[0], "no_such_key")
	})
	if good, _ := os.ReadFile(filepath.Join(s.data, goodFile)); string(good) != fine {
		t.Errorf("the good configuration is %q by now", good)
	}

	// What is tried and undone leaves it as it was; what is kept mends it.
	s.must(s.apply(fine + "# tried\n"))
	state := s.must(s.config("/revert", map[string]string{}))
	if state.Text != fine {
		t.Errorf("after the trial runs %q", state.Text)
	}
	state = s.must(s.apply(fine + "# mended\n"))
	s.must(s.config("/confirm", map[string]string{"revision": state.Revision}))
	s.eventuallyStatus("all is well", func(st dashboard.Status) bool {
		return len(st.Problems) == 0 || !strings.HasPrefix(st.Problems[0], "runs the last good configuration")
	})
	if s.fileText() != fine+"# mended\n" {
		t.Errorf("the file is %q", s.fileText())
	}
	if good, _ := os.ReadFile(filepath.Join(s.data, goodFile)); string(good) != fine+"# mended\n" {
		t.Errorf("the good configuration is %q", good)
	}
	gateway.stop()

	// An editor was about to save the file when the power went. Where a file says no
	// folder for the data, this one has none to look into.
	s.write("")
	c := &call{file: s.configFile(), fallback: true, stderr: s.log}
	if d := c.fallBack(new(maker), errEmpty, []byte("[gateway]\ndata_dir = \""+s.data+"\"\n")); d == nil {
		t.Error("the good configuration is not found")
	} else if d.closeListeners(); d.buffer.Close() != nil || !strings.Contains(strings.Join(d.fallen(), ""), "empty, or gone") {
		t.Errorf("says %q", d.fallen())
	}
}

func TestWithoutAGoodConfigurationTheErrorIsTheFiles(t *testing.T) {
	s := newSite(t)
	s.write(s.fileText() + "[nonsense]\n")
	gateway := s.start("tidegate", "run", "-fallback", "-config", s.configFile())
	if state := gateway.waitExit(patience); state.ExitCode() != exitUsage {
		t.Errorf("ends with %v", state)
	}
	if !strings.Contains(s.said(), "nonsense: unknown") {
		t.Errorf("said %q", s.said())
	}
}

// Flash wears out: what is there already is not written again.
func TestAGoodConfigurationIsWrittenOnce(t *testing.T) {
	r, _ := withFile(t, "")
	r.good = filepath.Join(r.dir, goodFile)
	r.rememberGood()
	was, err := os.Stat(r.good)
	if err != nil || was.Mode().Perm() != 0o600 {
		t.Fatal(was, err)
	}
	if err := os.Chtimes(r.good, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	r.rememberGood()
	if now, err := os.Stat(r.good); err != nil || now.ModTime().Unix() != 1 {
		t.Error("written again", err)
	}
	if err := os.Remove(r.good); err != nil {
		t.Fatal(err)
	}
	if err := r.try("# tried\n", time.Hour); err != nil {
		t.Fatal(err)
	}
	r.rememberGood()
	if _, err := os.Stat(r.good); err == nil {
		t.Error("what is on trial is kept as good")
	}
}
