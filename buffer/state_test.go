package buffer

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// A damaged page can look whole until it is written to, so it is.
func TestEveryDamagedPageOfStateStillStarts(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.Cursor("cloud")
	for n := range 12 {
		r.accept("a", float64(n))
		r.declareLost(reading.Normal, Gap{First: uint64(n*10 + 1000), Last: uint64(n*10 + 1005)})
	}
	r.stop()
	state, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		t.Fatal(err)
	}
	damages := map[string]func(page, next []byte){
		"zeroed":      func(page, _ []byte) { clear(page) },
		"overwritten": func(page, _ []byte) { rand.NewChaCha8([32]byte{}).Read(page) },
		"misplaced":   func(page, next []byte) { copy(page, next) },
	}
	pages := len(state) / pageSize
	for name, happen := range damages {
		for page := range pages {
			t.Run(fmt.Sprint(name, page), func(t *testing.T) {
				bad, d := slices.Clone(state), t.TempDir()
				happen(bad[page*pageSize:][:pageSize], state[(page+1)%pages*pageSize:][:pageSize])
				if err := errors.Join(os.CopyFS(d, os.DirFS(dir)), os.WriteFile(filepath.Join(d, stateFile), bad, 0o600)); err != nil {
					t.Fatal(err)
				}
				b := open(t, d, nil)
				b.Cursor("cloud")
				if err := errors.Join(b.declare(reading.Normal, Gap{First: 1, Last: 2}), b.Close()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestBitRotInASavedCursorSkipsNothing(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.accept("a", 1, 2, 3)
	c := r.Cursor("cloud")
	c.Ack(reading.Normal, 1, 1)
	r.stop()
	damage(t, filepath.Join(dir, stateFile), func(b []byte) []byte {
		return bytes.ReplaceAll(b, []byte(`cloud[[{"first":1,"last":1}]`), []byte(`cloud[[{"first":1,"last":3}]`))
	})
	r = start(t, dir, nil)
	if got := r.drain("cloud"); len(got) < 2 {
		t.Errorf("a flipped bit made the cursor skip: got %v of 2 and 3", got)
	}
}
