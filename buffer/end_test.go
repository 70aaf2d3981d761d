package buffer

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/reading"
)

// after Run has ended, every receipt is resolved.
func TestEveryReceiptResolvesWhenRunEnds(t *testing.T) {
	b := open(t, t.TempDir(), nil)
	r := runBuffer(t, b)
	r.accept("a", 1)
	b.roomless(t)
	first, err := b.Accept(t.Context(), []reading.Reading{value(2, reading.Normal)})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(t.Context()); err == nil {
		t.Fatal("stored")
	}
	second, err := b.Accept(t.Context(), []reading.Reading{value(3, reading.Normal)}) // Run pauses
	if err != nil {
		t.Fatal(err)
	}
	r.stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := second.Wait(ctx); errors.Is(err, context.DeadlineExceeded) {
		t.Error("a receipt never resolves")
	}
	if _, err := b.Accept(ctx, []reading.Reading{value(4, reading.Normal)}); !errors.Is(err, ErrClosed) {
		t.Errorf("Accept after the end says %v", err)
	}
}

// roomless makes every further commit fail, without touching the medium.
func (b *Buffer) roomless(t *testing.T) {
	dir := b.cfg.Dir
	b.active.sync = func(file) error { return unix.EIO }
	b.cfg.Dir = filepath.Join(dir, "gone")
}

// Next while Run ends.
func TestNextWhileRunEnds(t *testing.T) {
	for range 20 {
		r := start(t, t.TempDir(), nil)
		c := r.Cursor("cloud")
		done := make(chan bool)
		go func() {
			defer close(done)
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			for {
				bs, err := c.Next(ctx, reading.AllLanes, 1)
				if err != nil {
					return
				}
				c.Ack(bs[0].Lane, bs[0].First, bs[0].Last())
			}
		}()
		for v := range 10 {
			r.accept("a", float64(v))
		}
		r.stop()
		<-done
	}
}
