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
}

func newPolls(list []Poll, now time.Time) polls {
	p := polls{list: list, at: make([]time.Time, len(list)), waiting: -1}
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
	if i := p.first(); i >= 0 {
		return p.at[i], true
	}
	return time.Time{}, false
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
	if p.waiting >= 0 || i < 0 || p.at[i].After(now) {
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

// late says whether an answer did not come in time, and ends waiting for it.
func (p *polls) late(now time.Time) bool {
	if p.waiting < 0 || now.Before(p.until) {
		return false
	}
	p.waiting = -1
	return true
}

// answers returns the poll that a frame answers, or -1, and whether it is the
// request itself, come back.
func (p *polls) answers(f []byte) (poll int, echo bool) {
	if p.waiting < 0 {
		return -1, false
	}
	asked := p.list[p.waiting]
	switch {
	case isEcho(asked.Request, f):
		return -1, true
	case !bytes.HasPrefix(f, asked.Expect):
		return -1, false
	}
	poll, p.waiting = p.waiting, -1
	return poll, false
}
