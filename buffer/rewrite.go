package buffer

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// A segment that is not written any more may be replaced by a smaller file of
// the same number, which holds the same readings or what is left of them. Such
// files are made under another name, with one of these endings. What a start finds
// under such a name is nothing that counts.
const (
	shrunkSuffix = ".shrunk" // lanes were evicted
	mergedSuffix = ".merged" // small blocks were made into large ones
	oldSuffix    = ".old"    // the file that was replaced, on its way to be the spare
)

// shrunk makes a new file of what info still counts in the segment.
func (b *Buffer) shrunk(info segmentInfo) (segmentInfo, error) {
	return b.copySegment(info, shrunkSuffix, func(out *segmentCopy) (func(wire.Block) error, func() error) {
		return out.write, func() error { return nil }
	})
}

// copySegment makes a new file of the blocks that info still counts in the
// segment. through puts something between reading and writing; what it returns
// is given every block, and called at the end.
func (b *Buffer) copySegment(info segmentInfo, suffix string, through func(*segmentCopy) (add func(wire.Block) error, end func() error)) (segmentInfo, error) {
	out, err := newSegmentCopy(segmentPath(b.cfg.Dir, info.Number)+suffix, info)
	if err != nil {
		return segmentInfo{}, err
	}
	add, end := through(out)
	err = b.eachBlock(info, func(blk wire.Block) error {
		if info.Lanes[blk.Lane].Last == 0 {
			return nil
		}
		return add(blk)
	})
	if err == nil {
		err = end()
	}
	if err = errors.Join(err, out.finish()); err != nil {
		os.Remove(out.file.Name())
		return segmentInfo{}, fmt.Errorf("segment %d written anew: %w", info.Number, err)
	}
	return out.info, nil
}

// replaceFile puts the new file of a segment into its place while nobody is handed
// anything. It does not if last, a look that may be nil, then finds a reason against it. A
// crash leaves the old one or the new one, and state.db vouches for neither before it is over.
func (b *Buffer) replaceFile(info segmentInfo, suffix string, last func() error) error {
	path := segmentPath(b.cfg.Dir, info.Number)
	err := b.withoutReaders(info.Number, func() error {
		if last != nil {
			if err := last(); err != nil {
				return err
			}
		}
		if err := b.state.update(put(bucketSegments, numberKey(info.Number), nil)); err != nil {
			return err
		}
		if old, ok := b.index.segment(info.Number); ok && old.Size == segmentSize && !b.hasSpare() {
			_ = os.Link(path, path+oldSuffix) // or the next segment is a new file
		}
		if err := os.Rename(path+suffix, path); err != nil {
			return err
		}
		b.index.replace(info)
		return syncDir(b.cfg.Dir)
	})
	if err != nil { // a crash finds one of the two files, and reads it
		os.Remove(path + suffix)
		os.Remove(path + oldSuffix)
		return err
	}
	// Not before now: what is called the spare is written, and no segment may be
	// the same file.
	_ = os.Rename(path+oldSuffix, filepath.Join(b.cfg.Dir, spareFile))
	info.Head = segmentHead(b.cfg.Dir, info.Number)
	b.index.replace(info)
	b.spend(info.Size + 2*stateCommitFlash)
	return b.state.update(put(bucketSegments, numberKey(info.Number), info))
}

// segmentCopy is a segment's new file while it is written.
type segmentCopy struct {
	file   *os.File
	out    *bufio.Writer
	info   segmentInfo
	record uint64
	buf    []byte
}

func newSegmentCopy(path string, info segmentInfo) (*segmentCopy, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	info.End, info.Blocks = 0, 0
	for lane := range info.Lanes { // numbers and times stay: what has rotted must be missed
		info.Lanes[lane].Bytes = 0
	}
	return &segmentCopy{file: f, out: bufio.NewWriterSize(f, scanWindow), info: info}, nil
}

// write appends a record of one block.
func (s *segmentCopy) write(blk wire.Block) error {
	s.record++
	s.buf = append(beginRecord(s.buf[:0], nil, nil), blk.Raw...)
	sealRecord(s.buf, s.info.Number, s.record)
	s.info.End += int64(len(s.buf))
	s.info.Blocks++
	s.info.Lanes[blk.Lane].Bytes += int64(len(blk.Raw))
	_, err := s.out.Write(s.buf)
	return err
}

// finish brings the file to stable storage.
func (s *segmentCopy) finish() error {
	s.info.Size = s.info.End
	return errors.Join(s.out.Flush(), s.file.Sync(), s.file.Close())
}

// removeCopies deletes the files that were being made, or replaced, when that ended.
func removeCopies(dir string, suffixes ...string) error {
	var names []string
	for _, suffix := range suffixes {
		found, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix+suffix))
		if err != nil {
			return err
		}
		names = append(names, found...)
	}
	var err error
	for _, name := range names {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// sameLanes says whether two accounts of a segment count the same readings.
func sameLanes(a, b segmentInfo) bool {
	for lane := range reading.Lane(reading.Lanes) {
		if a.Lanes[lane] != b.Lanes[lane] {
			return false
		}
	}
	return true
}
