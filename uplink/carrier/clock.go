package carrier

import "time"

// patience is how long a schedule waits for a clock that is right, from the boot or
// since it was right. Then the link is open: a gateway that nobody tells the time
// would never deliver anything.
const patience = 24 * time.Hour

// correction is by how much a clock may be set back without being doubted.
const correction = time.Hour

// trusts says whether the time may be right, and tells the ledger if so. A time
// source says that it is; or it is not before what it has been; or it has said so
// for a day: then what it was before was wrong, and no day would ever begin.
func (l *Link) trusts(now time.Time) bool {
	up := l.cfg.Clock.Uptime()
	ahead := l.ledger.seen - now.Unix()
	trusted := l.cfg.Clock.Synced() || !now.Before(l.written) && (ahead <= int64(correction/time.Second) || up-l.tally.right >= patience)
	if trusted {
		l.tally.right = up
		l.ledger.roll(now)
	}
	return trusted
}

// open is the schedule's part of decide.
func (l *Link) open(now time.Time, trusted bool) (open bool, until time.Time) {
	if len(l.cfg.Schedule) == 0 {
		return true, time.Time{}
	}
	if trusted {
		if s := &l.tally; now.Before(s.opened) || !now.Before(s.until) {
			s.opened = now.Round(0) // as the wall has it, which can be set back
			s.open, s.until = l.cfg.Schedule.At(now.In(l.cfg.Zone))
		}
		return l.tally.open, l.tally.until
	}
	if wait := patience - (l.cfg.Clock.Uptime() - l.tally.right); wait > 0 {
		return false, now.Add(min(wait, time.Minute)) // the clock may be set at any time
	}
	return true, now.Add(time.Minute)
}
