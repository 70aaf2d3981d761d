package fileout

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// hanging is a file whose disk answers when it is let go, with an error or without.
type hanging struct {
	handle
	asked   chan<- struct{}
	release <-chan error
}

func (s hanging) Sync() error {
	s.asked <- struct{}{}
	return errors.Join(s.handle.Sync(), <-s.release)
}

// A disk that does not answer makes a link stall, and another Sink takes its place.
// When the disk is back, so is the Sink before: what it did not get acknowledged is
// none of its business any more.
func TestTheOneBeforeLeavesAlone(t *testing.T) {
	for name, c := range map[string]struct {
		acked []int // by the one before, before the disk hangs
		sync  error
	}{
		"InAFileOfItsOwn":     {nil, nil},
		"InOneThatGoesOn":     {[]int{1}, nil},
		"AndItsSyncHasFailed": {[]int{1}, syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			before := newSink(t, Config{Dir: dir})
			for _, n := range c.acked {
				send(t, before, document(n, 1))
			}
			asked, release := make(chan struct{}), make(chan error)
			whole := before.disk.open
			before.disk.open = func(path string, fresh bool) (handle, error) {
				h, err := whole(path, fresh)
				return hanging{h, asked, release}, err
			}
			sent, closed := make(chan error, 1), make(chan error, 1)
			go func() { sent <- before.Send(t.Context(), document(2, 1)) }()
			<-asked
			go func() { closed <- before.Close() }()
			waitFor(t, before.isClosed)

			send(t, newSink(t, Config{Dir: dir}), document(2, 1), document(3, 1))
			release <- c.sync
			if err := <-sent; err == nil {
				t.Error("what somebody else has gone on with is acknowledged")
			}
			if err := <-closed; err != nil {
				t.Error(err)
			}
			got := numbers(t, content(t, dir))
			for _, n := range append(c.acked, 2, 3) {
				if !slices.Contains(got, n) {
					t.Errorf("%d was acknowledged and is gone: %v", n, got)
				}
			}
		})
	}
}

// It may have begun to look into the folder when the disk went away.
func TestTheOneBeforeRepairsNothing(t *testing.T) {
	dir := t.TempDir()
	torn := newSink(t, Config{Dir: dir})
	send(t, torn, document(1, 1))
	part := torn.file.path
	h, err := os.OpenFile(part, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteString(`{"n":`); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	before := newSink(t, Config{Dir: dir})
	whole, once := before.disk.open, true
	var after *Sink
	before.disk.open = func(path string, fresh bool) (handle, error) {
		if once { // to cut the torn end off; and the disk hangs
			once = false
			before.mu.Lock()
			before.closed = true
			before.mu.Unlock()
			after = newSink(t, Config{Dir: dir})
			send(t, after, document(2, 1), document(3, 1))
		}
		return whole(path, fresh)
	}
	if err := before.Send(t.Context(), document(4, 1)); err == nil && !slices.Contains(numbers(t, content(t, dir)), 4) {
		t.Error("acknowledged, and not there")
	}
	got := numbers(t, content(t, dir))
	for _, n := range []int{1, 2, 3} {
		if !slices.Contains(got, n) {
			t.Errorf("%d was acknowledged and is gone: %v in %v", n, got, names(t, filepath.Dir(part)))
		}
	}
}
