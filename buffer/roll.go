package buffer

import (
	"errors"
	"fmt"
	"io/fs"
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
	b.newest++ // whatever comes of it: a half-made file may keep its number
	seg, err := b.nextSegment(b.newest, mayEvict)
	if err != nil {
		return err
	}
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
		b.remove(last.Number)
		return
	}
	last.Head = segmentHead(b.cfg.Dir, last.Number)
	if err := b.updateWithCursors(put(bucketSegments, numberKey(last.Number), last)); err != nil {
		b.log.Warn("segment is not noted; the next start will read it", "segment", last.Number, "err", err)
	}
	b.spend(stateCommitFlash)
	b.sealed = last.Number
}

// nextSegment makes a new file, or takes that of the oldest segment.
func (b *Buffer) nextSegment(number uint64, mayEvict bool) (*segment, error) {
	most := int(b.cfg.MaxBytes / segmentSize)
	for b.index.size() > most { // the bound was lowered
		old, err := b.release(mayEvict)
		if err != nil {
			return nil, err
		}
		b.remove(old)
	}
	if count := b.index.size(); count < most {
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
	old, err := b.release(mayEvict)
	if err != nil {
		return nil, err
	}
	seg, err := recycleSegment(b.cfg.Dir, old, number)
	if err == nil {
		return seg, nil
	}
	b.log.Warn("segment is not recycled; a new file takes its place", "segment", old, "err", err)
	b.remove(old)
	b.remove(number)
	if seg, err = createSegment(b.cfg.Dir, number); err != nil {
		return nil, fmt.Errorf("new segment: %w", err)
	}
	return seg, nil
}

// release gives up the oldest segment and returns its number; the file is
// nobody's then. What a sink still waits for in it is lost, and declared before.
func (b *Buffer) release(mayEvict bool) (number uint64, err error) {
	oldest, ok := b.index.oldest()
	if !ok {
		return 0, fmt.Errorf("%w: max_bytes leaves no segment to recycle", ErrFull)
	}
	if b.isOwed(oldest) {
		if !mayEvict {
			return 0, fmt.Errorf("%w: and writing fails", ErrFull)
		}
		if err := b.evict(oldest); err != nil {
			return 0, fmt.Errorf("evict segment %d: %w", oldest.Number, err)
		}
	}
	if err := b.state.update(put(bucketSegments, numberKey(oldest.Number), nil)); err != nil {
		return 0, fmt.Errorf("forget segment %d: %w", oldest.Number, err)
	}
	b.index.dropOldest()
	return oldest.Number, nil
}

// remove deletes a file that holds nothing any more.
func (b *Buffer) remove(number uint64) {
	if err := os.Remove(segmentPath(b.cfg.Dir, number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.log.Warn("empty segment stays", "segment", number, "err", err)
	}
}

func (b *Buffer) oldestIsDelivered() bool {
	oldest, ok := b.index.oldest()
	return ok && !b.isOwed(oldest)
}
