package buffer

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"

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
		cfg: cfg, log: log, state: st, index: newIndex(),
		open: newGroup(), room: make(chan struct{}), wake: make(chan struct{}, 1),
		cursors: map[string]*Cursor{}, marks: map[string][reading.Lanes]ranges{},
		encoder: wire.NewEncoder(), saved: time.Now(),
		governor: newGovernor(cfg.FlashBudget, cfg.MaxAckDelay, time.Now()),
	}
	b.stats.day.began = time.Now()
	if aside != "" {
		log.Error("state.db was damaged and is set aside; deliveries may repeat", "file", aside)
	}
	if err := b.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("open buffer: %w", err), st.close())
	}
	return b, nil
}

// makeDir makes the folder and its own entry durable.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// recover reads state.db, then whatever of the journal it does not vouch for.
func (b *Buffer) recover() error {
	r := recovery{Buffer: b, noted: map[uint64]segmentInfo{}}
	if err := r.readState(); err != nil {
		return err
	}
	if err := r.readJournal(); err != nil {
		return err
	}
	if err := r.beginEpoch(); err != nil {
		return err
	}
	r.continueSegment()
	r.reportGaps()
	if r.forgotten > 0 {
		r.log.Warn("what doors remembered is lost with state.db", "notes", r.forgotten)
	}
	return nil
}

// recovery is what Open learns on its way.
type recovery struct {
	*Buffer
	before    session                // how the last run ended, as far as known
	noted     map[uint64]segmentInfo // sealed segments, from state.db
	holes     []hole
	unsent    []gapReport
	forgotten int     // notes that were left
	folded    *uint64 // the record up to which state.db knows the notes; nil when it is a new one
	lastSeen  [reading.Lanes]uint64
	gone      []func(*bbolt.Tx) error // forget the segments that are missing
}

// hole is a run of sequence numbers that should be there.
type hole struct {
	lane        reading.Lane
	first, last uint64
	epoch       uint64
	reason      string
}

func (r *recovery) readState() error {
	err := errors.Join(
		get(r.state, bucketMeta, sessionKey, func(s session) { r.before = s }),
		get(r.state, bucketMeta, foldedKey, func(record uint64) { r.folded = &record }),
		each(r.state, bucketSegments, func(_ []byte, s segmentInfo) error { r.noted[s.Number] = s; return nil }),
		each(r.state, bucketCursors, func(name []byte, acked [reading.Lanes]ranges) error {
			r.mark(cursorMark{string(name), acked})
			return nil
		}),
		each(r.state, bucketGaps, func(key []byte, e gapEntry) error {
			known := gapReport{e, append([]byte(nil), key...)}
			r.gaps = append(r.gaps, known)
			if !e.Sent {
				r.unsent = append(r.unsent, known)
			}
			return nil
		}),
	)
	slices.SortStableFunc(r.gaps, func(a, b gapReport) int { return cmp.Compare(a.entry.At, b.entry.At) })
	return err
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
func (r *recovery) readJournal() error {
	files, foreign, err := listSegments(r.cfg.Dir)
	if err != nil {
		return err
	}
	for _, name := range foreign {
		if !ownFile(name) {
			r.log.Warn("foreign file in the buffer's folder is left alone", "file", name)
		}
	}
	if last := r.before.Last; r.before.Clean && last.Number != 0 && !slices.Contains(files, last.Number) {
		r.noted[last.Number] = last
	}
	numbers := slices.AppendSeq(slices.Clone(files), maps.Keys(r.noted))
	slices.Sort(numbers)
	for _, n := range slices.Compact(numbers) {
		r.newest = max(r.newest, n) // of missing ones, too: what is noted of a number must stay true
		r.readOrTrust(n, slices.Contains(files, n))
	}
	return nil
}

// readOrTrust takes one segment into the index.
func (r *recovery) readOrTrust(n uint64, there bool) {
	info, noted := r.noted[n]
	if !there {
		r.lost(n, info)
		return
	}
	if noted {
		r.sealed = n
		r.see(info)
		return
	}
	info, err := r.readSegment(n)
	if err != nil {
		r.log.Error("segment cannot be read and is passed over", "segment", n, "err", err)
		return
	}
	r.see(info)
	if last := r.before.Last; r.before.Clean && last.Number == n {
		r.compare(info, last)
	}
}

// compare notices what a clean end left in the last segment and is not there
// any more. After any other end nobody knows.
func (r *recovery) compare(found, left segmentInfo) {
	for lane, s := range left.Lanes {
		first := max(s.First, found.Lanes[lane].Last+1)
		if s.Last == 0 || first > s.Last {
			continue
		}
		r.holes = append(r.holes, hole{reading.Lane(lane), first, s.Last, s.Epoch, ReasonDamaged})
		r.lastSeen[lane] = max(r.lastSeen[lane], s.Last)
	}
}

// ownFile says that a file beside the segments is the buffer's.
func ownFile(name string) bool {
	return len(name) >= len(stateFile) && name[:len(stateFile)] == stateFile
}

// see adds a segment to the index and notices numbers that are missing before
// it.
func (r *recovery) see(info segmentInfo) {
	for lane, s := range info.Lanes {
		if s.Last == 0 {
			continue
		}
		if seen := r.lastSeen[lane]; seen != 0 && s.First > seen+1 {
			r.holes = append(r.holes, hole{reading.Lane(lane), seen + 1, s.First - 1, s.Epoch, ReasonDamaged})
		}
		r.lastSeen[lane] = max(r.lastSeen[lane], s.Last)
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
	r.gone = append(r.gone, put(bucketSegments, numberKey(number), nil))
}

// readSegment reads a segment record by record: cursors, what it holds, and
// what is damaged in it.
func (r *recovery) readSegment(number uint64) (segmentInfo, error) {
	info := segmentInfo{Number: number}
	s, err := openScanner(r.cfg.Dir, number, segmentSize)
	if err != nil {
		return info, err
	}
	defer s.close()
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
			if last := info.Lanes[blk.Lane].Last; last != 0 && blk.First > last+1 {
				r.holes = append(r.holes, hole{blk.Lane, last + 1, blk.First - 1, blk.Epoch, ReasonDamaged})
			}
			info.Lanes[blk.Lane].add(blk)
		}
		if rec.unknown {
			r.log.Error("record of another version is kept and not read", "segment", number, "record", rec.number)
		}
		if skipped > 0 {
			r.log.Error("damaged bytes in a segment", "segment", number, "bytes", skipped)
		}
		info.End = s.off
		r.record = max(r.record, rec.number)
	}
}

// remember takes the notes of a record that state.db does not know yet. When
// state.db is a new one, all are left: the records of segments that were sealed
// long ago no longer tell which of them were taken back, and a door must rather
// forget than remember what is over.
func (r *recovery) remember(rec record) {
	switch {
	case len(rec.notes) == 0 || r.folded != nil && rec.number <= *r.folded:
	case r.folded == nil:
		r.forgotten += len(rec.notes)
	default:
		for i := range rec.notes {
			rec.notes[i].Value = bytes.Clone(rec.notes[i].Value)
		}
		r.notes.add(rec.notes)
	}
}

// beginEpoch decides from which numbers to go on. After a clean end they are
// known, and the epoch continues. After any other end the newest record may
// have been sent and then rotted away: its numbers could be given out again.
// So a new epoch begins, in which no number was ever used.
func (r *recovery) beginEpoch() error {
	for lane := range r.next {
		last := max(r.lastSeen[lane], r.before.Next[lane]-min(r.before.Next[lane], 1))
		for _, acked := range r.marks {
			last = max(last, acked[lane].last())
		}
		r.next[lane] = last + 1
	}
	clean := r.before.Clean && r.before.Epoch != 0 && r.record <= r.before.Record
	r.record = max(r.record, r.before.Record)
	if clean {
		r.epoch = r.before.Epoch
	} else {
		var random [8]byte
		rand.Read(random[:]) // never fails
		r.epoch = binary.BigEndian.Uint64(random[:]) | 1
	}
	changes := append(r.notes.changes(r.record), put(bucketMeta, []byte(sessionKey), session{Epoch: r.epoch, Record: r.record, Next: r.next}))
	if r.folded == nil {
		changes = append(changes, put(bucketMeta, []byte(foldedKey), r.record))
	}
	if err := r.state.update(changes...); err != nil {
		return err
	}
	r.notes.folded()
	return nil
}

// continueSegment goes on writing in the last segment, behind its last record.
func (r *recovery) continueSegment() {
	info, ok := r.index.active()
	if !ok || info.Number == r.sealed {
		return // what is noted in state.db must not change any more
	}
	seg, err := openSegment(r.cfg.Dir, info.Number, info.End)
	if err != nil {
		r.log.Warn("last segment cannot be continued; a new one will begin", "segment", info.Number, "err", err)
		return
	}
	// The end of a killed run may have been read from the page cache only. It is
	// delivered from now on, so it must be there after the next accident, too.
	if err := seg.sync(seg.file); err != nil {
		r.log.Error("last segment does not sync; a new one will begin", "segment", info.Number, "err", err)
		seg.close()
		return
	}
	r.active = seg
}

// reportGaps declares what recovery found missing and what an earlier run
// declared and could not report.
func (r *recovery) reportGaps() {
	for _, u := range r.unsent {
		r.report(u)
	}
	for _, h := range r.holes {
		if !r.isDelivered(h) {
			r.declareLost(h.lane, Gap{First: h.first, Last: h.last, Epoch: h.epoch, Reason: h.reason})
		}
	}
	if len(r.gone) == 0 {
		return
	}
	if err := r.state.update(r.gone...); err != nil {
		r.log.Warn("missing segments are not forgotten", "err", err)
	}
}

// isDelivered says whether every sink has what is missing.
func (r *recovery) isDelivered(h hole) bool {
	for _, acked := range r.marks {
		if !acked[h.lane].has(h.first, h.last) {
			return false
		}
	}
	return len(r.marks) > 0
}
