package buffer

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// A sealed segment whose blocks are small is written anew with large ones: a
// lone reading takes a hundred bytes in a block of its own and two or three
// among a thousand. During a long outage that multiplies what the bound holds.
const (
	// smallBlock is the mean size of records below which joining them pays.
	smallBlock = 2 << 10
	// joinReadings and joinBytes bound the blocks that are joined, so that the
	// result is still a small delivery for a slow link.
	joinReadings = 2048
	joinBytes    = 128 << 10
	// mergeRest is how many times as long as it works the merger rests: ingest
	// comes first, on one core, too.
	mergeRest = 3
)

// errNoGain means that a merged segment would not save more than it costs.
var errNoGain = errors.New("merging saves too little")

// merged is a segment before and after; err says why it stays as it is.
type merged struct {
	before, after segmentInfo
	err           error
}

// mergeSegments makes files with large blocks of segments with small ones, until
// ctx ends. Run puts them into their places.
func (b *Buffer) mergeSegments(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case info := <-b.toMerge:
			after, err := b.mergeSegment(ctx, info)
			b.merged <- merged{info, after, err}
		}
	}
}

// considerMerge sends the next segment that is worth it to be merged. The newest
// is left alone, because the last of it is on its way to a sink that is up.
func (b *Buffer) considerMerge() {
	if b.merging {
		return
	}
	sealed := b.sealedSegments()
	for _, s := range sealed[:max(len(sealed)-1, 0)] {
		if s.Number <= b.considered {
			continue
		}
		b.considered = s.Number
		if s.Blocks > 1 && s.End/int64(s.Blocks) < smallBlock && b.isUntouched(s) {
			b.merging = true
			b.toMerge <- s
			return
		}
	}
}

// isUntouched says that every sink has all of the segment's lanes, or nothing:
// a block must not be joined with one that was delivered alone.
func (b *Buffer) isUntouched(info segmentInfo) bool {
	b.curMu.Lock()
	defer b.curMu.Unlock()
	return b.untouched(info)
}

// untouched is isUntouched for who holds curMu. A sink that is not there at present
// goes on at its place when it comes back.
func (b *Buffer) untouched(info segmentInfo) bool {
	for lane, s := range info.Lanes {
		if s.Last == 0 {
			continue
		}
		for _, c := range b.cursors {
			if c.isWithin(reading.Lane(lane), numberRange{s.First, s.Last}) {
				return false
			}
		}
		for name, acked := range b.marks {
			has := acked[lane].overlap(s.First, s.Last)
			if b.cursors[name] == nil && has > 0 && has <= s.Last-s.First {
				return false
			}
		}
	}
	return true
}

// finishMerge puts a merged segment into its place, unless it has changed
// meanwhile, and looks for the next.
func (b *Buffer) finishMerge(m merged) {
	b.merging = false
	defer b.considerMerge()
	now, there := b.index.segment(m.before.Number)
	err := m.err
	if err == nil && (!there || !sameLanes(now, m.before)) {
		err = errors.Join(errNoGain, os.Remove(segmentPath(b.cfg.Dir, m.before.Number)+mergedSuffix))
	}
	if err == nil {
		err = b.replaceFile(m.after, mergedSuffix, func() error {
			if !b.untouched(now) {
				return errNoGain
			}
			return nil
		})
	}
	if err != nil {
		b.log.Debug("segment is not merged", "segment", m.before.Number, "why", err)
		return
	}
	b.log.Info("small blocks were merged", "segment", m.before.Number,
		"blocks", m.before.Blocks, "bytes", m.before.End, "now", m.after.Blocks, "bytes_now", m.after.End)
}

// mergeSegment makes the new file, of a segment that can be read to the last number:
// what is damaged, or of a later version, stays as it is.
func (b *Buffer) mergeSegment(ctx context.Context, info segmentInfo) (segmentInfo, error) {
	return b.copySegment(info, mergedSuffix, func(out *segmentCopy) (func(wire.Block) error, func() error) {
		j := &joiner{merger: wire.NewMerger(), began: time.Now()}
		j.emit = func(blk wire.Block) error {
			if err := out.write(blk); err != nil {
				return err
			}
			if out.info.End > info.End/2 {
				return errNoGain
			}
			if !pause(ctx, mergeRest*time.Since(j.began)) {
				return ctx.Err()
			}
			j.began = time.Now()
			return nil
		}
		return j.add, func() error {
			if j.count != info.count() {
				return errDamaged
			}
			return j.end()
		}
	})
}

// joiner makes large blocks of consecutive small ones.
type joiner struct {
	merger *wire.Merger
	emit   func(wire.Block) error
	lanes  [reading.Lanes]joining
	began  time.Time
	count  uint64 // of readings
	buf    []byte
}

// joining is what waits to become one block.
type joining struct {
	blocks       []wire.Block
	count, bytes int
}

func (j *joiner) add(blk wire.Block) error {
	l := &j.lanes[blk.Lane]
	if n := len(l.blocks); n > 0 && (!wire.Mergeable(l.blocks[n-1], blk) ||
		l.count+blk.Count > joinReadings || l.bytes+len(blk.Raw) > joinBytes) {
		if err := j.flush(l); err != nil {
			return err
		}
	}
	j.count += uint64(blk.Count)
	l.blocks = append(l.blocks, own(blk))
	l.count += blk.Count
	l.bytes += len(blk.Raw)
	return nil
}

func (j *joiner) end() error {
	for lane := range j.lanes {
		if err := j.flush(&j.lanes[lane]); err != nil {
			return err
		}
	}
	return nil
}

func (j *joiner) flush(l *joining) error {
	blocks := l.blocks
	if len(blocks) > 1 {
		raw, err := j.merger.Merge(j.buf[:0], blocks)
		if err != nil {
			return err
		}
		j.buf = raw
		if len(raw) < l.bytes {
			one, _, err := wire.ParseBlock(raw)
			if err != nil {
				return err
			}
			blocks = []wire.Block{one}
		}
	}
	for _, blk := range blocks {
		if err := j.emit(blk); err != nil {
			return err
		}
	}
	*l = joining{blocks: l.blocks[:0]}
	return nil
}
