package buffer

import (
	"errors"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

func TestARetiredSinkGoesOnWhereItWas(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	c := r.Cursor("cloud")
	r.accept("a", 1)
	r.accept("a", 2)
	c.Ack(reading.Normal, 1, 1)
	r.Retire("cloud")
	r.Retire("cloud") // is gone already
	r.Retire("nobody")
	if _, err := c.Next(t.Context(), reading.AllLanes, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("a retired cursor is handed blocks: %v", err)
	}
	if _, owed := r.waiting(reading.Normal, 1, 1); !owed {
		t.Error("without any sink, something is owed to nobody")
	}
	r.Cursor("archive")
	if sinks, _ := r.waiting(reading.Normal, 1, 2); len(sinks) != 1 || sinks[0] != "archive" {
		t.Errorf("readings wait for %v", sinks)
	}
	r.accept("a", 3)
	r.expect("cloud", 2, 3)
	r.Retire("cloud")
	r.crash()
	r = start(t, dir, nil)
	r.accept("a", 4)
	r.expect("cloud", 2, 3, 4)
}

func TestARetiredSinkCanBeForgotten(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.accept("a", 1)
	c := r.Cursor("cloud")
	c.Ack(reading.Normal, 1, 1)
	r.Retire("cloud")
	if err := r.Forget("cloud"); err != nil {
		t.Error(err)
	}
	r.expect("cloud", 1)
}
