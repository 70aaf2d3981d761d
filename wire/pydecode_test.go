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
	for _, dir := range []string{goldenDir, badDir} {
		names := frames(t, dir)
		for i, line := range decodePython(t, python, dir, names) {
			name := names[i]
			var refusal, want struct{ Error, Why string }
			load(t, dir, name, &want) // of a golden vector, no error
			if err := json.Unmarshal(line, &refusal); err != nil {
				t.Fatalf("decode.py printed %q of %s: %v", line, name, err)
			}
			if refusal.Error == "unable" {
				t.Logf("left out %s: %s", name, refusal.Why)
				continue
			}
			if refusal.Error != want.Error {
				t.Errorf("decode.py refused %s as %+v, want %q", name, refusal, want.Error)
			}
			if want.Error == "" {
				sameAsGolden(t, name, line)
			}
		}
	}
}

func sameAsGolden(t *testing.T, name string, line []byte) {
	t.Helper()
	_, want := loadGolden(t, name)
	got := goldenFrame{About: want.About}
	if err := json.Unmarshal(line, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("decode.py found in %s\n%s (%v), want\n%s", name, line, err, want.file(t))
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
