package linein

import (
	"sync/atomic"

	"github.com/tidegate/tidegate/ingest/frame"
)

// Stats counts since the Source was made, except for Clients and ReceiveBuffer.
type Stats struct {
	// Clients are the connections that are open now.
	Clients int
	// Frames says what came in: Partial frames are also those that a connection
	// ended in the middle of.
	Frames frame.Stats
	// Opaque frames could not be decoded and were kept whole; Dropped ones could
	// not either and were not kept.
	Opaque, Dropped uint64
	// NotStored frames are not in custody: with a reply they were not replied
	// to; without one the gateway was stopped while there was no room, or a
	// commit failed while too many were held already.
	NotStored uint64
	// Waits is how often custody would not take frames that no peer would send
	// again, so that they were held and nothing more was read.
	Waits uint64
	// TurnedAway connections were too many; Slow ones were closed because a
	// frame, a handshake or a reply took too long, or because nothing came; Lost
	// ones because their frames could not be told apart any more.
	TurnedAway, Slow, Lost uint64
	// Slowed is how often a connection was made to wait because it sent faster
	// than it may.
	Slowed uint64
	// Overrun datagrams found the queue full; Missed ones the kernel's buffer,
	// before this program saw them.
	Overrun, Missed uint64
	// ReceiveBuffer is how many bytes the kernel holds for this program.
	ReceiveBuffer int
}

// Unread returns how many datagrams were lost on this machine.
func (s Stats) Unread() uint64 { return s.Overrun + s.Missed }

// counters are the live values of Stats.
type counters struct {
	clients                                             atomic.Int64
	frames, badChecksum, broken, tooLong, half, garbage atomic.Uint64
	opaque, dropped, notStored, waits                   atomic.Uint64
	turnedAway, slow, lost, slowed                      atomic.Uint64
	overrun, missed                                     atomic.Uint64
	receiveBuffer                                       atomic.Int64
}

// Stats returns the counts so far.
func (s *Source) Stats() Stats {
	c := &s.stats
	return Stats{
		Clients: int(c.clients.Load()),
		Frames: frame.Stats{
			Frames: c.frames.Load(), BadChecksum: c.badChecksum.Load(), Broken: c.broken.Load(),
			TooLong: c.tooLong.Load(), Partial: c.half.Load(), Garbage: c.garbage.Load(),
		},
		Opaque: c.opaque.Load(), Dropped: c.dropped.Load(), NotStored: c.notStored.Load(), Waits: c.waits.Load(),
		TurnedAway: c.turnedAway.Load(), Slow: c.slow.Load(), Lost: c.lost.Load(), Slowed: c.slowed.Load(),
		Overrun: c.overrun.Load(), Missed: c.missed.Load(), ReceiveBuffer: int(c.receiveBuffer.Load()),
	}
}

// tally adds what a scanner counted since it was looked at last.
func (c *counters) tally(told *frame.Stats, now frame.Stats) {
	before := *told
	*told = now
	c.frames.Add(now.Frames - before.Frames)
	if before.Garbage == now.Garbage { // every damaged frame is garbage
		return
	}
	c.badChecksum.Add(now.BadChecksum - before.BadChecksum)
	c.broken.Add(now.Broken - before.Broken)
	c.tooLong.Add(now.TooLong - before.TooLong)
	c.half.Add(now.Partial - before.Partial)
	c.garbage.Add(now.Garbage - before.Garbage)
}
