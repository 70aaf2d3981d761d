package buffer

import (
	"errors"
	"fmt"

	"github.com/tidegate/tidegate/reading"
)

// isKnock says whether notes are there and none has a key.
func isKnock(notes []reading.Note) bool {
	for _, n := range notes {
		if n.Key != "" {
			return false
		}
	}
	return len(notes) > 0
}

// knock returns a receipt that resolves when the buffer has shown that it commits, or
// why it does not. Where readings wait, it is theirs: their commit shows it. Else Run
// has the active segment synced once more, which holds nothing new: that goes the way of
// a commit, to the device and back, and writes nothing. A knock never makes the buffer
// take up another segment, and changes nothing of what it says of itself.
func (b *Buffer) knock() (*Receipt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, ErrClosed
	case !b.open.empty():
		return b.open.receipt, nil
	case b.knocks == nil:
		b.knocks = &Receipt{done: make(chan struct{})}
		b.signal()
	}
	return b.knocks, nil
}

// answer answers who has knocked.
func (b *Buffer) answer() {
	b.mu.Lock()
	r := b.knocks
	b.knocks = nil
	b.mu.Unlock()
	if r != nil {
		r.resolve(b.prove())
	}
}

// prove syncs the active segment, in which everything is on flash. If that fails, it is
// not written any more, as after a commit that failed.
func (b *Buffer) prove() error {
	if b.active == nil {
		if p := b.problem.Load(); p != nil {
			return errors.New("nothing is stored: " + *p)
		}
		return nil // nothing was written yet
	}
	if err := b.active.sync(b.active.file); err != nil {
		b.log.Error("segment is not written any more after a failed sync", "segment", b.active.number, "err", err)
		b.active.close()
		b.active = nil
		return fmt.Errorf("segment: fdatasync: %w", err)
	}
	return nil
}
