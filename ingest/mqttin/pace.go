package mqttin

import "time"

// pace keeps what is read from one connection to so many packets and bytes a
// second. Who sends more is read from more slowly, and TCP makes him wait:
// nothing is refused, nothing is lost, and an acknowledgement comes late.
type pace struct {
	rate, byteRate float64
	began          time.Time
	packets, bytes float64 // beyond what was free by the moment of the last look
}

// add takes in what was read and returns how long nothing more may be.
func (p *pace) add(packets, bytes int, now time.Time) time.Duration {
	past := now.Sub(p.began).Seconds()
	p.began = now
	p.packets = max(0, p.packets-past*p.rate) + float64(packets)
	p.bytes = max(0, p.bytes-past*p.byteRate) + float64(bytes)
	wait := max(over(p.packets, p.rate), over(p.bytes, p.byteRate))
	return time.Duration(wait * float64(time.Second))
}

// over is how many seconds of a rate an amount is beyond one: a second's worth
// may come at once.
func over(amount, rate float64) float64 {
	if rate <= 0 {
		return 0
	}
	return max(0, amount/rate-1)
}
