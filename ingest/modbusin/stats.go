package modbusin

import (
	"sync/atomic"
)

// exceptionCodes is how many codes are counted by name; higher ones are counted
// as unknown, under 0.
const exceptionCodes = 12

type busCounts struct {
	late, stray, reconnects, notStored, paused atomic.Uint64
}

type slaveCounts struct {
	polls, skipped, asked, answers, givenUp, noValue atomic.Uint64
	faults                                           [faults]atomic.Uint64
	exceptions                                       [exceptionCodes]atomic.Uint64
	last                                             atomic.Int64 // answer
}

func (c *slaveCounts) failed(cause error) {
	switch cause := cause.(type) {
	case Fault:
		c.faults[cause].Add(1)
	case Exception:
		if int(cause) >= exceptionCodes {
			cause = 0
		}
		c.exceptions[cause].Add(1)
	}
}

// Stats counts since the source was made.
type Stats struct {
	// Trouble says why the bus cannot be reached; empty while it can.
	Trouble string
	// Late answers came when nobody waited for them any more; Stray bytes on a
	// serial line belonged to nothing that was asked.
	Late, Stray uint64
	// Reconnects of a TCP connection that had worked.
	Reconnects uint64
	// NotStored polls were refused, or their commit failed. Paused is how often
	// polling waited a second for a full buffer.
	NotStored, Paused uint64
	// Slaves are in the order of the configuration.
	Slaves []SlaveStats
}

// SlaveStats is the state of one slave.
type SlaveStats struct {
	Unit   byte
	Device string
	// Up says that it answers, Known that it has been asked.
	Up, Known bool
	// Polls were finished, and Skipped ones had no time; Asked questions include
	// those that were repeated; Answers brought data; GivenUp questions brought
	// none, in the end.
	Polls, Skipped, Asked, Answers, GivenUp uint64
	// LastAnswer is when the last one came, in nanoseconds since the Unix epoch; 0
	// for never.
	LastAnswer int64
	// NoValue registers said that they have no value.
	NoValue uint64
	// Bad registers are left out now, because the slave does not have them.
	Bad int
	// Errors are the failures by kind, in words; those that did not happen
	// are left out.
	Errors map[string]uint64
}

// Stats returns the counts so far.
func (s *Source) Stats() Stats {
	all := Stats{
		Late: s.counts.late.Load(), Stray: s.counts.stray.Load(), Reconnects: s.counts.reconnects.Load(),
		NotStored: s.counts.notStored.Load(), Paused: s.counts.paused.Load(),
	}
	if trouble := s.trouble.Load(); trouble != nil {
		all.Trouble = *trouble
	}
	for _, slave := range s.slaves {
		all.Slaves = append(all.Slaves, slave.stats())
	}
	return all
}

func (s *slave) stats() SlaveStats {
	c := &s.counts
	h := health(s.state.Load())
	all := SlaveStats{
		Unit: s.Unit, Device: s.Device, Up: h == up, Known: h != unknown,
		Polls: c.polls.Load(), Skipped: c.skipped.Load(), Asked: c.asked.Load(), Answers: c.answers.Load(), GivenUp: c.givenUp.Load(),
		LastAnswer: c.last.Load(), NoValue: c.noValue.Load(), Bad: int(s.bad.Load()), Errors: make(map[string]uint64),
	}
	for f := range c.faults {
		if n := c.faults[f].Load(); n > 0 {
			all.Errors[Fault(f).Error()] = n
		}
	}
	for e := range c.exceptions {
		if n := c.exceptions[e].Load(); n > 0 {
			all.Errors[Exception(e).String()] = n
		}
	}
	return all
}

func (s *slave) setHealth(h health) {
	s.health = h
	s.state.Store(uint32(h))
}

// countBad counts what the polls leave out now.
func (s *slave) countBad() {
	bad := 0
	for _, p := range s.polls {
		bad += items(p.plan) - items(p.current)
	}
	s.bad.Store(int64(bad))
}

func items(batches []batch) (n int) {
	for _, b := range batches {
		n += len(b.items)
	}
	return n
}

// URL returns where the bus is, as in Config.
func (s *Source) URL() string { return s.cfg.URL }
