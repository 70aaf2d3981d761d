package carrier

import (
	"context"
	"errors"
	"math"
	"time"
)

// How often Run looks at connections: while something passes, and otherwise, for
// keepalives, for clocks that are set, and for an interface that came back while
// nobody listened to the kernel.
const (
	busyTurn = 10 * time.Second
	idleTurn = time.Minute
)

// How often what was counted is saved, at the most, as long as no more than
// maxUnsaved bytes are at stake; and without a budget, where nothing is.
const (
	saveEvery      = time.Minute
	saveEveryQuiet = 15 * time.Minute
)

func (l *Link) saveEvery() time.Duration {
	if l.cfg.Budget.limited() {
		return saveEvery
	}
	return saveEveryQuiet
}

// maxUnsaved is how many bytes may be unsaved until Run saves. Connections wait
// when it is twice as much, so a kill -9 forgets no more than that and what was
// just passing. It is a hundredth of the smaller budget, so that a budget costs
// flash some hundred saves, whatever it is.
func (l *Link) maxUnsaved() int64 {
	smaller := int64(math.MaxInt64)
	for _, b := range []int64{l.cfg.Budget.Day, l.cfg.Budget.Month} {
		if b > 0 {
			smaller = min(smaller, b)
		}
	}
	if smaller == math.MaxInt64 {
		return smaller
	}
	return min(max(smaller/100, 4<<10), 1<<20)
}

// Run counts, saves, and tells when the Permit changes, until ctx ends. It
// returns an error if the last save fails; what was counted since the one before
// is lost then.
func (l *Link) Run(ctx context.Context) error {
	l.mu.Lock()
	l.running = true
	if l.cfg.State != "" {
		l.tally.keeping = make(chan struct{})
	}
	l.mu.Unlock()
	for {
		again := l.turn()
		var due <-chan time.Time
		if again > 0 {
			due = time.After(again)
		}
		select {
		case <-ctx.Done():
			return l.end()
		case <-l.wake:
		case <-due:
		}
	}
}

// turn looks at everything, and returns when to look again; zero is when
// something happens.
func (l *Link) turn() time.Duration {
	l.Look()
	conns := l.connections()
	for _, c := range conns {
		c.look(false)
		c.rest()
	}
	parting := l.seeOff(false)
	changed, save, again := l.review(len(conns) > 0)
	if changed {
		l.tell()
	}
	if save {
		_ = l.save(false) // which reports it
	}
	if parting > 0 && (again == 0 || again > farewellLook) {
		again = farewellLook
	}
	return again
}

func (l *Link) connections() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		all = append(all, c)
	}
	return all
}

// review decides anew.
func (l *Link) review(connected bool) (changed, save bool, again time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	p, until := l.decide(now)
	s := &l.tally
	changed, l.permit, s.ahead = p != l.permit || s.ahead, p, false
	save = l.cfg.State != "" && s.changed && (s.unsaved >= l.maxUnsaved() && s.problem == "" || now.Sub(s.saved).Abs() >= l.saveEvery())
	switch {
	case s.passed && connected:
		again = busyTurn
	case connected || s.changed && l.cfg.State != "" || l.cfg.Budget.limited() || len(l.cfg.Schedule) > 0 || s.down != "":
		again = idleTurn
	}
	s.idle, s.passed = again != busyTurn, false
	if left := until.Sub(now); !until.IsZero() && left < again {
		again = max(left, time.Millisecond)
	}
	return changed, save, again
}

// save writes the state file. It reports a failure when it is a new one.
func (l *Link) save(clean bool) (err error) {
	if l.state == nil {
		err = l.openState()
	}
	book, atStake := l.toSave()
	if err == nil {
		err = l.state.save(book, clean)
	}
	l.saved(atStake, err)
	return err
}

// toSave returns what has been counted, and how many bytes of it are at stake: until
// they are on flash.
func (l *Link) toSave() (book ledger, atStake int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.tally
	s.changed = false
	s.saved = l.now() // also if it fails: a disk that is in need is not asked all the time
	return *l.ledger, s.unsaved
}

// saved notes how a save of bytes that were at stake has ended.
func (l *Link) saved(atStake int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.tally
	if s.keeping != nil {
		close(s.keeping)
		s.keeping = make(chan struct{})
	}
	if err != nil {
		s.changed = true
		l.suffer(err)
		return
	}
	s.unsaved -= atStake
	s.problem = ""
}

// owes returns what to wait for before more may pass, nil for nothing: a save that
// is overdue. A disk that fails stops nobody.
func (l *Link) owes() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.tally
	if s.keeping == nil || s.problem != "" || s.unsaved < 2*min(l.maxUnsaved(), math.MaxInt64/2) {
		return nil
	}
	return s.keeping
}

// keepNoMore lets those go who wait for a save.
func (l *Link) keepNoMore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := &l.tally; s.keeping != nil {
		close(s.keeping)
		s.keeping = nil
	}
}

// end saves what connections that are still open have cost by now.
func (l *Link) end() error {
	l.mu.Lock()
	l.running = false
	l.mu.Unlock()
	l.turn()
	l.seeOff(true)
	if l.cfg.State == "" {
		return nil
	}
	l.mu.Lock()
	l.ledger.endSession()
	l.mu.Unlock()
	defer l.keepNoMore()
	err := l.save(true)
	if l.state != nil {
		err = errors.Join(err, l.state.close())
	}
	return err
}
