package wire

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
)

// TestDecoderWrittenFromTheFormatAgrees runs testdata/decode.py, which knows
// FORMAT.md and none of this package, over all vectors.
func TestDecoderWrittenFromTheFormatAgrees(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not there: install the package python3")
	}
	if _, err := exec.LookPath("zstd"); err != nil && exec.Command(python, "-c", "import zstandard").Run() != nil {
		t.Skip("nothing inflates Zstandard for Python: install the package zstd or python3-zstandard")
	}

	names := frames(t, goldenDir)
	for i, line := range decodePython(t, python, goldenDir, names) {
		_, want := loadGolden(t, names[i])
		got := goldenFrame{About: want.About}
		if err := json.Unmarshal(line, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("decode.py found in %s\n%s (%v), want\n%s", names[i], line, err, want.file(t))
		}
	}

	names = frames(t, badDir)
	for i, line := range decodePython(t, python, badDir, names) {
		var want, got struct{ Error string }
		load(t, badDir, names[i], &want)
		if err := json.Unmarshal(line, &got); err != nil || got != want {
			t.Errorf("decode.py says of %s %s (%v), want %s", names[i], line, err, want.Error)
		}
	}
}

// decodePython returns what decode.py prints for each of the frames in dir.
func decodePython(t *testing.T, python, dir string, names []string) [][]byte {
	t.Helper()
	args := []string{filepath.Join("testdata", "decode.py")}
	for _, name := range names {
		args = append(args, filepath.Join(dir, name+".bin"))
	}
	var stderr bytes.Buffer
	cmd := exec.Command(python, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err != nil || len(lines) != len(names) {
		t.Fatalf("decode.py: %v, %d lines for %d files\n%s", err, len(lines), len(names), &stderr)
	}
	return lines
}
