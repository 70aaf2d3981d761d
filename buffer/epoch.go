package buffer

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
)

// An epoch is a random number whose upper bits are those of all epochs of its
// journal: so it shows whether state.db belongs to the journal beside it. The
// places of a cursor of another journal would skip readings of this one.
const journalBits = 24

func journalOf(epoch uint64) uint64 { return epoch >> (64 - journalBits) }

// newEpoch returns an epoch that was never used, in the journal of the old one,
// or in a new journal if that is 0.
func newEpoch(old uint64) uint64 {
	var random [8]byte
	rand.Read(random[:]) // never fails
	fresh := binary.BigEndian.Uint64(random[:]) | 1
	if old == 0 {
		return fresh
	}
	return journalOf(old)<<(64-journalBits) | fresh&(1<<(64-journalBits)-1)
}

// checkOwner compares the journal of state.db with that of the newest records.
func (r *recovery) checkOwner() error {
	if r.before.File == 0 { // in earlier versions, epochs had nothing in common
		return nil
	}
	if found := r.newestEpoch(); found != 0 && r.before.Epoch != 0 && journalOf(found) != journalOf(r.before.Epoch) {
		return fmt.Errorf("%w: it belongs to another journal", errRotten)
	}
	return nil
}

// newestEpoch is the epoch of the first block in the newest segment that has one.
func (r *recovery) newestEpoch() uint64 {
	for _, n := range slices.Backward(r.files) {
		if epoch := r.firstEpoch(n); epoch != 0 {
			return epoch
		}
	}
	return 0
}

func (r *recovery) firstEpoch(number uint64) uint64 {
	s, err := openScanner(r.cfg.Dir, number, segmentSize)
	if err != nil {
		return 0
	}
	defer s.close()
	for {
		rec, _, err := s.next()
		if err != nil {
			return 0
		}
		if len(rec.blocks) > 0 {
			return rec.blocks[0].Epoch
		}
	}
}

// beginEpoch decides from which numbers to go on. After a clean end they are
// known, and the epoch continues. After any other end the newest record may
// have been sent and then rotted away: its numbers could be given out again.
// So a new epoch begins, in which no number was ever used. A copy of state.db
// tells nothing of how the last run ended: it may be an old one. Nor does a copy of
// the whole card, one of several or a backup, whose numbers others have gone on from.
// That is not to be told from the card itself after a boot, so each boot begins one.
func (r *recovery) beginEpoch() {
	for lane := range r.next {
		last := max(r.lastSeen[lane], r.before.Next[lane]-min(r.before.Next[lane], 1))
		for _, acked := range r.marks {
			last = max(last, acked[lane].last())
		}
		r.next[lane] = last + 1
	}
	clean := r.before.Clean && r.before.Epoch != 0 && r.record <= r.before.Record && r.before.File == r.state.inode()
	r.record = max(r.record, r.before.Record)
	if r.folded != nil { // sealed segments, which are not read, have records up to there
		r.record = max(r.record, *r.folded)
	}
	r.epoch = r.before.Epoch
	if r.epoch == 0 || r.before.File == 0 {
		r.epoch = cmp.Or(r.newestEpoch(), r.epoch)
	}
	if r.leap = r.leap && !clean; r.leap {
		for lane := range r.next {
			r.next[lane] += leap
		}
	}
	if !clean || r.before.Boot != r.cfg.Clock.Boot {
		r.epoch = newEpoch(r.epoch)
	}
	_ = r.tell(r.state.isNew) // Run tries again before it commits
}

// session is how this run goes on, or ended.
func (b *Buffer) session() session {
	return session{File: b.state.inode(), Boot: b.cfg.Clock.Boot, Epoch: b.epoch, Record: b.record, Next: b.next}
}
