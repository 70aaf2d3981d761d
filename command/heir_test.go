package command

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
)

// The broker opens before the notes are read, and a device that comes at once answers
// before that: a command that it has is not said to have expired.
func TestADeliveryIsKnownThatCameBeforeTheNotes(t *testing.T) {
	w := newWorld(t, nil)
	w.want(Accepted, "", `{"id":"1","topic":"dev/pump/set"}`)
	w.stop()
	early := New(w.cfg, w.outlet, ingest.NewIntake(w.custody, nil, time.Now), slog.New(slog.DiscardHandler))
	early.Delivered("1", "pump-7")
	w.desk = early
	w.run()
	eventually(t, "it is noted", func() bool { return w.desk.Stats().Delivered == 1 })
}

// A desk whose Run has ended is told of deliveries until its heir is known, which notes
// them, as it does those that come late.
func TestAnHeirNotesWhatWasDelivered(t *testing.T) {
	w := newWorld(t, nil)
	for _, id := range []string{"1", "2", "3"} {
		w.want(Accepted, "", fmt.Sprintf(`{"id":%q,"topic":"dev/pump/set"}`, id))
	}
	w.stop()
	old := w.desk
	old.Delivered("1", "pump-7")
	w.desk = New(w.cfg, w.outlet, ingest.NewIntake(w.custody, nil, time.Now), slog.New(slog.DiscardHandler))
	old.PassOn(w.desk)
	old.Delivered("2", "pump-7")
	w.run()
	old.Delivered("3", "pump-7")
	eventually(t, "all are noted", func() bool { return w.desk.Stats().Delivered == 3 })
}
