package command

import (
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// What a later version has noted of commands is kept for it, whatever this one does.
func TestNotesOfALaterVersionAreKept(t *testing.T) {
	const key, later = notePrefix + "c-9", `{"v":1,"courier":{"name":"x"},"topic":7}`
	w := newWorld(t, nil)
	receipt, err := w.custody.Accept(t.Context(), nil, reading.Note{Key: key, Value: []byte(later)})
	if err == nil {
		err = receipt.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	w.crash(time.Second, true)
	for _, id := range []string{"a", "b"} {
		w.want(Accepted, "", `{"id":"`+id+`","topic":"dev/pump/set","payload":"on","ttl":"1m"}`)
		w.crash(time.Second, true)
	}
	kept := ""
	if err := w.custody.Notes(t.Context(), key, func(n reading.Note) error {
		kept = string(n.Value)
		return nil
	}); err != nil || kept != later {
		t.Errorf("the note is %q, %v", kept, err)
	}
	w.stop() // nobody writes the log any more
	w.stop = func() {}
	if !strings.Contains(w.logged.String(), "are of a later version of the program, and kept for it") {
		t.Error("nobody is told")
	}
}
