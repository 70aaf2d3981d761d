package carrier

import "time"

// period is what was counted since a day or a month began.
type period struct {
	// start is when it began, in Unix seconds; 0 until a clock has told.
	start int64
	// billed are the bytes of what is over, rounded up; open those of what is
	// still to be rounded up: a session, a day or a month.
	billed, open int64
	// sent and received are bytes as they were, without any rounding.
	sent, received int64
}

// ledger counts what has passed over a link. It never counts less than that:
// not when the clock is wrong, and not when it is set back.
type ledger struct {
	billingDay int
	block      int64
	per        Rounding
	zone       *time.Location

	// yesterday and lastMonth are what was counted before; a clock that turns out
	// to have been ahead brings them back.
	today, yesterday, thisMonth, lastMonth period
	// seen is the latest time that could be trusted, and ends when today does, in
	// Unix seconds; 0 while that is not known.
	seen, ends int64
}

func newLedger(b Budget, zone *time.Location) *ledger {
	return &ledger{billingDay: max(b.BillingDay, 1), block: b.Block, per: b.Per, zone: zone}
}

// add counts bytes.
func (l *ledger) add(sent, received int64) {
	for _, p := range []*period{&l.today, &l.thisMonth} {
		p.sent, p.received, p.open = p.sent+sent, p.received+received, p.open+sent+received
	}
}

// endSession rounds a session up.
func (l *ledger) endSession() {
	if l.per == PerSession {
		l.close(&l.today)
		l.close(&l.thisMonth)
	}
}

func (l *ledger) close(p *period) { p.billed, p.open = p.billed+l.round(p.open), 0 }

func (l *ledger) round(n int64) int64 {
	if l.block <= 0 || n <= 0 {
		return n
	}
	return (n + l.block - 1) / l.block * l.block
}

// usedDay returns what an operator would have counted today.
func (l *ledger) usedDay() int64 {
	if l.per == PerMonth {
		return l.today.billed + l.today.open
	}
	return l.today.billed + l.round(l.today.open)
}

// usedMonth returns what an operator would have counted this month.
func (l *ledger) usedMonth() int64 { return l.thisMonth.billed + l.round(l.thisMonth.open) }

// roll begins a new day or month, if there is one by a clock that can be
// trusted. A clock that is set back takes nothing away: what was counted since
// counts on, and if it is in the old day or month again, so does all of that.
func (l *ledger) roll(now time.Time) {
	before := l.seen
	l.seen = now.Unix()
	if l.seen >= l.today.start && l.seen < l.ends {
		return // it is still today
	}
	day, ends := l.day(now)
	l.ends = ends.Unix()
	if day.Unix() > max(l.today.start, before) && l.per != PerMonth {
		l.close(&l.today)
		l.close(&l.thisMonth)
	}
	turn(&l.today, &l.yesterday, day, before)
	month, _ := l.month(now)
	if month.Unix() > max(l.thisMonth.start, before) {
		l.close(&l.thisMonth)
	}
	turn(&l.thisMonth, &l.lastMonth, month, before)
}

// turn lets a period be the one that began at start. seen is the latest time at
// which something may have been counted.
func turn(p, before *period, start time.Time, seen int64) {
	switch at := start.Unix(); {
	case p.start == 0: // counted before any clock was right
		p.start = at
	case at > p.start && at <= seen: // another billing day or zone: some of it may be of this period
		p.start = at
	case at > p.start:
		*before, *p = *p, period{start: at}
	case at < p.start:
		if at <= before.start {
			p.include(*before)
			*before = period{}
		}
		p.start = at
	}
}

func (p *period) include(o period) {
	p.billed, p.open = p.billed+o.billed, p.open+o.open
	p.sent, p.received = p.sent+o.sent, p.received+o.received
}

// day returns when the day of t begins and ends.
func (l *ledger) day(t time.Time) (begins, ends time.Time) {
	begins = midnight(t.In(l.zone))
	return begins, tomorrow(begins)
}

// month returns when the month of t begins and ends, by the billing day.
func (l *ledger) month(t time.Time) (begins, ends time.Time) {
	t = t.In(l.zone)
	first := time.Date(t.Year(), t.Month(), 1, 12, 0, 0, 0, l.zone)
	begins, ends = l.billing(first), l.billing(first.AddDate(0, 1, 0))
	if t.Before(begins) {
		begins, ends = l.billing(first.AddDate(0, -1, 0)), begins
	}
	return begins, ends
}

// billing returns when the billing day of the month of t begins.
func (l *ledger) billing(t time.Time) time.Time {
	last := time.Date(t.Year(), t.Month()+1, 0, 12, 0, 0, 0, l.zone).Day()
	return midnight(time.Date(t.Year(), t.Month(), min(l.billingDay, last), 12, 0, 0, 0, l.zone))
}
