package buffer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/tidegate/tidegate/wire"
)

// view is the journal as somebody reads it who does not write it: the process
// that commits, for its history, or another one. It takes no lock. What the
// segments hold may change while it reads: they grow, they are recycled, and
// files are exchanged for smaller ones.
type view struct {
	dir      string
	segments []Segment // ascending
	polite   bool      // works a quarter of the time: somebody commits in this process
}

// stretch is how much of a segment is read in one turn.
const stretch = 64 << 10

// walk is one way through the blocks of a view.
type walk struct {
	view
	newestFirst bool
	mayHold     func(Segment) bool // false leaves the file alone
	wants       func(wire.Block) bool
	visit       func(wire.Block) error // the block is valid during the call
	left        func(Segment) error    // may be nil: the walk is through with it
	unread      error                  // the first segment that could not be read
	broken      int64                  // bytes that did not check, some of them counted twice
}

// errChanged means that the file under a scanner is another one's by now.
var errChanged = errors.New("segment file was replaced")

// ErrLeftOut means that all was visited but what could not be read.
var ErrLeftOut = errors.New("some readings cannot be read and are left out")

// run visits the blocks that are wanted, in the order in which they were
// committed, or in the opposite one. What has made room meanwhile is not
// visited, and nothing is visited twice as long as wants says no to what visit
// has seen. A segment that cannot be read is passed over; unread says which.
func (w *walk) run(ctx context.Context) error {
	segments := slices.Clone(w.segments)
	if w.newestFirst {
		slices.Reverse(segments)
	}
	for _, seg := range segments {
		if !w.mayHold(seg) {
			continue
		}
		err := errChanged
		for errors.Is(err, errChanged) {
			err = w.segment(ctx, seg)
		}
		if err == nil && w.left != nil {
			err = w.left(seg)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// segment visits the blocks of one segment. errChanged asks to begin it anew.
func (w *walk) segment(ctx context.Context, seg Segment) error {
	r, err := w.open(seg)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // recycled
	}
	if err != nil {
		w.passOver(seg, err)
		return nil
	}
	defer r.close()
	defer func() { w.broken += r.broken }()
	if w.newestFirst {
		err = w.backward(ctx, r)
	} else {
		err = w.forward(ctx, r)
	}
	var bad *readError
	if errors.As(err, &bad) {
		w.passOver(seg, bad.error)
		return nil
	}
	return err
}

func (w *walk) passOver(seg Segment, err error) {
	if w.unread == nil {
		w.unread = fmt.Errorf("%w: segment %d: %w", ErrLeftOut, seg.Number, err)
	}
}

func (w *walk) forward(ctx context.Context, r *segmentReader) error {
	for {
		rec, err := r.read(ctx)
		if errors.Is(err, errEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, blk := range rec.blocks {
			if w.wants(blk) {
				if err := w.visit(blk); err != nil {
					return err
				}
			}
		}
	}
}

// mark is a place from which a scanner can go on.
type mark struct {
	off    int64
	record uint64
}

// backward goes through the segment once to find places a stretch apart, because
// records can only be read forward, and then reads the stretches from the last
// to the first. Memory holds one of them.
func (w *walk) backward(ctx context.Context, r *segmentReader) error {
	marks := []mark{{}}
	for {
		_, err := r.read(ctx)
		if errors.Is(err, errEnd) {
			break
		}
		if err != nil {
			return err
		}
		if r.off >= marks[len(marks)-1].off+stretch {
			marks = append(marks, mark{r.off, r.record})
		}
	}
	end := r.limit
	for _, m := range slices.Backward(marks) {
		blocks, err := w.between(ctx, r, m, end)
		if err != nil {
			return err
		}
		for _, blk := range slices.Backward(blocks) {
			if w.wants(blk) { // asked again: visit may have had enough
				if err := w.visit(blk); err != nil {
					return err
				}
			}
		}
		end = m.off
	}
	return nil
}

// between returns the blocks that are wanted of the records from the mark up to
// end.
func (w *walk) between(ctx context.Context, r *segmentReader, from mark, end int64) (blocks []wire.Block, err error) {
	r.off, r.record = from.off, from.record
	for r.off < end {
		rec, err := r.read(ctx)
		if errors.Is(err, errEnd) {
			break
		}
		if err != nil {
			return nil, err
		}
		for _, blk := range rec.blocks {
			if w.wants(blk) {
				blocks = append(blocks, own(blk))
			}
		}
	}
	return blocks, nil
}

// segmentReader reads a segment that may be taken away meanwhile.
type segmentReader struct {
	scanner
	path   string
	open   *os.File
	broken int64 // bytes that did not check, so far
	exact  bool  // records end at the limit and not before

	polite bool
	turn   int64     // where the next turn of somebody else is due
	began  time.Time // when this turn did
}

func (v view) open(seg Segment) (*segmentReader, error) {
	f, err := os.Open(segmentPath(v.dir, seg.Number))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &segmentReader{
		scanner: scanner{file: f, number: seg.Number, limit: seg.limit()},
		path:    f.Name(), open: f, polite: v.polite,
		exact: info.Size() >= seg.limit() && seg.Bytes > 0, // a smaller file has taken its place since the view was made
	}, nil
}

// readError is an error of the medium, as opposed to one of the visitor.
type readError struct{ error }

func (e *readError) Unwrap() error { return e.error }

// read returns the next record. Where bytes do not check, it makes sure that
// they are still this segment's: before a file is written by another segment,
// or put out of use, it loses its name.
func (r *segmentReader) read(ctx context.Context) (record, error) {
	if r.off >= r.turn || r.off+stretch < r.turn {
		if err := r.rest(ctx); err != nil {
			return record{}, err
		}
		r.turn = r.off + stretch
	}
	rec, skipped, err := r.next()
	if err == nil && skipped == 0 {
		return rec, nil
	}
	if r.replaced() {
		return record{}, errChanged
	}
	r.broken += skipped
	if errors.Is(err, errEnd) && r.exact {
		r.broken += r.limit - r.off
	}
	if err != nil && !errors.Is(err, errEnd) {
		return record{}, &readError{err}
	}
	return rec, err
}

// rest ends a turn.
func (r *segmentReader) rest(ctx context.Context) error {
	if r.polite && !r.began.IsZero() {
		pause(ctx, 3*time.Since(r.began))
	}
	r.began = time.Now()
	return ctx.Err()
}

func (r *segmentReader) replaced() bool {
	named, err := os.Stat(r.path)
	if err != nil {
		return true
	}
	mine, err := r.open.Stat()
	return err != nil || !os.SameFile(named, mine)
}
