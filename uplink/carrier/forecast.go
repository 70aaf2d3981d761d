package carrier

import "time"

// Demand is what is to pass over a link, in bytes on the wire.
type Demand struct {
	// Backlog waits; Inflow is how many bytes a second come on top of it.
	Backlog int64
	Inflow  float64
}

// Forecast is what a link will do with a Demand, from what was measured: how fast
// it takes data, and how much is used of its budget.
type Forecast struct {
	// Needs is the backlog, Speed how many bytes a second the link takes; zero if
	// that is not known yet.
	Needs int64
	Speed float64
	// Drained is when nothing waits any more, schedule and budget considered; zero
	// if that is not known, or not within a year.
	Drained time.Time
	// Left is what the tightest budget still allows other lanes than the alarm,
	// Of that budget, and Renews when it begins anew. Of is zero without a budget.
	Left, Of int64
	Renews   time.Time
	// Lasts is when that budget is spent if the link goes on being used as it was
	// since yesterday; zero if it lasts until it renews, or if that is not known.
	Lasts time.Time
}

// Bounds of a forecast's walk into the future.
const (
	farAhead   = 366 * 24 * time.Hour
	maxStrides = 4000
)

// Forecast returns what the link will do with the demand. Rounding up to billing
// blocks is not considered ahead of time.
func (l *Link) Forecast(d Demand) Forecast {
	f, w := l.outset(d)
	if f.Speed > 0 {
		f.Drained = w.drained() // connections do not wait for that
	}
	return f
}

// outset is what is known now, and where the walk into the future begins.
func (l *Link) outset(d Demand) (Forecast, walk) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.trusts(now)
	book := *l.ledger // the walk counts in a copy
	f := Forecast{Needs: d.Backlog, Speed: l.speed()}
	f.budget(l.cfg.Budget, &book, now)
	if use := l.use(&book, now); f.Of > 0 && use > 0 {
		if spent := now.Add(time.Duration(float64(f.Left) / use * float64(time.Second))); spent.Before(f.Renews) {
			f.Lasts = spent
		}
	}
	return f, walk{
		budget: l.cfg.Budget, plan: plan{schedule: l.cfg.Schedule}, book: &book, at: now.In(l.cfg.Zone),
		speed: f.Speed, inflow: d.Inflow, backlog: float64(d.Backlog),
	}
}

// speed is how many bytes a second the link takes.
func (l *Link) speed() float64 {
	if rate := float64(l.cfg.Rate); rate > 0 && (l.tally.speed == 0 || rate < l.tally.speed) {
		return rate
	}
	return l.tally.speed
}

// settled is how long a link must have been watched until its use is a rate.
const settled = time.Hour

// use is how many bytes a second were used of the budget since yesterday, or in
// this run if nothing is known of yesterday; zero if that says nothing yet.
func (l *Link) use(book *ledger, now time.Time) float64 {
	if y := book.yesterday.start; y != 0 && book.today.start-y < 26*60*60 {
		used := float64(book.yesterday.billed + book.yesterday.open + book.usedDay())
		return used / now.Sub(time.Unix(y, 0)).Seconds()
	}
	if run := now.Sub(l.tally.started); run >= settled {
		return float64(l.tally.sum.sent+l.tally.sum.received) / run.Seconds()
	}
	return 0
}

// budget fills in the tighter of the budgets.
func (f *Forecast) budget(b Budget, book *ledger, now time.Time) {
	day, month := b.left(book)
	if _, ends := book.day(now); b.Day > 0 {
		f.Left, f.Of, f.Renews = day, b.Day, ends
	}
	if _, ends := book.month(now); b.Month > 0 && (f.Of == 0 || month <= f.Left) { // of two that are spent, the one that renews later
		f.Left, f.Of, f.Renews = month, b.Month, ends
	}
}

// walk goes through time in strides in which nothing changes: until the schedule
// opens or closes, the day ends or the budget is spent.
type walk struct {
	budget  Budget
	plan    plan
	book    *ledger
	at      time.Time
	speed   float64 // bytes a second
	inflow  float64
	backlog float64
}

func (w *walk) drained() time.Time {
	if w.backlog <= 0 {
		return w.at
	}
	end := w.at.Add(farAhead)
	for range maxStrides {
		w.book.roll(w.at)
		if done, ok := w.stride(); ok {
			return done
		}
		if !w.at.Before(end) {
			break
		}
	}
	return time.Time{}
}

// stride makes one, or says when in it the backlog is drained.
func (w *walk) stride() (done time.Time, ok bool) {
	open, until := w.plan.at(w.at)
	begins, midnight := w.book.day(w.at)
	until = sooner(until, midnight)
	length := until.Sub(w.at).Seconds()
	speed, room := 0., w.room(begins)
	if open {
		speed = w.speed
		if share := w.budget.share(w.book, begins); w.budget.Spread && share >= 0 {
			speed = min(speed, float64(share)/midnight.Sub(begins).Seconds())
		}
	}
	if takes := w.backlog / (speed - w.inflow); speed > w.inflow && takes <= length && speed*takes <= room {
		return w.at.Add(time.Duration(takes * float64(time.Second))), true
	}
	sent := min(speed*length, room)
	w.backlog += w.inflow*length - sent
	w.book.add(int64(sent), 0)
	w.at = until
	return time.Time{}, false
}

// room is what the budgets allow in the day that began at day.
func (w *walk) room(day time.Time) float64 {
	room := float64(1 << 62)
	if w.budget.WhenSpent == SpentIgnore {
		return room
	}
	left, month := w.budget.left(w.book)
	if w.budget.Day > 0 {
		room = min(room, float64(left))
	}
	if w.budget.Month > 0 {
		room = min(room, float64(month))
	}
	if w.budget.Spread {
		room = min(room, float64(max(0, w.budget.share(w.book, day)-w.book.usedDay())))
	}
	return room
}
