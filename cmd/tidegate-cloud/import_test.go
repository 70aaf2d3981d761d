package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// What [[uplink.file]] writes, in all its forms, is the same once it is imported.
func TestImportTakesFilesOfEveryForm(t *testing.T) {
	dir := t.TempDir()
	chunks := append(packed(t, "north", 1, 3), packed(t, "north", 4, 500)...)
	first := filepath.Join(dir, "north.chunks")
	if err := os.WriteFile(first, chunks, 0o600); err != nil {
		t.Fatal(err)
	}
	do(t, "import", "-data", filepath.Join(dir, "first"), first)
	want := do(t, "export", "-data", filepath.Join(dir, "first"))
	lines := []byte(want)
	for name, content := range map[string][]byte{
		"lines.ndjson.part": lines,
		"lines.ndjson.gz":   compressed(t, lines, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }),
		"lines.ndjson.zst":  compressed(t, lines, newZstd),
		"north.chunks.zst":  compressed(t, chunks, newZstd),
	} {
		path, store := filepath.Join(dir, name), filepath.Join(dir, name+".store")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if said := do(t, "import", "-data", store, path); !strings.Contains(said, "500 readings stored, 0 here already") {
			t.Errorf("%s: %s", name, said)
		}
		if got := do(t, "export", "-data", store); got != want {
			t.Errorf("%s: the export differs", name)
		}
		if said := do(t, "import", "-data", store, path, first); strings.Count(said, " 0 readings stored, 500 here already") != 2 {
			t.Errorf("%s once more: %s", name, said)
		}
	}
	half := filepath.Join(dir, "half.zst")
	if err := os.WriteFile(half, compressed(t, lines, newZstd)[:500], 0o600); err != nil {
		t.Fatal(err)
	}
	err := command(t.Context(), []string{"import", "-data", filepath.Join(dir, "half"), half}, streams{io.Discard, io.Discard})
	if err == nil || !strings.Contains(err.Error(), "hint: ") {
		t.Errorf("half a compressed file: %v", err)
	}
}

// A power cut may leave zeros where a file of lines began: what is whole behind them is
// imported, and the loss is named.
func TestImportPassesOverADamagedBeginning(t *testing.T) {
	dir := t.TempDir()
	first := filepath.Join(dir, "north.chunks")
	if err := os.WriteFile(first, packed(t, "north", 1, 500), 0o600); err != nil {
		t.Fatal(err)
	}
	do(t, "import", "-data", filepath.Join(dir, "first"), first)
	lines := []byte(do(t, "export", "-data", filepath.Join(dir, "first")))
	clear(lines[:bytes.IndexByte(lines, '\n')])
	for _, name := range []string{"north-20261128T142233Z-000001.ndjson", "north-20261128T142233Z-000001.ndjson.part"} {
		path, store := filepath.Join(dir, name), filepath.Join(dir, name+".store")
		if err := os.WriteFile(path, lines, 0o600); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		err := command(t.Context(), []string{"import", "-data", store, path}, streams{&said, io.Discard})
		if err == nil || !strings.Contains(err.Error(), "1 parts are damaged") || !strings.Contains(said.String(), "499 readings stored") {
			t.Errorf("%s: %s, %v", name, said.String(), err)
		}
	}
}

func newZstd(w io.Writer) io.WriteCloser {
	z, err := zstd.NewWriter(w)
	if err != nil {
		panic(err)
	}
	return z
}

func compressed(t *testing.T, text []byte, with func(io.Writer) io.WriteCloser) []byte {
	t.Helper()
	var b bytes.Buffer
	z := with(&b)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
