package mqttin

import (
	"context"
	"slices"

	"github.com/tidegate/tidegate/reading"
)

// reconcile makes the notes say what is so, after a commit has failed: what was
// noted with it is not there. What should be noted is noted again; what is noted
// and should not be is forgotten.
func (b *broker) reconcile(ctx context.Context) error {
	book, err := b.readNotes(ctx)
	if err != nil {
		return err
	}
	if err := b.renoteRetained(book); err != nil {
		return err
	}
	needed := map[uint64]bool{} // messages and sessions
	for _, s := range b.everySession() {
		if err := s.renote(ctx, book); err != nil {
			return err
		}
		needed[s.number] = true
		s.addMessages(needed)
	}
	for number := range book.sessions {
		if !needed[number] {
			b.memory.later(reading.Note{Key: sessionKey(number)})
		}
	}
	if book.later > 0 { // a session of a later version may need the rest; see restore
		return nil
	}
	for number := range book.messages {
		if !needed[number] {
			b.memory.later(reading.Note{Key: messageKey(number)})
		}
	}
	for session, copies := range book.copies { // renote took those of its session out
		for _, o := range copies {
			b.memory.later(reading.Note{Key: copyKey(session, o.message.number)})
		}
	}
	for session, arrivals := range book.arrivals {
		for id := range arrivals {
			if !needed[session] {
				b.memory.later(reading.Note{Key: arrivalKey(session, id)})
			}
		}
	}
	return nil
}

// renote notes the session again, and those of its messages whose note was lost.
// It takes what is rightly noted out of the book. Nobody else may note anything
// of the session between the look at it and the note.
func (s *session) renote(ctx context.Context, book *notebook) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.noted || s.ended {
		return nil
	}
	b := s.broker
	if _, err := b.memory.accept(ctx, s.noteOf()); err != nil {
		return err
	}
	kept := book.copies[s.number][:0]
	for _, o := range book.copies[s.number] {
		if !s.hasMessage(o.message.number) {
			kept = append(kept, o)
		}
	}
	book.copies[s.number] = kept
	for _, o := range slices.Clone(s.queue) {
		if !o.noted || state(o.receipt) != notOnFlash {
			continue
		}
		if o.isFirm() && !o.released {
			s.drop(o) // as next does: who published it sends it again
			continue
		}
		notes := []reading.Note{{Key: copyKey(s.number, o.message.number), Value: o.append(nil)}}
		if !o.released {
			notes = append(notes, reading.Note{Key: messageKey(o.message.number), Value: appendMessage([]byte{noteVersion}, o.message, b.clock)})
		}
		receipt, err := b.memory.accept(ctx, notes...)
		if err != nil {
			return err
		}
		o.receipt = receipt
	}
	s.pump()
	return nil
}

func (s *session) hasMessage(number uint64) bool {
	for _, o := range s.queue {
		if o.message.number == number {
			return true
		}
	}
	return false
}

// addMessages adds the numbers of the messages that the session needs.
func (s *session) addMessages(needed map[uint64]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.queue {
		needed[o.message.number] = true
	}
}

// renoteRetained notes the retained messages again whose note was lost, and
// forgets those that are not retained any more.
func (b *broker) renoteRetained(book *notebook) error {
	b.retained.change.Lock()
	defer b.retained.change.Unlock()
	for _, m := range b.retained.lost() {
		receipt, err := b.memory.accept(b.ctx, b.retainedNote(m))
		if err != nil {
			return err
		}
		b.retained.confirm(m, receipt)
	}
	for _, m := range book.retained {
		if b.retained.get(m.topic) != nil {
			continue
		}
		if _, err := b.memory.accept(b.ctx, reading.Note{Key: retainedKey(m.topic)}); err != nil {
			return err
		}
	}
	return nil
}
