package buffer

import (
	"errors"

	"go.etcd.io/bbolt"
)

// mend makes state.db take changes again, after its medium was full, read-only
// or failing, or its file was damaged, and tells it what memory knows. Nothing
// is committed before: state.db must know that the epoch has begun, or the next
// start could give out its numbers again.
func (b *Buffer) mend() error {
	if b.state.well() {
		return nil
	}
	aside, err := b.state.reopen()
	b.logAside(aside)
	if err != nil {
		return err
	}
	if err := b.tell(true); err != nil {
		return err
	}
	b.complaint.Store(nil)
	b.log.Warn("state.db takes changes again")
	return nil
}

// complain says why state.db takes no changes, once for as long as that is so,
// and wakes Run to mend it.
func (b *Buffer) complain(why error) {
	text := why.Error()
	if last := b.complaint.Swap(&text); last == nil || *last != text {
		b.log.Error("state.db takes no changes; nothing is acknowledged", "err", why)
	}
	b.signal()
}

// tell writes how this run began, and what doors noted since, or everything that
// memory knows. If that fails, state.db is unwell from now on.
func (b *Buffer) tell(everything bool) error {
	b.saving.Lock()
	defer b.saving.Unlock()
	changes := append(b.notes.changes(b.record),
		put(bucketMeta, []byte(sessionKey), b.session()))
	if everything {
		changes = append(changes, b.remembered()...)
	}
	if err := b.state.update(changes...); err != nil {
		err = advise(err)
		b.state.fail(fault{err: err})
		b.setDirty()
		return err
	}
	b.notes.folded()
	return nil
}

// remembered is what state.db holds and memory knows, too.
func (b *Buffer) remembered() (changes []func(*bbolt.Tx) error) {
	changes = b.cursorChanges()
	for _, info := range b.index.upTo(b.sealed) {
		info.Head = segmentHead(b.cfg.Dir, info.Number)
		changes = append(changes, put(bucketSegments, numberKey(info.Number), info))
	}
	b.gapMu.Lock()
	defer b.gapMu.Unlock()
	for _, r := range b.gaps {
		changes = append(changes, put(bucketGaps, r.key, r.entry))
	}
	return changes
}

func (b *Buffer) logAside(file string) {
	switch {
	case file == "":
	case errors.Is(b.state.why, errNewer):
		b.log.Error("state.db is of a later version of the program and is set aside for it; deliveries may repeat, sessions and what was refused stay in that file", "file", file, "err", b.state.why)
	default:
		b.log.Error("state.db was damaged and is set aside; deliveries may repeat", "file", file, "err", b.state.why)
	}
}
