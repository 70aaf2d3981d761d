package mqttin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/internal/base/leaktest"
	"github.com/tidegate/tidegate/reading"
)

// bounded is a custody that takes only so many notes at once.
type bounded struct {
	*ingesttest.Custody
	limit int
}

func (b bounded) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	if len(notes) > b.limit {
		return nil, fmt.Errorf("%d notes", len(notes))
	}
	return b.Custody.Accept(ctx, rs, notes...)
}

// However much waits to be noted, it is, and stops nobody.
func TestManyNotesAreNotedInPortions(t *testing.T) {
	custody := instant()
	src := start(t, bounded{custody, 2*maxCompany + 10}, Config{})
	src.Addr(t.Context())
	b := serving(src)
	for i := range 5 * maxCompany {
		b.memory.later(reading.Note{Key: messageKey(uint64(i)), Value: []byte{0}})
	}
	reader, writer := resume(t, src, 4, "reader"), connect(t, src, 4, "writer")
	reader.subscribe(1, 1, "d")
	publishAcked(writer, "d", "1")
	b.tendOnce()
	if n := len(custody.Noted()); n < 5*maxCompany {
		t.Errorf("%d are noted", n)
	}
}

// A note that waits is older than what it goes with.
func TestNotesKeepTheirOrder(t *testing.T) {
	w := newWorld(t, Config{})
	key := retainedKey("state")
	serving(w.src).memory.later(reading.Note{Key: key}) // it was damaged
	retain(connect(t, w.src, 4, "c"), "state", "on")
	if _, noted := w.custody.Noted()[key]; !noted {
		t.Error("what is retained is not noted")
	}
}

// unread is a custody whose notes are not read before the gateway is stopped.
type unread struct {
	*ingesttest.Custody
	stop context.CancelFunc
}

func (u unread) Notes(ctx context.Context, _ string, _ func(reading.Note) error) error {
	u.stop()
	return ctx.Err()
}

func TestStopDuringTheStartLeavesNothingRunning(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	src := New(Config{Listen: "127.0.0.1:0", Routes: testRoutes(t)}, slog.New(slog.DiscardHandler))
	if err := src.Run(ctx, ingest.NewIntake(unread{instant(), cancel}, nil, time.Now)); err == nil {
		t.Error("run returned no error")
	}
	leaktest.None(t, leaks)
}

// A note that is given back, because custody took nothing, is older than what has
// come to wait meanwhile, and one that waits in a long queue than what passes it.
func TestNotesKeepTheirOrderWhateverFails(t *testing.T) {
	key, gone := retainedKey("state"), reading.Note{Key: retainedKey("state")}
	there := reading.Note{Key: key, Value: []byte("on")}
	many := make([]reading.Note, maxCompany)
	for i := range many {
		many[i] = reading.Note{Key: messageKey(uint64(i)), Value: []byte{0}}
	}
	for name, story := range map[string]func(m *memory, custody *ingesttest.Custody) error{
		"refused": func(m *memory, custody *ingesttest.Custody) error {
			m.later(gone)
			m.intake = ingest.NewIntake(meanwhile{custody, func() { m.later(there) }}, nil, time.Now)
			_, err := m.accept(t.Context(), reading.Note{Key: "other"})
			m.intake = ingest.NewIntake(custody, nil, time.Now)
			if err == nil {
				return errors.New("it was taken")
			}
			return m.flush(t.Context())
		},
		"in a long queue": func(m *memory, _ *ingesttest.Custody) error {
			m.later(gone)
			m.later(many...)
			m.later(there)
			return m.flush(t.Context())
		},
		"passed": func(m *memory, _ *ingesttest.Custody) error {
			m.later(many...)
			m.later(gone)
			if _, err := m.accept(t.Context(), there); err != nil {
				return err
			}
			return m.flush(t.Context())
		},
	} {
		custody := instant()
		m := &memory{intake: ingest.NewIntake(custody, nil, time.Now)}
		if err := story(m, custody); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := string(custody.Noted()[key]); got != "on" {
			t.Errorf("%s: noted is %q", name, got)
		}
	}
}

// meanwhile is a custody that refuses, after something has happened.
type meanwhile struct {
	*ingesttest.Custody
	happens func()
}

func (m meanwhile) Accept(context.Context, []reading.Reading, ...reading.Note) (ingest.Receipt, error) {
	m.happens()
	return nil, ingest.ErrFull
}
