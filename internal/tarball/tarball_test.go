package tarball

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestOthersReadIt(t *testing.T) {
	files := map[string]string{"README.txt": "read me", "empty": "", "logs/block": strings.Repeat("x", block), "logs/more": strings.Repeat("y", block+1), strings.Repeat("n", maxName): "long"}
	order := []string{"README.txt", "empty", "logs/block", "logs/more", strings.Repeat("n", maxName)}
	at := time.Unix(1_800_000_000, 5)
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, name := range order {
		if err := w.File(name, at, []byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.File("before", time.Unix(-1, 0), nil), w.Close()); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	r := tar.NewReader(bytes.NewReader(whole))
	for _, name := range order {
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil || h.Name != name || string(text) != files[name] || !h.ModTime.Equal(at.Truncate(time.Second)) || h.Mode != 0o600 || h.Typeflag != tar.TypeReg || h.Format != tar.FormatUSTAR {
			t.Errorf("%q: %+v, %d bytes, %v", name, h, len(text), err)
		}
	}
	if h, err := r.Next(); err != nil || h.ModTime.Unix() != 0 {
		t.Errorf("before 1970: %+v, %v", h, err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("behind the last there is %v", err)
	}
	if gnu, err := exec.LookPath("tar"); err == nil {
		list := exec.Command(gnu, "-tf", "-")
		list.Stdin = bytes.NewReader(whole)
		if said, err := list.CombinedOutput(); err != nil || !strings.HasPrefix(string(said), "README.txt\nempty\nlogs/block\n") {
			t.Errorf("tar: %v\n%s", err, said)
		}
	}
	if err := w.File(strings.Repeat("n", maxName+1), at, nil); err == nil {
		t.Error("a name that is too long was taken")
	}
}
