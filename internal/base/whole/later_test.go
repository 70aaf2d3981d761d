package whole

import (
	"os"
	"path/filepath"
	"testing"
)

func TestNoLaterFileIsWrittenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for _, text := range []string{"one", "two", "three"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		name, err := KeepLater(path)
		if err != nil {
			t.Fatal(err)
		}
		if kept, err := os.ReadFile(name); err != nil || string(kept) != text {
			t.Errorf("%s holds %q, %v", name, kept, err)
		}
	}
	if all, _ := filepath.Glob(path + "*"); len(all) != 3 {
		t.Errorf("there are %q", all)
	}
	if _, err := KeepLater(path); err == nil {
		t.Error("a file that is not there was kept")
	}
}
