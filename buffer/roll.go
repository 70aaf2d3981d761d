package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/reading"
)

// spareFile is a file of a segment's size that nobody needs at the moment. It
// becomes the next segment: its blocks have been written once, and that is a
// commit's price.
const spareFile = "spare"

// roll seals the active segment and begins a new one. Readings that some sink
// still waits for make room only if mayEvict.
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
	b.active, b.begun = seg, b.sealTime()
	b.index.begin(segmentInfo{Number: seg.number, Size: segmentSize})
	b.reserve.take()
	b.considerMerge()
	return nil
}

// seal notes what the last segment holds, so that the next start need not read
// it, and removes one in which nothing could be written.
func (b *Buffer) seal() {
	last, ok := b.index.active()
	if !ok || last.Number <= b.sealed {
		return
	}
	if last.End == 0 {
		b.index.drop(last.Number)
		b.remove(last.Number)
		return
	}
	last.Sealed = b.sealTime()
	last.Head = segmentHead(b.cfg.Dir, last.Number)
	b.index.replace(last)
	if err := b.updateWithCursors(put(bucketSegments, numberKey(last.Number), last)); err != nil {
		b.log.Warn("segment is not noted; the next start will read it", "segment", last.Number, "err", err)
	}
	b.spend(stateCommitFlash)
	b.sealed = last.Number
}

// nextSegment begins a segment in the spare file, or in a new one.
func (b *Buffer) nextSegment(number uint64, mayEvict bool) (*segment, error) {
	if err := b.makeRoom(mayEvict); err != nil {
		return nil, err
	}
	if seg := b.fromSpare(number); seg != nil {
		return seg, nil
	}
	seg, err := createSegment(b.cfg.Dir, number)
	if !isNoSpace(err) {
		if err != nil {
			return nil, fmt.Errorf("new segment: %w", err)
		}
		return seg, nil
	}
	// The disk is full although the bound allows more: another program's log
	// file must not cost readings, so only what is delivered makes room.
	if err := b.releaseDelivered(); err != nil {
		return nil, fmt.Errorf("%w: no space left on the disk, with %d of %d MiB used", ErrFull, b.index.size()>>20, b.cfg.MaxBytes>>20)
	}
	if seg := b.fromSpare(number); seg != nil {
		return seg, nil
	}
	if seg, err = createSegment(b.cfg.Dir, number); err != nil {
		return nil, fmt.Errorf("new segment: %w", err)
	}
	return seg, nil
}

// fromSpare makes the spare file the new segment. Its old records carry an old
// number and mean nothing any more. It returns nil when that cannot be.
func (b *Buffer) fromSpare(number uint64) *segment {
	if !b.hasSpare() {
		return nil
	}
	spare, path := filepath.Join(b.cfg.Dir, spareFile), segmentPath(b.cfg.Dir, number)
	err := os.Rename(spare, path)
	if err == nil {
		err = syncDir(b.cfg.Dir)
	}
	if err == nil {
		var seg *segment
		if seg, err = openSegment(b.cfg.Dir, number, 0); err == nil {
			return seg
		}
	}
	b.log.Warn("spare file is not used; a new one takes its place", "err", err)
	b.remove(number)
	os.Remove(spare)
	return nil
}

func (b *Buffer) hasSpare() bool {
	info, err := os.Lstat(filepath.Join(b.cfg.Dir, spareFile))
	return err == nil && info.Mode().IsRegular() && info.Size() == segmentSize
}

// release gives a segment up: what it holds is delivered, or declared lost. The
// cursors are saved with that, or a start would take it for missing.
func (b *Buffer) release(info segmentInfo) error {
	for lane, s := range info.Lanes {
		if s.Last != 0 {
			b.passAll(reading.Lane(lane), s.First, s.Last)
		}
	}
	if err := b.updateWithCursors(put(bucketSegments, numberKey(info.Number), nil)); err != nil {
		return fmt.Errorf("forget segment %d: %w", info.Number, err)
	}
	return b.withoutReaders(info.Number, func() error {
		b.index.drop(info.Number)
		if info.Size != segmentSize || b.hasSpare() {
			b.remove(info.Number)
			return nil
		}
		if err := os.Rename(segmentPath(b.cfg.Dir, info.Number), filepath.Join(b.cfg.Dir, spareFile)); err != nil {
			b.log.Warn("segment is not recycled", "segment", info.Number, "err", err)
			b.remove(info.Number)
		}
		return nil
	})
}

// withoutReaders changes a segment's file while no cursor has it open: what a
// file holds must not change under who reads it.
func (b *Buffer) withoutReaders(number uint64, change func() error) error {
	b.curMu.Lock()
	defer b.curMu.Unlock()
	for _, c := range b.cursors {
		c.place.Lock()
		defer c.place.Unlock()
		c.leave(number)
	}
	return change()
}

// remove deletes a file that holds nothing any more.
func (b *Buffer) remove(number uint64) {
	if err := os.Remove(segmentPath(b.cfg.Dir, number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.log.Warn("empty segment stays", "segment", number, "err", err)
	}
}

func isNoSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
