package natsout

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a file is wrong about waits for people, says its name, and keeps its secret.
func TestBadFilesWaitForPeople(t *testing.T) {
	dir, secret := t.TempDir(), "SUSECRET"+strings.Repeat("A", 49)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, cfg := range map[string]Config{
		"gone.nk": {NkeyFile: filepath.Join(dir, "gone.nk")}, "bad.nk": {NkeyFile: write("bad.nk", secret)}, "bad.creds": {CredsFile: write("bad.creds", secret)},
		"large.nk": {NkeyFile: write("large.nk", strings.Repeat("\n", 64<<10)+secret)}, "a-folder": {CredsFile: filepath.Join(dir, "a-folder")},
	} {
		if name == "a-folder" {
			if err := os.Mkdir(cfg.CredsFile, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		cfg.Servers = []string{"127.0.0.1:1"}
		err := newSink(t, cfg).Send(within(t, soon), message(0, 10))
		if classOf(err) != "1m0s" || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), secret) || strings.Count(err.Error(), "hint: ") != 1 {
			t.Errorf("%s: %s, %v", name, classOf(err), err)
		}
		if name == "gone.nk" && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v", err)
		}
	}
}
