package carrier

import (
	"time"

	"github.com/tidegate/tidegate/reading"
)

// WhenSpent says what becomes of a link whose budget is spent.
type WhenSpent uint8

// What may become of it. SpentAlarms, the zero value, lets alarms travel on,
// beyond the budget. SpentStop lets nothing travel, so that the next link of a
// Path takes over if there is one. SpentIgnore only counts.
const (
	SpentAlarms WhenSpent = iota
	SpentStop
	SpentIgnore
)

// Rounding says what an operator rounds up to whole blocks.
type Rounding uint8

// What may be rounded up. A session, the zero value, lasts from the first
// connection over a link to the end of the last one, and not beyond the day.
const (
	PerSession Rounding = iota
	PerDay
	PerMonth
)

// Budget is how many bytes may pass over a link, sent and received together, as
// its operator counts them. The zero Budget has no limit.
type Budget struct {
	// Day and Month are bytes, zero for any number.
	Day, Month int64
	// BillingDay is the day on which a month begins, 1 to 31, 1 if zero. In months
	// that do not have it their last day takes its place.
	BillingDay int
	// Block is what the operator rounds up to, in bytes, and Per what of.
	Block int64
	Per   Rounding
	// WhenSpent says what may pass when the budget is spent.
	WhenSpent WhenSpent
	// AlarmReserve is what only alarms may use of either budget, in bytes.
	AlarmReserve int64
	// Spread lets readings that are no alarms pass no faster than the budget
	// allows: a day's over the day, a month's over its days.
	Spread bool
}

// limited says whether anything is budgeted.
func (b Budget) limited() bool { return b.Day > 0 || b.Month > 0 }

// lanes returns what may pass, by what the ledger has counted.
func (b Budget) lanes(l *ledger) reading.LaneSet {
	if b.WhenSpent == SpentIgnore {
		return reading.AllLanes
	}
	lanes := reading.AllLanes
	for _, p := range []struct{ used, limit int64 }{{l.usedDay(), b.Day}, {l.usedMonth(), b.Month}} {
		switch {
		case p.limit <= 0 || p.used < p.limit-b.AlarmReserve:
		case b.WhenSpent == SpentStop && p.used >= p.limit:
			return 0
		default:
			lanes &= alarms
		}
	}
	return lanes
}

// alarms are what may nearly always pass.
const alarms reading.LaneSet = 1 << reading.Alarm

// A Budget that is spread allows headStart of a day at once, and when that is
// used up the link rests until a lump is there again: many small messages cost
// more than one.
const (
	headStart = 24 // of the day, as its part
	lump      = 48
)

// rest returns until when a spread Budget lets only alarms pass, zero for not.
func (b Budget) rest(l *ledger, now time.Time) time.Time {
	begins, ends := l.day(now)
	share := b.share(l, begins)
	if !b.Spread || share < 0 {
		return time.Time{}
	}
	used, length := l.usedDay(), ends.Sub(begins)
	if used >= share {
		return ends
	}
	earned := float64(share) * min(1, float64(now.Sub(begins))/float64(length)+1./headStart)
	if float64(used) < earned {
		return time.Time{}
	}
	part := float64(used)/float64(share) + 1./lump - 1./headStart
	if part >= 1 {
		return ends
	}
	return begins.Add(time.Duration(part * float64(length)))
}

// share is what is left of the budgets for the day that began at day: all of a
// daily budget, and of a monthly one what is left of it for each day. Without
// any it is negative.
func (b Budget) share(l *ledger, day time.Time) int64 {
	share := int64(-1)
	if b.Day > 0 {
		share = max(0, b.Day-b.AlarmReserve)
	}
	if b.Month > 0 {
		before := max(0, l.usedMonth()-l.usedDay())
		left := max(0, b.Month-b.AlarmReserve-before)
		_, ends := l.month(day)
		days := max(1, int64(ends.Sub(day)+12*time.Hour)/int64(24*time.Hour))
		if share < 0 || left/days < share {
			share = left / days
		}
	}
	return share
}

// left is what other lanes than the alarm may still use of each budget, as it
// comes back when a day or a month begins.
func (b Budget) left(l *ledger) (day, month int64) {
	return max(0, b.Day-b.AlarmReserve-l.usedDay()), max(0, b.Month-b.AlarmReserve-l.usedMonth())
}
