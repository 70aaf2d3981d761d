package buffer

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// roll seals the active segment and begins a new one: a new file while the
// bound allows, the oldest file after that; one with readings that some sink
// still waits for only if mayEvict.
func (b *Buffer) roll(mayEvict bool) error {
	if b.active != nil {
		b.active.close()
		b.active = nil
	}
	b.seal()
	seg, err := b.nextSegment(b.newest+1, mayEvict)
	if err != nil {
		return err
	}
	b.newest = seg.number
	b.active = seg
	b.index.begin(segmentInfo{Number: seg.number})
	return nil
}

// seal notes what the last segment holds, so that the next start need not read
// it, and removes one in which nothing could be written.
func (b *Buffer) seal() {
	last, ok := b.index.active()
	if !ok || last.Number == b.sealed {
		return
	}
	if last.End == 0 {
		b.index.dropNewest()
		if err := os.Remove(segmentPath(b.cfg.Dir, last.Number)); err != nil {
			b.log.Warn("empty segment stays", "segment", last.Number, "err", err)
		}
		return
	}
	if err := b.state.update(append(b.cursorChanges(), put(bucketSegments, numberKey(last.Number), last))...); err != nil {
		b.log.Warn("segment is not noted; the next start will read it", "segment", last.Number, "err", err)
	}
	b.spend(stateCommitFlash)
	b.sealed = last.Number
}

func (b *Buffer) nextSegment(number uint64, mayEvict bool) (*segment, error) {
	count := b.index.size()
	if int64(count+1)*segmentSize <= b.cfg.MaxBytes {
		seg, err := createSegment(b.cfg.Dir, number)
		if err == nil {
			return seg, nil
		}
		if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
			return nil, fmt.Errorf("new segment: %w", err)
		}
		if !b.oldestIsDelivered() {
			return nil, fmt.Errorf("%w: no space left on the disk, with %d of %d MiB used",
				ErrFull, int64(count)*segmentSize>>20, b.cfg.MaxBytes>>20)
		}
	}
	if !mayEvict && !b.oldestIsDelivered() {
		return nil, fmt.Errorf("%w: and writing fails", ErrFull)
	}
	return b.recycle(number)
}

// recycle takes the oldest segment's file for the segment numbered number. What
// a sink still waits for in it is lost, and declared before it is gone.
func (b *Buffer) recycle(number uint64) (*segment, error) {
	oldest, ok := b.index.oldest()
	if !ok {
		return nil, fmt.Errorf("%w: max_bytes leaves no segment to recycle", ErrFull)
	}
	if b.isOwed(oldest) {
		if err := b.evict(oldest); err != nil {
			return nil, fmt.Errorf("evict segment %d: %w", oldest.Number, err)
		}
	}
	if err := b.state.update(put(bucketSegments, numberKey(oldest.Number), nil)); err != nil {
		return nil, fmt.Errorf("forget segment %d: %w", oldest.Number, err)
	}
	seg, err := recycleSegment(b.cfg.Dir, oldest.Number, number)
	if err != nil {
		return nil, fmt.Errorf("recycle segment %d: %w", oldest.Number, err)
	}
	b.index.dropOldest()
	return seg, nil
}

func (b *Buffer) oldestIsDelivered() bool {
	oldest, ok := b.index.oldest()
	return ok && !b.isOwed(oldest)
}
