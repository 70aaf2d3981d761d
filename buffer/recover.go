package buffer

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/internal/inorder"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// Open recovers what the folder holds and returns a Buffer that continues it.
// It always finds a way to start, short of a folder that it may not write or
// that another process holds: what cannot be read is set aside and counted,
// never deleted.
func Open(cfg Config, log *slog.Logger) (*Buffer, error) {
	if cfg.MaxBytes < MinBytes {
		return nil, fmt.Errorf("buffer of %d bytes, want at least %d", cfg.MaxBytes, MinBytes)
	}
	if err := makeDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("open buffer: %w", err)
	}
	st, aside, err := openState(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open buffer: %w", err)
	}
	b := &Buffer{
		cfg: cfg, log: log, state: st, index: newIndex(), reserve: newReserve(cfg.Dir),
		toMerge: make(chan segmentInfo, 1), merged: make(chan merged, 1), tended: time.Now(),
		open: newGroup(), commits: commits{since: time.Now()}, room: make(chan struct{}), wake: make(chan struct{}, 1),
		cursors: map[string]*Cursor{}, marks: map[string][reading.Lanes]ranges{},
		encoder: wire.NewEncoder(), saved: time.Now(),
		governor: newGovernor(cfg.FlashBudget, cfg.MaxAckDelay, time.Now()),
	}
	b.stats.day.began = time.Now()
	b.stats.governor.Store(&governor{perDay: b.governor.perDay, tokens: b.governor.tokens, at: b.governor.at})
	st.unwell = b.complain
	if f := st.fault.Load(); f != nil {
		st.unwell(f.err)
	}
	b.logAside(aside)
	if err := b.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("open buffer: %w", err), st.close())
	}
	return b, nil
}

// recover reads state.db, then whatever of the journal it does not vouch for.
func (b *Buffer) recover() error {
	files, err := b.listFiles()
	if err != nil {
		return err
	}
	r := b.newRecovery(files)
	if err := r.readState(); err != nil {
		b.state.fail(fault{err: err, damaged: true})
		aside, err := b.state.reopen()
		b.logAside(aside)
		if err != nil && !isOfMedium(err) {
			return err
		}
		r = b.newRecovery(files)
	}
	r.readJournal()
	if len(r.files) > 0 {
		r.forgetNotes()
	}
	r.beginEpoch()
	r.continueSegment()
	r.reportGaps()
	return nil
}

// recovery is what Open learns on its way.
type recovery struct {
	*Buffer
	before    session                // how the last run ended, as far as known
	files     []uint64               // segments that are there
	noted     map[uint64]segmentInfo // sealed segments, from state.db
	holes     []hole
	unsent    []gapReport
	lastSeen  [reading.Lanes]uint64
	corrected []func(*bbolt.Tx) error // what state.db noted and is not so

	folded    *uint64 // the record up to which state.db knows the notes; nil when it is a new one
	following uint64  // the record whose notes come next
	untold    bool    // records with notes may be missing between folded and the journal's end

	passed lanesPassed // records that only a later version can read came since the last number
	leap   bool        // and they were not known of before
}

// newRecovery forgets what an earlier one learned.
func (b *Buffer) newRecovery(files []uint64) *recovery {
	b.gaps, b.marks = nil, map[string][reading.Lanes]ranges{}
	return &recovery{Buffer: b, files: files, noted: map[uint64]segmentInfo{}}
}

// lanesPassed says of which lanes numbers may be in what was passed over.
type lanesPassed [reading.Lanes]bool

func (p *lanesPassed) all() { *p = lanesPassed{true, true, true} }

// hole is a run of sequence numbers that should be there.
type hole struct {
	lane        reading.Lane
	first, last uint64
	epoch       uint64
	reason      string
}

// readState fails when state.db cannot be understood, or is of another journal.
func (r *recovery) readState() error {
	err := inTurn(
		func() error { return get(r.state, bucketMeta, sessionKey, func(s session) { r.before = s }) },
		func() error {
			return get(r.state, bucketMeta, foldedKey, func(n uint64) { r.folded, r.following = &n, n+1 })
		},
		func() error {
			return each(r.state, bucketSegments, func(_ []byte, s segmentInfo) error { r.noted[s.Number] = s; return nil })
		},
		func() error {
			return each(r.state, bucketCursors, func(name []byte, acked [reading.Lanes]ranges) error {
				r.mark(cursorMark{string(name), acked})
				return nil
			})
		},
		func() error { return each(r.state, bucketGaps, r.takeGap) },
		r.checkOwner,
	)
	inorder.Sort(r.gaps, func(a, b gapReport) int { return cmp.Compare(a.entry.At, b.entry.At) })
	return err
}

// inTurn does one after the other, up to the first that fails.
func inTurn(all ...func() error) error {
	for _, do := range all {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) takeGap(key []byte, e gapEntry) error {
	known := gapReport{e, bytes.Clone(key)}
	r.gaps = append(r.gaps, known)
	if !e.Sent {
		r.unsent = append(r.unsent, known)
	}
	return nil
}

func (r *recovery) mark(m cursorMark) {
	acked := r.marks[m.name]
	for lane := range acked {
		acked[lane] = acked[lane].union(m.acked[lane])
	}
	r.marks[m.name] = acked
}

// readJournal takes the segments in order: the sealed ones by what state.db
// noted, the others record by record.
func (r *recovery) readJournal() {
	if last := r.before.Last; r.before.Clean && last.Number != 0 && !slices.Contains(r.files, last.Number) {
		r.noted[last.Number] = last
	}
	numbers := slices.AppendSeq(slices.Clone(r.files), maps.Keys(r.noted))
	slices.Sort(numbers)
	for _, n := range slices.Compact(numbers) {
		r.newest = max(r.newest, n) // of missing ones, too: what is noted of a number must stay true
		r.readOrTrust(n, slices.Contains(r.files, n))
	}
}

// readOrTrust takes one segment into the index.
func (r *recovery) readOrTrust(n uint64, there bool) {
	info, noted := r.noted[n]
	if !there {
		r.lost(n, info)
		return
	}
	if head := segmentHead(r.cfg.Dir, n); noted && head != 0 && head == info.Head && !info.kept() && knows(r.cfg.Dir, n) {
		r.sealed = n
		r.see(info)
		return
	}
	found, err := r.readSegment(n)
	if err != nil {
		r.log.Error("segment cannot be read and is passed over", "segment", n, "err", err)
		return
	}
	if last := r.before.Last; r.before.Clean && last.Number == n {
		info = last
	}
	found.Head = segmentHead(r.cfg.Dir, n)
	if found.kept() {
		r.passed.all()
		r.leap = r.leap || !info.kept()
		r.log.Error("readings of a later version of the program are kept for it, and not delivered — hint: install that version again, and it delivers them",
			"segment", n, "bytes", found.Later, "file", segmentPath(r.cfg.Dir, n))
	}
	r.see(found)
	if !found.kept() {
		r.compare(found, info)
	}
	if noted || n != r.files[len(r.files)-1] {
		r.sealed = n
		r.corrected = append(r.corrected, put(bucketSegments, numberKey(n), found))
	}
}

// compare notices what was noted of a segment and is not there any more.
// Nothing is, of the last one after a crash: then nobody knows.
func (r *recovery) compare(found, noted segmentInfo) {
	for lane, s := range noted.Lanes {
		if s.Last == 0 {
			continue
		}
		f := found.Lanes[lane]
		if f.Last != 0 && s.First < f.First {
			r.holes = append(r.holes, hole{reading.Lane(lane), s.First, f.First - 1, s.Epoch, ReasonDamaged})
			r.lastSeen[lane] = max(r.lastSeen[lane], f.First-1)
		}
		if first := max(s.First, f.Last+1); first <= s.Last {
			r.holes = append(r.holes, hole{reading.Lane(lane), first, s.Last, s.Epoch, ReasonDamaged})
			r.lastSeen[lane] = max(r.lastSeen[lane], s.Last)
		}
	}
}

// see adds a segment to the index and notices numbers that are missing before
// it.
func (r *recovery) see(info segmentInfo) {
	for lane, s := range info.Lanes {
		if s.Last == 0 {
			continue
		}
		if seen := r.lastSeen[lane]; seen != 0 && s.First > seen+1 && !r.passed[lane] && !leapt(seen, s.First) {
			r.holes = append(r.holes, hole{reading.Lane(lane), seen + 1, s.First - 1, s.Epoch, ReasonDamaged})
		}
		r.lastSeen[lane] = max(r.lastSeen[lane], s.Last)
		r.passed[lane] = false
	}
	if info.kept() {
		r.passed.all()
	}
	r.index.begin(info)
}

// lost notes a segment that state.db knows and the folder does not have.
func (r *recovery) lost(number uint64, info segmentInfo) {
	r.log.Error("segment file is missing", "segment", number)
	for lane, s := range info.Lanes {
		if s.Last != 0 {
			r.holes = append(r.holes, hole{reading.Lane(lane), s.First, s.Last, s.Epoch, ReasonMissing})
			r.lastSeen[lane] = max(r.lastSeen[lane], s.Last)
		}
	}
	r.corrected = append(r.corrected, put(bucketSegments, numberKey(number), nil))
}

// readSegment reads a segment record by record: cursors, what it holds, and
// what is damaged in it.
func (r *recovery) readSegment(number uint64) (segmentInfo, error) {
	info := segmentInfo{Number: number, Size: segmentSize}
	if stat, err := os.Stat(segmentPath(r.cfg.Dir, number)); err == nil {
		info.Size = stat.Size()
	}
	s, err := openScanner(r.cfg.Dir, number, segmentSize)
	if err != nil {
		return info, err
	}
	defer s.close()
	var passed lanesPassed
	for {
		rec, skipped, err := s.next()
		if errors.Is(err, errEnd) {
			return info, nil
		}
		if err != nil {
			return info, err
		}
		for _, m := range rec.cursors {
			r.mark(m)
		}
		r.remember(rec)
		for _, blk := range rec.blocks {
			if last := info.Lanes[blk.Lane].Last; last != 0 && blk.First > last+1 && !passed[blk.Lane] {
				r.holes = append(r.holes, hole{blk.Lane, last + 1, blk.First - 1, blk.Epoch, ReasonDamaged})
			}
			info.add(blk)
			passed[blk.Lane] = false
		}
		if info.version = rec.version; rec.unknown {
			info.Later += int64(rec.size)
			passed.all()
		}
		if skipped > 0 {
			r.log.Error("damaged bytes in a segment", "segment", number, "bytes", skipped)
		}
		info.End = s.off
		r.record = max(r.record, rec.number)
	}
}

// remember takes the notes of a record that state.db does not know yet.
func (r *recovery) remember(rec record) {
	if r.folded == nil || rec.number <= *r.folded {
		return
	}
	r.untold = r.untold || rec.number > r.following || rec.unknown
	r.following = max(r.following, rec.number+1)
	for i := range rec.notes {
		rec.notes[i].Value = bytes.Clone(rec.notes[i].Value)
	}
	r.notes.add(rec.notes)
}

// forgetNotes forgets all notes when a record that may have taken one back is
// missing: state.db is a new one or an old copy, or a record is damaged. A door
// must rather forget than remember what is over.
func (r *recovery) forgetNotes() {
	if r.state.early {
		return // there were none
	}
	if r.folded == nil || r.untold {
		r.notes.forget()
		r.log.Warn("what doors remembered is forgotten: some of it may be over, and cannot be told from the rest")
	}
}

// continueSegment goes on writing in the last segment, behind its last record.
func (r *recovery) continueSegment() {
	info, ok := r.index.active()
	if !ok || info.Number == r.sealed || info.Size != segmentSize {
		return // what is noted in state.db must not change any more, nor what was written anew
	}
	if info.kept() || r.leap || info.End > 0 && info.version != recordVersion {
		// Each version has segments of its own, which an earlier one passes over as a whole, and
		// numbers never leap within one.
		return
	}
	seg, err := openSegment(r.cfg.Dir, info.Number, info.End)
	if err != nil {
		r.log.Warn("last segment cannot be continued; a new one will begin", "segment", info.Number, "err", err)
		return
	}
	// The end of a killed run may have been read from the page cache only, and so
	// may the segment's name. It is delivered and continued from now on, so both
	// must be there after the next accident, too.
	if err := errors.Join(syncDir(r.cfg.Dir), seg.sync(seg.file)); err != nil {
		r.log.Error("last segment does not sync; a new one will begin", "segment", info.Number, "err", err)
		seg.close()
		return
	}
	r.active, r.begun = seg, r.sealTime()
}

// reportGaps declares what recovery found missing and what an earlier run
// declared and could not report.
func (r *recovery) reportGaps() {
	for _, u := range r.unsent {
		r.report(u)
	}
	for _, h := range r.holes {
		for _, n := range r.owed(h) {
			r.declareLost(h.lane, Gap{First: n.First, Last: n.Last, Epoch: h.epoch, Reason: h.reason})
		}
	}
	if len(r.corrected) == 0 {
		return
	}
	if err := r.state.update(r.corrected...); err != nil {
		r.log.Warn("what is noted of segments is not corrected", "err", err)
	}
}

// owed returns the numbers of the hole that some sink neither has nor was told of:
// what made room is missing, too.
func (r *recovery) owed(h hole) (owed ranges) {
	if len(r.marks) == 0 {
		return r.told(h.lane, "").missing(h.first, h.last)
	}
	for sink, acked := range r.marks {
		known := r.told(h.lane, sink).union(acked[h.lane])
		owed = owed.union(known.missing(h.first, h.last))
	}
	return owed
}
