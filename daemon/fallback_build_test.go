package daemon

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/internal/starts"
)

// What is wrong with a configuration may show only when everything is built, behind the
// buffer: that is given back before the last good one is tried.
func TestAFileThatIsMissingIsFoundWhenTheGatewayIsBuilt(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tidegate.toml")
	good := "[gateway]\nid = \"g\"\ndata_dir = \"" + filepath.Join(dir, "data") + "\"\n[ingest.mqtt]\nlisten = \"127.0.0.1:0\"\n[dashboard]\nlisten = \"\"\n"
	build := func(text string) (*Daemon, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := (&call{file: file, fallback: true, stderr: io.Discard, flags: new(flag.FlagSet)}).build()
		if err == nil {
			d.closeListeners()
			if err := d.buffer.Close(); err != nil {
				t.Fatal(err)
			}
		}
		return d, err
	}
	if _, err := build(good); err != nil {
		t.Fatal(err)
	}
	before, err := starts.Read(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	bad := good + "[[uplink.http]]\nname = \"a\"\nurl = \"https://a.example/\"\ntoken_file = \"" + filepath.Join(dir, "none") + "\"\n"
	d, err := build(bad)
	if err != nil {
		t.Fatal(err)
	}
	if said := strings.Join(d.fallen(), ""); !strings.Contains(said, "none") {
		t.Errorf("it says %q", said)
	}
	if now := d.texts.Load(); now.runs != good || now.kept != bad {
		t.Errorf("it runs %q, and the file is %q", now.runs, now.kept)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != bad {
		t.Errorf("the file is %q: %v", text, err)
	}
	if r, err := starts.Read(filepath.Join(dir, "data")); err != nil || r.Failed != before.Failed+1 {
		t.Errorf("one start, that tried two configurations, made of %d starts %d: %v", before.Failed, r.Failed, err)
	}
	if kept, err := os.ReadFile(filepath.Join(dir, "data", goodFile)); err != nil || string(kept) != good {
		t.Errorf("the good one is %q: %v", kept, err)
	}
}

// A file that was torn where somebody saved it is no TOML, and says all the same where the
// text that ran last is, and whom to ask how the gateway is.
func TestAFileThatIsNoTOMLStillSaysWhereTheDataIs(t *testing.T) {
	dir := t.TempDir()
	c := &call{file: filepath.Join(dir, "tidegate.toml"), fallback: true, stderr: io.Discard, flags: new(flag.FlagSet)}
	data := filepath.Join(dir, "data")
	good := "[gateway]\nid = \"g\"\ndata_dir = \"" + data + "\"\n[ingest.mqtt]\nlisten = \"127.0.0.1:0\"\n[dashboard]\nlisten = \"\"\n"
	for _, text := range []string{good, strings.TrimSuffix(good, "\"\"\n")} {
		if err := os.WriteFile(c.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := c.build()
		if err != nil {
			t.Fatal(err)
		}
		if now := d.texts.Load(); now.runs != good || now.kept != text {
			t.Errorf("it runs %q, and the file is %q", now.runs, now.kept)
		}
		d.closeListeners()
		if err := d.buffer.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if socket, err := c.socket(); err != nil || filepath.Dir(socket) != data {
		t.Errorf("it is asked at %s: %v", socket, err)
	}
}
