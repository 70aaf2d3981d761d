package linein

import "time"

// pace keeps what is read from one connection to so many frames a second. Who
// sends more is read from more slowly, and TCP makes him wait: nothing is lost.
type pace struct {
	rate   float64
	began  time.Time
	frames float64 // beyond what was free by the moment of the last look
}

// add takes in what was read and returns how long nothing more may be: a second's
// worth may come at once.
func (p *pace) add(frames int, now time.Time) time.Duration {
	past := now.Sub(p.began).Seconds()
	p.began = now
	p.frames = max(0, p.frames-past*p.rate) + float64(frames)
	return time.Duration(max(0, p.frames/p.rate-1) * float64(time.Second))
}
