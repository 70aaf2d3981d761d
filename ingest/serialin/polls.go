package serialin

import (
	"bytes"
	"time"
)

// polls asks the device, one request at a time. It belongs to the reader.
type polls struct {
	list []Poll
	at   []time.Time // when each is to be sent
	// waiting is the poll whose answer is awaited until until, or -1.
	waiting int
	until   time.Time
	// missed is the poll whose answer did not come in time, or -1. Until quiet
	// nothing is asked, because that answer may still come, and nothing tells it
	// from that of another poll.
	missed int
	quiet  time.Time
}

// whose says what a frame is to the polls.
type whose int

const (
	nobodys whose = iota // it answers no poll
	answer
	echo // of the request, on a line that two wires are shared on
	late // an answer that is given up
)

func newPolls(list []Poll, now time.Time) polls {
	p := polls{list: list, at: make([]time.Time, len(list)), waiting: -1, missed: -1}
	for i := range p.at {
		p.at[i] = now
	}
	return p
}

// due returns when there is something to do next.
func (p *polls) due() (at time.Time, ok bool) {
	if p.waiting >= 0 {
		return p.until, true
	}
	i := p.first()
	switch {
	case i < 0:
		return time.Time{}, false
	case p.missed >= 0 && p.at[i].Before(p.quiet):
		return p.quiet, true
	}
	return p.at[i], true
}

func (p *polls) first() int {
	first := -1
	for i, at := range p.at {
		if first < 0 || at.Before(p.at[first]) {
			first = i
		}
	}
	return first
}

// next returns the request that is to be sent now, or nil.
func (p *polls) next(now time.Time) []byte {
	i := p.first()
	if p.missed >= 0 && !now.Before(p.quiet) {
		p.missed = -1
	}
	if p.waiting >= 0 || p.missed >= 0 || i < 0 || p.at[i].After(now) {
		return nil
	}
	p.waiting = i
	// Polls that could not be sent in time are left out, not caught up on.
	if p.at[i] = p.at[i].Add(p.list[i].Interval); p.at[i].Before(now) {
		p.at[i] = now.Add(p.list[i].Interval)
	}
	return p.list[i].Request
}

// sent tells when the request has left.
func (p *polls) sent(at time.Time) {
	p.until = at.Add(p.list[p.waiting].Timeout)
}

// giveUp says whether an answer did not come in time, and ends waiting for it. For
// as long again nothing is asked.
func (p *polls) giveUp(now time.Time) bool {
	if p.waiting < 0 || now.Before(p.until) {
		return false
	}
	p.missed, p.quiet = p.waiting, now.Add(p.list[p.waiting].Timeout)
	p.waiting = -1
	return true
}

// answers says what a frame is, and which poll it answers.
func (p *polls) answers(f []byte) (poll int, is whose) {
	asked := max(p.waiting, p.missed)
	switch {
	case asked < 0:
		return -1, nobodys
	case isEcho(p.list[asked].Request, f):
		return -1, echo
	case !bytes.HasPrefix(f, p.list[asked].Expect):
		return -1, nobodys
	case p.waiting < 0: // and the next poll need not wait for it any longer
		p.quiet = time.Time{}
		return -1, late
	}
	p.waiting = -1
	return asked, answer
}
