package mqttin

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/reading"
)

// notesOf returns what is noted of the broker, by key.
func (w *world) notesOf() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	if err := w.custody.Notes(w.t.Context(), notePrefix, func(n reading.Note) error {
		all[n.Key] = string(n.Value)
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	return all
}

// setNoteVersion replaces the first byte of the notes under a prefix, which is their version.
func (w *world) setNoteVersion(prefix string, version byte) {
	w.t.Helper()
	var notes []reading.Note
	for key, value := range w.notesOf() {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		changed := []byte(value)
		changed[0] = version
		notes = append(notes, reading.Note{Key: key, Value: changed})
	}
	receipt, err := w.custody.Accept(w.t.Context(), nil, notes...)
	if err == nil {
		err = receipt.Wait(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// Sessions and retained messages of a later version are not there, and not forgotten:
// when it comes back it finds them.
func TestNotesOfALaterVersionWaitForIt(t *testing.T) {
	w := newWorld(t, Config{})
	reader := resume(t, w.src, 4, "reader")
	reader.subscribe(1, 1, "orders")
	bye(reader)
	writer := connect(t, w.src, 4, "writer")
	retain(writer, "kept", "on")
	writer.publish("orders", "go", 1, 2)
	writer.expect(packets.Puback, 2)
	w.restart()
	w.setNoteVersion(notePrefix, noteVersion+1)
	before := w.notesOf()
	if len(before) < 4 {
		t.Fatalf("notes: %q", before)
	}
	for range 2 {
		w.restart()
		late := connect(t, w.src, 4, "late")
		late.subscribe(1, 1, "kept")
		late.silent()
		bye(late)
	}
	w.flush()
	if after := w.notesOf(); !maps.Equal(before, after) {
		t.Errorf("the notes were %q, and are %q", before, after)
	}
	w.setNoteVersion(notePrefix, noteVersion)
	w.restart()
	late := connect(t, w.src, 4, "late")
	late.subscribe(1, 1, "kept")
	if got := late.read(); !bytes.Equal(got.Payload, []byte("on")) {
		t.Errorf("retained is %q", got.Payload)
	}
	reader = resume(t, w.src, 4, "reader")
	if got := reader.read(); !bytes.Equal(got.Payload, []byte("go")) {
		t.Errorf("the session gets %q", got.Payload)
	}
}

// A commit that fails has what is noted looked through: what belongs to a session of a
// later version belongs to nobody that is known, and stays.
func TestALookAtTheNotesLeavesThoseOfALaterVersion(t *testing.T) {
	w := newWorld(t, Config{})
	reader := resume(t, w.src, 4, "reader")
	reader.subscribe(1, 1, "orders")
	bye(reader)
	publishAcked(connect(t, w.src, 4, "writer"), "orders", "go")
	w.restart()
	w.setNoteVersion(sessionNotes, noteVersion+1)
	before := w.notesOf()
	if len(before) != 3 {
		t.Fatalf("notes: %q", before)
	}
	w.restart()
	if err := serving(w.src).reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.flush()
	if after := w.notesOf(); !maps.Equal(before, after) {
		t.Errorf("the notes were %q, and are %q", before, after)
	}
}
