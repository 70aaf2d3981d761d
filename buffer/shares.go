package buffer

import "github.com/tidegate/tidegate/reading"

// A cursor has six flows: every lane has its live readings and, when it is
// behind, a backlog. shares divides the link among those that have something to
// send, by bytes: stride scheduling (Waldspurger and Weihl, 1995). Each flow has
// a pass, which grows by what it sends over its weight, and the lowest is next.
// A flow that was idle joins at the present pass: it is next at once, and cannot
// claim what it did not use. A backlog that has something, and was passed over because
// only what is live was asked for, is not idle: its turn comes.
type shares struct {
	pass    [flows]float64
	present float64
	idle    [flows]bool
	over    [flows]bool // was passed over
}

// flow numbers are lane*2, plus 1 for the backlog.
const flows = 2 * reading.Lanes

func flowOf(lane reading.Lane, backlog bool) int {
	if backlog {
		return 2*int(lane) + 1
	}
	return 2 * int(lane)
}

// weights: alarms get four times what normal readings do, and those four times
// what bulk does, whenever they compete; live readings 70 % and the backlog
// 30 %. So nothing starves.
var weights = [flows]float64{
	2 * int(reading.Normal): 4 * 7, 2*int(reading.Normal) + 1: 4 * 3,
	2 * int(reading.Alarm): 16 * 7, 2*int(reading.Alarm) + 1: 16 * 3,
	2 * int(reading.Bulk): 1 * 7, 2*int(reading.Bulk) + 1: 1 * 3,
}

// order is how ties are decided.
var order = [flows]int{
	2 * int(reading.Alarm), 2*int(reading.Alarm) + 1,
	2 * int(reading.Normal), 2*int(reading.Normal) + 1,
	2 * int(reading.Bulk), 2*int(reading.Bulk) + 1,
}

// next returns the flow that may send, of those that have something; -1 for
// none.
func (s *shares) next(ready [flows]bool) int {
	chosen := -1
	for _, f := range order {
		if !ready[f] {
			s.idle[f] = s.idle[f] || !s.over[f]
			continue
		}
		if s.idle[f] {
			s.idle[f] = false
			s.pass[f] = max(s.pass[f], s.present)
		}
		if chosen < 0 || s.pass[f] < s.pass[chosen] {
			chosen = f
		}
	}
	if chosen >= 0 {
		s.present = s.pass[chosen]
	}
	return chosen
}

// sent notes what a flow has sent.
func (s *shares) sent(flow, bytes int) { s.pass[flow] += float64(bytes) / weights[flow] }
