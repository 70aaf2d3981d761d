package buffer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

const (
	// saveInterval is how often cursors are written to state.db while no
	// commit carries them for nothing. A crash repeats at most that much.
	saveInterval = time.Second
	// retryPause is how long Run waits after a commit that failed, so that a
	// full disk is not asked a thousand times a second.
	retryPause = time.Second
	// evictPatience is how long commits must have failed before undelivered
	// readings make room for another try: a failing card costs the backlog no
	// more than a segment in that time.
	evictPatience = time.Minute
)

// Run commits groups until ctx ends; then it commits what is open, saves the
// cursors and closes the files. It returns when all of that is done.
func (b *Buffer) Run(ctx context.Context) error {
	mergeCtx, stop := context.WithCancel(ctx)
	var merger sync.WaitGroup
	merger.Go(func() { b.mergeSegments(mergeCtx) })
	b.commitGroups(ctx)
	stop()
	merger.Wait()
	return b.close()
}

func (b *Buffer) commitGroups(ctx context.Context) {
	for {
		g := b.take(ctx)
		if g == nil {
			return
		}
		if err := b.commit(g); err != nil {
			b.fail(g, err)
			if !pause(ctx, retryPause) {
				return // what cannot be written at the end was not acknowledged
			}
			continue
		}
		b.done(g)
	}
}

// take waits until the open group may be committed, and opens a new one. It
// returns nil when ctx has ended and nothing is left.
func (b *Buffer) take(ctx context.Context) *group {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		b.tend()
		b.answer()
		g, wait := b.takeDue(ctx.Err() != nil)
		if g != nil {
			return g
		}
		if ctx.Err() != nil {
			return nil
		}
		wait = min(wait, b.saveDue(), b.tendDue())
		timer.Reset(wait)
		select {
		case <-b.wake:
		case m := <-b.merged:
			b.finishMerge(m)
		case <-timer.C:
			b.saveCursors()
		case <-ctx.Done():
		}
	}
}

// tend does what is due beside commits.
func (b *Buffer) tend() {
	select {
	case m := <-b.merged:
		b.finishMerge(m)
	default:
	}
	if b.tendDue() > 0 {
		return
	}
	b.tended = time.Now()
	b.expire()
	b.tryRoom()
}

// tendDue returns how long that may wait.
func (b *Buffer) tendDue() time.Duration {
	interval := time.Duration(math.MaxInt64)
	if b.refusals.active() {
		interval = retryPause
	} else if b.hasMaxAge() {
		interval = ageInterval
	}
	return interval - min(time.Since(b.tended), interval)
}

// takeDue returns the open group if it may be committed now, and otherwise how
// long it must wait.
func (b *Buffer) takeDue(closing bool) (*group, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = closing
	g := b.open
	if g.empty() {
		return nil, time.Hour
	}
	if now := time.Now(); !closing && !g.full() {
		due := b.governor.due(now, g.born)
		if paced := g.born.Add(b.cfg.Pace); paced.After(due) {
			due = paced
		}
		if wait := due.Sub(now); wait > 0 {
			return nil, wait
		}
	}
	b.committing = g.receipt
	b.open = b.spare
	if b.open == nil {
		b.open = newGroup()
	}
	b.spare = nil
	close(b.room)
	b.room = make(chan struct{})
	return g, 0
}

// commit brings the group to flash: encode → write → sync → index. After nil,
// its readings are there after any crash, and cursors see them.
func (b *Buffer) commit(g *group) error {
	if err := b.mend(); err != nil {
		return err
	}
	next := b.next
	rec := beginRecord(b.buf[:0], b.movedCursors(), g.notes)
	rec, blocks, err := b.encode(rec, g)
	b.buf = rec[:0]
	touched := false
	if err == nil {
		touched, err = b.write(rec)
	}
	if err != nil {
		b.setDirty()
		if touched {
			b.burn(next)
		} else {
			b.next = next
		}
		return err
	}
	// Before anybody sees the news of a gap, it is known where it is: it may be
	// purged or evicted as soon as it is seen.
	b.reported(g.gaps, len(g.lanes[reading.Alarm]))
	b.commits.note(g, b.next, time.Now())
	b.index.commit(b.active.end, blocks)
	b.notes.add(g.notes)
	return nil
}

// encode appends a block for every lane of the group and moves the sequence
// numbers on.
func (b *Buffer) encode(rec []byte, g *group) ([]byte, []wire.Block, error) {
	var blocks []wire.Block
	for lane, rs := range g.lanes {
		if len(rs) == 0 {
			continue
		}
		start := len(rec)
		h := wire.Header{
			Epoch: b.epoch, Lane: reading.Lane(lane), First: b.next[lane], Count: len(rs),
			Boot: b.cfg.Clock.Boot, Clock: b.cfg.Clock.State(), Uptime: b.cfg.Clock.Uptime().Milliseconds(),
		}
		b.next[lane] += uint64(len(rs))
		var err error
		if rec, err = b.encoder.AppendBlock(rec, h, rs); err != nil {
			return rec, nil, err
		}
		blk, _, err := wire.ParseBlock(rec[start:])
		if err != nil {
			return rec, nil, fmt.Errorf("block just written: %w", err)
		}
		blocks = append(blocks, blk)
	}
	return rec, blocks, nil
}

// write appends the record to the active segment. If that fails, the segment
// is never written again, and the record goes into a new one: a bad spot of
// the medium costs nobody an acknowledgement. touched says that the medium may
// hold the record although write returned an error.
func (b *Buffer) write(rec []byte) (touched bool, err error) {
	if len(rec) > segmentSize {
		return false, fmt.Errorf("record of %d bytes, a segment has %d: %w", len(rec), segmentSize, wire.ErrTooLarge)
	}
	for range 2 {
		if b.active == nil || !b.active.fits(len(rec)) {
			if rolled := b.roll(err == nil && b.mayEvict()); rolled != nil {
				return touched, errors.Join(err, rolled)
			}
		}
		sealRecord(rec, b.active.number, b.record+1)
		var flash int64
		flash, err = b.active.append(rec)
		b.spend(flash)
		if err == nil {
			b.record++
			return true, nil
		}
		touched, err = true, fmt.Errorf("segment %d: %w", b.active.number, err)
		b.log.Error("segment is not written any more after a failed write", "segment", b.active.number, "err", err)
		b.active.close()
		b.active = nil
	}
	return touched, err
}

// mayEvict says whether undelivered readings may make room. A medium that
// refuses writes is no reason to evict what it holds; but one bad spot must not
// make a full buffer refuse everything until the link is back.
func (b *Buffer) mayEvict() bool {
	return b.failing.IsZero() || time.Since(b.failing) > evictPatience
}

// burn gives up the sequence numbers from next on: the medium may hold them, so
// they must not name other readings, and the other side must not wait for them.
func (b *Buffer) burn(next [reading.Lanes]uint64) {
	for lane := range next {
		if next[lane] == b.next[lane] {
			continue
		}
		if b.burnt[lane].Last == 0 {
			b.burnt[lane].First = next[lane]
		}
		b.burnt[lane].Last = b.next[lane] - 1
	}
}

// declareBurnt declares what was burnt, once: not while the medium fails, when
// every second would add a gap. A crash in between begins a new epoch, in which
// nobody waits for those numbers.
func (b *Buffer) declareBurnt() {
	for lane, s := range b.burnt {
		if s.Last != 0 {
			b.declareLost(reading.Lane(lane), Gap{First: s.First, Last: s.Last, Epoch: b.epoch, Reason: ReasonNotStored})
		}
	}
	b.burnt = [reading.Lanes]span{}
}

func (b *Buffer) spend(flash int64) {
	b.governor.spend(time.Now(), flash)
	b.stats.flash.Add(uint64(flash))
	b.stats.day.add(time.Now(), uint64(flash))
	b.stats.overBudget.Store(b.governor.inDebt())
	now := b.governor
	b.stats.governor.Store(&now)
}

// done resolves the receipt of a group that is on flash.
func (b *Buffer) done(g *group) {
	b.stats.commits.Add(1)
	if b.problem.Swap(nil) != nil {
		b.log.Info("commits succeed again")
		b.failing = time.Time{}
		b.declareBurnt()
		b.declareRefused()
	}
	g.receipt.resolve(nil)
	b.foldNotes()
	b.mu.Lock()
	b.spare = g.reuse()
	b.mu.Unlock()
}

// fail resolves the receipt of a group that is not on flash. Only the gaps in
// it live on: nobody else would send them again.
func (b *Buffer) fail(g *group, err error) {
	text := advise(err).Error()
	if b.problem.Swap(&text) == nil {
		b.log.Error("commits fail; nothing is acknowledged", "err", err)
	}
	if errors.Is(err, errKept) {
		b.refusals.begin(g)
	} else if b.failing.IsZero() {
		b.failing = time.Now()
	}
	g.receipt.resolve(fmt.Errorf("not stored: %w", err))
	for _, r := range g.gaps {
		b.report(r)
	}
}

// refuseAll resolves the receipt of what nobody will commit any more, and wakes
// who waits for room.
func (b *Buffer) refuseAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.open.receipt.resolve(ErrClosed)
	if b.knocks != nil {
		b.knocks.resolve(ErrClosed)
		b.knocks = nil
	}
	close(b.room)
	b.room = make(chan struct{})
}

// close saves what a clean end saves, so that the next start continues the
// epoch, and closes the files.
func (b *Buffer) close() error {
	b.refuseAll()
	b.declareBurnt()
	var err error
	if b.active != nil {
		err = b.active.close()
		b.active = nil
	}
	b.curMu.Lock()
	for _, c := range b.cursors {
		c.close()
	}
	b.curMu.Unlock()
	_ = b.mend() // what the next lines say, if it fails
	end := b.session()
	end.Clean = true
	end.Last, _ = b.index.active()
	saved := b.updateWithCursors(put(bucketMeta, []byte(sessionKey), end))
	return errors.Join(err, saved, b.state.close())
}

// pause waits for d; it is false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
