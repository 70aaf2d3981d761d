package uplinktest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tidegate/tidegate/internal/conf"
)

// Secret returns the text as doors have their secrets: read from a file.
func Secret(t testing.TB, text string) conf.Secret {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := conf.ReadSecret(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
