package carrier

import (
	"context"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/internal/bootclock"
)

// Link is one way to the network. It is safe for concurrent use. Without Run it
// counts and dials all the same, but keeps nothing across restarts and tells
// nobody when its Permit changes.
type Link struct {
	cfg   Config
	log   *slog.Logger
	pace  pace
	state *statefile // of Run; nil if there is none, or it is out of reach
	names names
	// connect makes a socket; it is a field for tests that have no network.
	connect func(ctx context.Context, network, address string, bind bool) (net.Conn, error)
	reach   reach
	wake    chan struct{} // receives when Run should look again
	written time.Time     // no clock is right that says less

	mu     sync.Mutex
	ledger *ledger
	conns  map[*conn]struct{}
	users  int // of the link, which make it a session: connections and dials
	heard  []*func()
	// restored says that what the state file had is in the ledger.
	restored bool
	// running says that Run does; it sees off the farewells.
	running   bool
	farewells []*farewell
	permit    Permit
	tally     tally
}

// tally is what a Link knows of its own run.
type tally struct {
	started time.Time
	sum     passed // since the start, on the wire
	unsaved int64  // bytes that no save has brought to flash
	saved   time.Time
	changed bool // since the last save
	passed  bool // something has, since Run last looked
	idle    bool // Run waits for something to pass
	// ahead says that somebody was given a Permit before Run told of it.
	ahead     bool
	restUntil time.Time
	right     time.Duration // the uptime when the clock could last be trusted
	// open is what the schedule says from opened on, until until.
	open          bool
	opened, until time.Time
	speed         float64 // bytes a second that the link was measured to take
	estimated     bool    // a connection has been counted without the kernel
	problem       string  // of the state file
	down          string  // why packets cannot leave; empty if they can
	// keeping is closed when a save that Run owes has ended; nil unless Run keeps
	// what is counted.
	keeping chan struct{}
}

// Open returns a Link, with what its state file has counted so far. Run closes
// the file. A file that cannot be read is set aside; one that cannot be written is
// tried again by Run. Both are reported to log: a link is there in any case.
func Open(cfg Config, log *slog.Logger) *Link {
	l := New(cfg, log)
	l.Load()
	return l
}

// New is Open for a link whose state file another one still has: it knows of nothing
// that was counted until Load.
func New(cfg Config, log *slog.Logger) *Link {
	l := newLink(cfg, log)
	blank := *l.ledger
	l.permit, _ = l.decide(l.now())
	*l.ledger = blank // for Load, to which the days of the file are the first
	l.Look()
	return l
}

// Load takes over what the state file has counted. It is for the time before Run,
// when nobody else has the file any more.
func (l *Link) Load() {
	if l.cfg.State == "" {
		return
	}
	if err := l.openState(); err != nil {
		l.suffer(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.permit, _ = l.decide(l.now())
}

// openState opens the state file and takes over what it has, if that is not known
// yet.
func (l *Link) openState() error {
	file, r, aside, err := openState(l.cfg.State)
	if aside != "" {
		l.log.Error("what this link has counted cannot be read: it counts from zero — hint: the operator's portal knows better", "file", aside)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if r != nil && !l.restored {
		counted := l.ledger.thisMonth // while the file was out of reach
		l.restore(r)
		l.ledger.add(counted.sent, counted.received)
	}
	l.state = file
	return err
}

// suffer reports that nothing is saved, once.
func (l *Link) suffer(err error) {
	if l.tally.problem == "" {
		l.log.Warn("what this link has counted is not saved, and a restart would forget it — hint: see to the disk", "err", err)
	}
	l.tally.problem = err.Error()
}

// Peek returns a Link that knows what the state file has counted and leaves it
// alone, also while another process uses it. A file that is missing or cannot be
// read says zero.
func Peek(cfg Config, log *slog.Logger) *Link {
	l := newLink(cfg, log)
	if raw, err := os.ReadFile(cfg.State); err == nil {
		l.restore(newest(raw))
	}
	l.permit, _ = l.decide(l.now())
	l.Look()
	return l
}

func newLink(cfg Config, log *slog.Logger) *Link {
	cfg = cfg.withDefaults()
	l := &Link{
		written: bootclock.Written(),
		cfg:     cfg, log: log.With("link", cfg.Name), pace: pace{rate: cfg.Rate},
		wake: make(chan struct{}, 1), conns: make(map[*conn]struct{}), ledger: newLedger(cfg.Budget, cfg.Zone),
	}
	l.connect, l.reach = l.socket, machine{cfg.Interface, cfg.Source}
	l.names = newNames(l)
	l.tally.started, l.tally.saved = l.now(), l.now()
	return l
}

// restore takes over what a state file had, nil for nothing.
func (l *Link) restore(r *record) {
	if r == nil {
		return
	}
	l.restored = true
	l.ledger.today, l.ledger.yesterday = r.today, r.yesterday
	l.ledger.thisMonth, l.ledger.lastMonth = r.thisMonth, r.lastMonth
	l.ledger.seen = r.seen
	l.ledger.endSession() // of a run that was killed
}

func (l *Link) now() time.Time { return l.cfg.Clock.Now() }

// Name returns what people call the link.
func (l *Link) Name() string { return l.cfg.Name }

// Permit returns what the link allows at present.
func (l *Link) Permit() Permit {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, _ := l.decide(l.now())
	if p != l.permit && !l.tally.ahead {
		l.tally.ahead = true
		l.rouse()
	}
	return p
}

// usable says whether anything may pass now. If nothing may, why is a sentence,
// and lost says that the interface is the reason.
func (l *Link) usable() (ok, lost bool, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tally.down != "" {
		return false, true, l.tally.down
	}
	now := l.now()
	if p, _ := l.decide(now); p.Lanes != 0 {
		return true, false, ""
	}
	if open, _ := l.open(now, l.trusts(now)); !open {
		return false, false, "it is outside of its schedule"
	}
	return false, false, "its budget is spent"
}

// Look asks the machine whether the interface is there and up. Whoever listens to
// the kernel's events calls it at each; Dial and Run do so, too.
func (l *Link) Look() {
	ok, why := l.reach.up()
	if ok {
		why = ""
	}
	l.mu.Lock()
	changed := l.tally.down != why
	l.tally.down = why
	l.mu.Unlock()
	if changed {
		l.tell()
	}
}

// decide returns what is allowed, and until when that stays so unless something
// passes; zero is for ever.
func (l *Link) decide(now time.Time) (p Permit, until time.Time) {
	p = Permit{Lanes: l.cfg.Lanes, MinBytes: l.cfg.MinBytes, MinAge: l.cfg.MinAge}
	trusted := l.trusts(now)
	open, until := l.open(now, trusted)
	if !open {
		p.Lanes &= l.cfg.Always
	}
	if !l.cfg.Budget.limited() {
		return p, until
	}
	if trusted {
		until = sooner(until, time.Unix(l.ledger.ends, 0))
	}
	p.Lanes &= l.cfg.Budget.lanes(l.ledger)
	if trusted && l.resting(now) {
		p.Lanes &= alarms
		until = sooner(until, l.tally.restUntil)
	}
	return p, until
}

// resting says whether a spread budget lets only alarms pass.
func (l *Link) resting(now time.Time) bool {
	if b := l.cfg.Budget; !b.Spread || b.WhenSpent == SpentIgnore {
		return false
	}
	s := &l.tally
	if s.restUntil.Before(now) || s.restUntil.Unix() > l.ledger.ends {
		s.restUntil = l.cfg.Budget.rest(l.ledger, now)
	}
	return s.restUntil.After(now)
}

// sooner returns the earlier of two times, of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// tell calls those who want to know when the Permit or the interface changes.
func (l *Link) tell() {
	l.mu.Lock()
	heard := slices.Clone(l.heard)
	l.mu.Unlock()
	for _, f := range heard {
		(*f)()
	}
}

// onChange registers f until forget is called. It must not call the Link and not
// block.
func (l *Link) onChange(f func()) (forget func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, &f)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.heard = slices.DeleteFunc(l.heard, func(other *func()) bool { return other == &f })
	}
}

// enter begins the use of the link.
func (l *Link) enter() {
	l.mu.Lock()
	l.users++
	l.mu.Unlock()
	l.rouse()
}

// exit ends a use of the link; the last one ends the session.
func (l *Link) exit() {
	l.mu.Lock()
	if l.users--; l.users == 0 {
		l.ledger.endSession()
		l.tally.changed = true
	}
	l.mu.Unlock()
	l.rouse()
}

// join takes note of a connection; the link is used until it leaves.
func (l *Link) join(c *conn) *conn {
	l.mu.Lock()
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	l.enter()
	return c
}

// leave forgets a connection, and says whether it was there.
func (l *Link) leave(c *conn) bool {
	l.mu.Lock()
	_, there := l.conns[c]
	delete(l.conns, c)
	l.mu.Unlock()
	if there {
		l.exit()
	}
	return there
}

// count counts what has passed over the wire. info is the kernel's view of the
// connection, nil where it has none.
func (l *Link) count(p passed, info *unix.TCPInfo, stream bool) {
	l.mu.Lock()
	s := &l.tally
	if stream && info == nil {
		s.estimated = true
	}
	if info != nil && info.Delivery_rate > 0 && p.sent > 0 {
		s.measured(float64(info.Delivery_rate))
	}
	if p == (passed{}) {
		l.mu.Unlock()
		return
	}
	l.ledger.add(p.sent, p.received)
	n := p.sent + p.received
	s.sum.sent, s.sum.received = s.sum.sent+p.sent, s.sum.received+p.received
	s.unsaved, s.changed = s.unsaved+n, true
	rouse := s.idle || s.unsaved >= l.maxUnsaved()
	s.passed, s.idle = true, false
	if l.cfg.Budget.limited() {
		permit, _ := l.decide(l.now())
		rouse = rouse || permit != l.permit
	}
	l.mu.Unlock()
	if rouse {
		l.rouse()
	}
}

// stir lets Run look soon at what has passed.
func (l *Link) stir() {
	l.mu.Lock()
	s := &l.tally
	rouse := s.idle
	s.passed, s.idle = true, false
	l.mu.Unlock()
	if rouse {
		l.rouse()
	}
}

// measured notes how fast the link has taken data: the kernel's delivery rate,
// smoothed.
func (s *tally) measured(rate float64) {
	if s.speed == 0 {
		s.speed = rate
	}
	s.speed += (rate - s.speed) / 4
}

// rouse lets Run look at once.
func (l *Link) rouse() {
	select {
	case l.wake <- struct{}{}:
	default: // it will anyway
	}
}

func (l *Link) downReason() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tally.down
}
