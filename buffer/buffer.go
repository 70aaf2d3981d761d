// Package buffer is durable, bounded store-and-forward: it takes readings into
// custody on flash and hands them out as blocks until somebody else has them.
//
//	b, err := buffer.Open(cfg, log)        // recovers what is there
//	go b.Run(ctx)                          // commits until ctx ends
//	receipt, err := b.Accept(ctx, readings)
//	err = receipt.Wait(ctx)                // nil: on flash, and may be acknowledged
//	c, err := b.Cursor("cloud")
//	blocks, err := c.Next(ctx, reading.AllLanes, 256<<10) // never deletes
//	err = c.Ack(lane, first, last)         // elsewhere
//	next, err := b.History(ctx, q, visit)  // delivered or not, in pages
//	inv, err := ReadInventory(ctx, dir)    // of a folder that nobody has open
//
// Readings lie in a journal of recycled segment files: one write and one
// fdatasync a commit, shared by everything that waited. Whatever changes lies
// in state.db. DESIGN.md argues why an acknowledged reading survives a crash at
// any instant, and what each kind of damage costs.
package buffer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// ErrClosed means that the buffer takes no readings any more.
var ErrClosed = errors.New("buffer is closed")

// ErrFull means that there is no room, and that nothing may make any: neither
// was anything delivered, nor may readings be evicted.
var ErrFull = errors.New("buffer is full")

// MinBytes is the smallest MaxBytes: the segment that is written, one that is
// sent, and two to go round.
const MinBytes = 4 * segmentSize

// Config says where and how much.
type Config struct {
	// Dir is the folder of the journal and state.db, made if it is missing.
	Dir string
	// MaxBytes bounds the journal, in bytes, at least MinBytes. Beyond it the
	// oldest readings make room and a gap says so.
	MaxBytes int64
	// FlashBudget is how many bytes a day commits may write to flash; 0 means
	// without limit. MaxAckDelay wins over it.
	FlashBudget int64
	// MaxAckDelay is how long a reading may wait for company before it is
	// committed when the budget is spent.
	MaxAckDelay time.Duration
	// Pace, if not zero, is how long every group waits for company, whatever
	// the budget: fewer, larger commits.
	Pace time.Duration
	// Lanes says what becomes of readings when time or room run out, by lane.
	Lanes [reading.Lanes]LanePolicy
	// Clock tells how far the wall clock can be trusted.
	Clock Clock
}

// Clock is the part of the machine's clocks that goes into every block.
type Clock struct {
	Boot   uint32               // which boot this is
	Uptime func() time.Duration // since boot, from a clock that nobody can set
	State  func() wire.ClockState
}

// Buffer is custody of readings. Accept, Cursor and the methods that only look
// are safe for concurrent use.
type Buffer struct {
	cfg   Config
	log   *slog.Logger
	state *state
	index *index
	stats counters

	mu     sync.Mutex
	open   *group        // takes readings; never nil
	room   chan struct{} // closed when open was taken by a commit
	closed bool
	knocks *Receipt // of those who knock; nil if nobody does
	// committing is the receipt of the group that was taken last.
	committing *Receipt

	wake chan struct{} // holds one: something for Run to look at

	curMu   sync.Mutex
	cursors map[string]*Cursor
	marks   map[string][reading.Lanes]ranges // places of all cursors at the start

	// saving is held from when the places of cursors are copied until state.db has them, so
	// that no older copy takes the place of a newer one. It is taken before curMu.
	saving sync.Mutex

	notes notes // what doors remember and state.db does not know yet

	gapMu sync.Mutex
	gaps  []gapReport       // what is declared and remembered, oldest first
	lost  map[string]uint64 // readings declared lost since the start, by reason

	refusals refusals
	commits  commits

	toMerge chan segmentInfo // holds one
	merged  chan merged      // holds one

	// What follows belongs to Run.
	reserve    reserve
	merging    bool      // a segment is being merged
	considered uint64    // number of the last segment that was looked at for that
	tended     time.Time // when tend last looked
	epoch      uint64
	next       [reading.Lanes]uint64 // next sequence number
	record     uint64                // number of the last record
	active     *segment              // nil before the first and after a failed write
	begun      sealTime              // when active was begun, or this run took it up
	newest     uint64                // highest segment number ever used
	sealed     uint64                // number of the last segment noted in state.db
	governor   governor
	encoder    *wire.Encoder
	spare      *group // memory for the next group
	buf        []byte // memory for the next record
	saved      time.Time
	burnt      [reading.Lanes]span // numbers that were given up and are not declared yet
	failing    time.Time           // since when the medium refuses commits; zero while it does not
	problem    atomic.Pointer[string]
	complaint  atomic.Pointer[string] // what was last said of state.db; nil while it is well
}

type counters struct {
	accepted, commits, flash atomic.Uint64
	overBudget               atomic.Bool
	governor                 atomic.Pointer[governor] // as of the last commit
	day                      dayMeter                 // of flash
}

// Accept takes the readings into the open group and returns its receipt at
// once; it blocks only for back-pressure, while a full group waits for the one
// before it. An error means that nothing of them was taken. The slice belongs
// to the caller again when Accept returns. The notes become durable in the same
// commit as the readings. A note without a key makes nothing durable: see knock.
func (b *Buffer) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (*Receipt, error) {
	text, err := measure(rs, notes)
	if err != nil {
		return nil, err
	}
	if len(rs) == 0 && isKnock(notes) {
		return b.knock()
	}
	b.mu.Lock()
	for b.open.full() && !b.closed {
		room := b.room
		b.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	if b.closed {
		return nil, ErrClosed
	}
	if b.refusals.refuse(rs) {
		return nil, ErrFull
	}
	first := b.open.empty()
	b.open.add(rs, text, time.Now())
	b.open.note(notes)
	b.stats.accepted.Add(uint64(len(rs)))
	if first || b.open.full() {
		b.signal()
	}
	return b.open.receipt, nil
}

// Close gives back the files of a buffer that was opened and not Run.
func (b *Buffer) Close() error { return b.close() }

// signal wakes Run.
func (b *Buffer) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Stats are the buffer's figures.
type Stats struct {
	// Accepted, Commits and Lost count readings, commits and declared losses
	// since the start; FlashBytes is what commits wrote, in whole pages.
	Accepted, Commits, Lost, FlashBytes uint64
	// LostBy is Lost by reason, all of [Reasons].
	LostBy map[string]uint64
	// FlashDay is what commits wrote in the last 24 hours, as far as this run
	// knows, and FlashBudget what they may; 0 means without limit.
	FlashDay    uint64
	FlashBudget int64
	// FlashTokens is how many bytes of the budget commits may write at once;
	// below zero they wait.
	FlashTokens int64
	// Losses are the gaps that were declared last, the newest first.
	Losses []Gap
	// Held is the number of readings on flash, delivered ones included; they
	// stay until the bound needs their room.
	Held uint64
	// HeldBytes is what they take; ReservedBytes what the journal's files do;
	// MaxBytes is the bound.
	HeldBytes, ReservedBytes, MaxBytes int64
	// OverBudget says that MaxAckDelay forces more commits than FlashBudget
	// allows.
	OverBudget bool
	// Later is how many bytes of the journal only a later version of the program can
	// read; they are kept for it.
	Later int64
	// Refused is the number of blocks in quarantine.
	Refused int
	// Problem is why commits fail, and what to do; empty while they do not.
	Problem string
	// Epoch names the present sequence space.
	Epoch uint64
}

// Stats returns the figures so far.
func (b *Buffer) Stats() Stats {
	held, bytes := b.index.unsent([reading.Lanes]ranges{})
	s := Stats{
		Accepted: b.stats.accepted.Load(), Commits: b.stats.commits.Load(),
		FlashBytes: b.stats.flash.Load(),
		FlashDay:   b.stats.day.sum(time.Now()), FlashBudget: b.cfg.FlashBudget,
		FlashTokens: b.stats.tokens(time.Now()), Losses: b.lastGaps(shownGaps),
		Held: held, HeldBytes: bytes, ReservedBytes: b.index.size(), MaxBytes: b.cfg.MaxBytes,
		OverBudget: b.stats.overBudget.Load(), Epoch: b.epoch, Refused: b.refusedBlocks(), Later: b.index.later(),
	}
	s.LostBy, s.Lost = b.lostBy()
	if f := b.state.fault.Load(); f != nil {
		s.Problem = f.err.Error()
	}
	if p := b.problem.Load(); p != nil {
		s.Problem = *p
	}
	return s
}
