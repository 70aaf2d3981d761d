package fresh

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// words is a value made of the texts of two files; a text that is wrong is an
// error.
type words struct {
	*testing.T
	a, b   string // paths
	loads  int
	errors []error
}

func newWords(t *testing.T) *words {
	dir := t.TempDir()
	w := &words{T: t, a: filepath.Join(dir, "a"), b: filepath.Join(dir, "b")}
	w.write(w.a, "1")
	w.write(w.b, "2")
	return w
}

func (w *words) write(path, text string) {
	w.Helper()
	if err := os.WriteFile(path+"~", []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		w.Fatal(err)
	}
}

func (w *words) load() (string, error) {
	w.loads++
	a, errA := os.ReadFile(w.a)
	b, errB := os.ReadFile(w.b)
	if string(a) == "wrong" {
		errA = errors.New("wrong")
	}
	return string(a) + string(b), errors.Join(errA, errB)
}

func (w *words) open() *Value[string] {
	w.Helper()
	v, err := Open(w.load, func(err error) { w.errors = append(w.errors, err) }, w.a, w.b)
	if err != nil {
		w.Fatal(err)
	}
	return v
}

func TestChangedFileMakesTheValueAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWords(t)
		v := w.open()
		w.write(w.b, "3")
		if got := v.Get(); got != "12" {
			t.Errorf("%s: looked at the files twice in a second", got)
		}
		time.Sleep(interval)
		for range 2 {
			if got := v.Get(); got != "13" {
				t.Errorf("got %s", got)
			}
			time.Sleep(interval)
		}
		if w.loads != 2 {
			t.Errorf("made %d times", w.loads)
		}
	})
}

func TestLastGoodValueStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWords(t)
		v := w.open()
		w.write(w.a, "wrong")
		for range 3 {
			time.Sleep(interval)
			if got := v.Get(); got != "12" {
				t.Errorf("got %s", got)
			}
		}
		if len(w.errors) != 1 {
			t.Errorf("told %d times: %v", len(w.errors), w.errors)
		}
		w.write(w.a, "4")
		time.Sleep(interval)
		if got := v.Get(); got != "42" {
			t.Errorf("got %s", got)
		}
		if err := os.Remove(w.b); err != nil {
			t.Fatal(err)
		}
		time.Sleep(interval)
		if got := v.Get(); got != "42" || len(w.errors) != 2 {
			t.Errorf("got %s, %v", got, w.errors)
		}
	})
}

func TestWhatIsWrongFromTheStartIsAnError(t *testing.T) {
	w := newWords(t)
	w.write(w.a, "wrong")
	if _, err := Open(w.load, nil, w.a); err == nil {
		t.Error("taken")
	}
}
