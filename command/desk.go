package command

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidegate/tidegate/internal/bootclock"
)

// Config says what commands may do. The zero value allows nothing.
type Config struct {
	// Gateway is this gateway's name.
	Gateway string
	// Allow are the topics that commands may go to, as filters of MQTT.
	Allow []string
	// AllowRetain lets commands be retained.
	AllowRetain bool
	// DeviceTopic is the topic of a command that names a device, with {device} in
	// it; empty refuses those.
	DeviceTopic string
	// TTL is the life of a command that does not say how long it is good, 5 minutes
	// by default; MaxTTL is the longest that is believed, 24 hours by default.
	TTL, MaxTTL time.Duration
	// MaxAge is how old a command may be when it comes, whatever it says itself; 0
	// for any age.
	MaxAge time.Duration
	// Rate is how many commands a minute are decided for each clerk, 60 by default.
	// Others wait with their courier.
	Rate int
	// Remember is how long an ID is known after its command has expired, 24 hours by
	// default, as long as there is room. MaxRemembered is how many are, 4096 by
	// default; when so many have not expired yet, others are refused.
	Remember      time.Duration
	MaxRemembered int
	// Keys are what commands must be signed with, if there are any.
	Keys Keys
	// Clock is the machine's if it is zero.
	Clock Clock
}

// Clock is what a Desk needs to know of the time.
type Clock struct {
	Boot   uint32               // names this boot of the machine
	Uptime func() time.Duration // since then, from a clock that nobody sets
	Now    func() time.Time
	Synced func() bool // whether Now can be believed
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, usual time.Duration) {
		if *d == 0 {
			*d = usual
		}
	}
	set(&c.TTL, 5*time.Minute)
	set(&c.MaxTTL, 24*time.Hour)
	set(&c.Remember, 24*time.Hour)
	if c.Rate == 0 {
		c.Rate = 60
	}
	if c.MaxRemembered == 0 {
		c.MaxRemembered = 4096
	}
	if c.Clock.Now == nil {
		c.Clock = Clock{Boot: bootclock.BootID(), Uptime: bootclock.Uptime, Now: time.Now, Synced: bootclock.Synced}
	}
	return c
}

// Desk decides. It is safe for concurrent use.
type Desk struct {
	cfg    Config
	outlet Outlet
	ledger Ledger
	log    *slog.Logger

	loaded chan struct{} // closed when memory is
	wake   chan struct{} // holds one: something for Run to look at
	turn   chan struct{} // holds one: whoever looks an ID up and publishes has it

	mu     sync.Mutex
	memory memory
	clerks map[string]*Clerk
	handed []handed // deliveries that are not answered yet, one an entry at the most
	early  []handed // deliveries that came before memory was loaded
	heir   *Desk    // who is told of deliveries instead; nil for nobody
	stats  Stats
}

// handed is a command that a device has acknowledged.
type handed struct{ id, by string }

// Stats counts decisions since the start.
type Stats struct {
	Accepted, Delivered, Refused, Expired, Duplicates uint64
	// Last is the last answer; its State is empty before the first.
	Last Answer
	// Remembered is how many IDs are known.
	Remembered int
	// Untold answers were dropped because too many waited.
	Untold uint64
}

// New returns a Desk. Commands wait until Run has read what was decided before.
func New(cfg Config, outlet Outlet, ledger Ledger, log *slog.Logger) *Desk {
	return &Desk{
		cfg: cfg.withDefaults(), outlet: outlet, ledger: ledger, log: log,
		loaded: make(chan struct{}), wake: make(chan struct{}, 1), turn: make(chan struct{}, 1),
		memory: memory{entries: make(map[string]*entry)}, clerks: make(map[string]*Clerk),
	}
}

// Stats returns the counts so far.
func (d *Desk) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.Remembered = len(d.memory.entries)
	for _, c := range d.clerks {
		s.Untold += c.untold.Load()
	}
	return s
}

// Clerk returns the clerk of a courier; names are for people, and to find the
// way back to who asked.
func (d *Desk) Clerk(name string, n Narrow) *Clerk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &Clerk{desk: d, name: name, narrow: n, more: make(chan struct{}, 1), pace: newPace(d.cfg.Rate)}
	d.clerks[name] = c
	return c
}

// Delivered says that a client has acknowledged the message of a command. It
// returns at once.
func (d *Desk) Delivered(id, client string) {
	d.mu.Lock()
	heir := d.heir
	news := heir == nil && d.hand(handed{id, client})
	d.mu.Unlock()
	switch {
	case heir != nil:
		heir.Delivered(id, client)
	case news:
		d.rouse()
	}
}

// hand keeps a delivery for Run, which has yet to read of which commands there are if
// it has just begun. news says that Run has something to do. The caller holds mu.
func (d *Desk) hand(h handed) (news bool) {
	if !d.isLoaded() {
		if len(d.early) < d.cfg.MaxRemembered {
			d.early = append(d.early, h)
		}
		return false
	}
	e := d.memory.entries[h.id]
	if e == nil || e.State == Delivered || e.handed {
		return false
	}
	e.handed = true
	d.handed = append(d.handed, h)
	return true
}

// PassOn lets a desk that decides from now on note what this one was told of
// deliveries and has not noted, and will be told. Run must have ended.
func (d *Desk) PassOn(heir *Desk) {
	d.mu.Lock()
	all := append(d.handed, d.early...)
	d.heir, d.handed, d.early = heir, nil, nil
	d.mu.Unlock()
	for _, h := range all {
		heir.Delivered(h.id, h.by)
	}
}

func (d *Desk) rouse() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run reads what was decided in earlier lives, and answers late: that a device
// has acknowledged, or that its time was over before. It returns when ctx ends,
// or with an error when the notes cannot be read.
func (d *Desk) Run(ctx context.Context) error {
	if err := d.load(ctx); err != nil {
		return err
	}
	for {
		timer := time.NewTimer(d.tend(ctx))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-d.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (d *Desk) isLoaded() bool {
	select {
	case <-d.loaded:
		return true
	default:
		return false
	}
}

const (
	// idle is how long nothing needs to be looked at.
	idle = time.Hour
	// soon is after how long is tried again what custody did not take.
	soon = 10 * time.Second
)

// tend does what is due, and returns when something is next.
func (d *Desk) tend(ctx context.Context) time.Duration {
	d.mu.Lock()
	news := d.handed
	d.handed = nil
	d.mu.Unlock()
	var failed []handed
	for _, h := range news {
		if err := d.late(ctx, h.id, Delivered, h.by); err != nil {
			failed = append(failed, h)
		}
	}
	next := idle
	for _, id := range d.overdue(&next) {
		if err := d.late(ctx, id, Expired, ""); err != nil {
			next = soon
		}
	}
	if len(failed) == 0 {
		return next
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handed = append(failed, d.handed...)
	return soon
}

// overdue returns the commands whose time is over and that no device has
// acknowledged. next is lowered to when the next one will be.
func (d *Desk) overdue(next *time.Duration) (ids []string) {
	now := d.cfg.Clock.Uptime()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(d.memory.entries)) {
		e := d.memory.entries[id]
		if e.State != Accepted || e.handed || e.Receivers == 0 || e.QoS == 0 {
			continue
		}
		left := e.expires - now
		switch fate := e.fate(); {
		case left > 0:
			*next = min(*next, left)
		case fate == onFlash:
			ids = append(ids, id)
		case fate == underWay:
			*next = min(*next, soon)
		}
	}
	return ids
}

// late notes what has become of a published command, and answers.
func (d *Desk) late(ctx context.Context, id string, state State, by string) error {
	d.mu.Lock()
	e := d.memory.entries[id]
	if e == nil || e.State == Delivered {
		d.mu.Unlock()
		return nil
	}
	after := *e
	d.mu.Unlock()
	after.State = state
	a := Answer{ID: id, Gateway: d.cfg.Gateway, State: state, Topic: after.Topic, By: by, ReplyTo: after.ReplyTo, Wanted: after.Reply}
	if state == Expired {
		a.Reason = "no device acknowledged it in time"
	}
	d.date(&a)
	receipt, err := d.ledger.Accept(ctx, d.audit(a, after.Courier, after.Sender), d.memory.note(&after, d.cfg.Clock))
	if err == nil {
		err = receipt.Wait(ctx)
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	if e := d.memory.entries[id]; e != nil {
		e.State, e.handed = state, false
	}
	clerk := d.clerks[after.Courier]
	d.mu.Unlock()
	d.count(a, after.Courier, after.Sender)
	if clerk != nil && a.Wanted {
		clerk.tell(a)
	}
	return nil
}

// date says when something was decided, and whether that can be believed.
func (d *Desk) date(a *Answer) {
	a.At = d.cfg.Clock.Now().UTC().Truncate(time.Millisecond)
	if !d.cfg.Clock.Synced() {
		a.Clock = "unsynced"
	}
}

// count counts a decision that is on flash, and logs it: never the payload.
func (d *Desk) count(a Answer, courier, sender string) {
	d.mu.Lock()
	switch a.State {
	case Accepted:
		d.stats.Accepted++
	case Delivered:
		d.stats.Delivered++
	case Refused:
		d.stats.Refused++
	case Expired:
		d.stats.Expired++
	case Duplicate:
		d.stats.Duplicates++
	}
	d.stats.Last = a
	d.mu.Unlock()
	level := slog.LevelInfo
	if a.State == Refused {
		level = slog.LevelWarn
	}
	d.log.Log(context.Background(), level, "command "+string(a.State), "id", a.ID, "courier", courier, "sender", sender,
		"topic", a.Topic, "reason", a.Reason, "by", a.By, "sha256", a.Digest)
}

// topicOf is where a command goes.
func (d *Desk) topicOf(c Command) (string, error) {
	topic := c.Topic
	if c.Device != "" {
		if d.cfg.DeviceTopic == "" {
			return "", errors.New(`commands name a topic here, not a device — hint: set device_topic, or write "topic"`)
		}
		topic = strings.ReplaceAll(d.cfg.DeviceTopic, "{device}", c.Device)
	}
	if problem := checkTopic(topic); problem != "" {
		return "", errors.New(problem + " — hint: name the one topic that the device is subscribed to")
	}
	return topic, nil
}
