package uplink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// flow is the state of one Run. Only Run's own goroutine touches it; the
// goroutines that wait for the cursor and for the sink report on channels.
type flow struct {
	*Forwarder
	size  sizer
	link  link
	gate  gate
	dog   watchdog
	ripe  <-chan time.Time // fires when something that waits for company need not wait longer
	queue []*delivery      // in the order in which the cursor gave their blocks

	fetching bool
	wanted   want
	callOff  context.CancelFunc // ends the fetching
	fetched  chan fetch         // buffered, so that no goroutine outlives its reader
	sent     chan result        // as well
	tasks    sync.WaitGroup
	refusals int // blocks set aside since the sink last took anything
	passed   int // bytes that did not wait for room since something last did
	stats    Stats
}

// want is what the cursor is asked for.
type want struct {
	lanes reading.LaneSet
	live  bool // nothing of a backlog
}

type fetch struct {
	blocks    []wire.Block
	err       error
	calledOff bool
	live      bool
}

type result struct {
	d    *delivery
	err  error
	took time.Duration
	at   time.Time // when Send returned
	late bool      // Send ran out of time
}

func newFlow(f *Forwarder) *flow {
	fl := &flow{
		Forwarder: f,
		size:      newSizer(f.cfg.Window, f.cfg.MaxBatch),
		link:      link{backoff: f.cfg.Backoff},
		dog:       watchdog{limit: f.cfg.Stall},
		fetched:   make(chan fetch, 1),
		sent:      make(chan result, f.cfg.Window),
		stats:     f.Stats(), // of the runs before this one
	}
	fl.stats.LastError, fl.stats.Cause = "", nil
	return fl
}

// loop is the whole of it: start what may be sent, fetch if there is room, wait
// for something to happen.
func (fl *flow) loop(ctx context.Context) error {
	wake := fl.cfg.Wake
	for {
		fl.look()
		if err := fl.launch(ctx); err != nil {
			return err
		}
		fl.fetch(ctx)
		fl.watch()
		fl.report()
		select {
		case got := <-fl.fetched:
			fl.fetching = false
			if ctx.Err() != nil {
				return nil
			}
			if got.err != nil && !got.calledOff {
				return fmt.Errorf("next blocks: %w", got.err)
			}
			fl.take(got)
		case <-fl.gate.changed:
		case <-fl.ripe:
		case r := <-fl.sent:
			fl.conclude(ctx, r)
		case <-fl.dog.barked:
			return fl.stalled()
		case <-fl.link.hold:
			fl.link.release()
		case <-fl.now:
			fl.link.tryNow()
		case _, more := <-wake:
			fl.wake()
			if !more {
				wake = nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// end waits for the goroutines, acks what was still accepted unless the cursor
// is broken, and leaves a last word for those who watch.
func (fl *flow) end(err error) error {
	fl.part()
	if err == nil || errors.Is(err, ErrStalled) {
		err = errors.Join(err, fl.settle())
	}
	fl.book.cutOff(time.Now())
	fl.stats.State, fl.stats.InFlight = Idle, 0
	if err != nil {
		fl.stats.State, fl.stats.LastError, fl.stats.Cause = Down, err.Error(), err
	}
	fl.progress.set(fl.stats)
	return err
}

// launch starts every delivery that may start now. Each start can change what
// may be acked (a block set aside), and each ack what may start.
func (fl *flow) launch(ctx context.Context) error {
	for {
		if err := fl.settle(); err != nil {
			return err
		}
		d := fl.next()
		if d == nil {
			return nil
		}
		fl.start(ctx, d)
	}
}

// settle acks what is done.
func (fl *flow) settle() error {
	rest := fl.queue[:0]
	var err error
	for _, d := range fl.queue {
		if d.state != done || err != nil {
			rest = append(rest, d)
			continue
		}
		if err = fl.cursor.Ack(d.lane(), d.first(), d.last()); err != nil {
			err = fmt.Errorf("ack %s %d to %d: %w", d.lane(), d.first(), d.last(), err)
		}
	}
	clear(fl.queue[len(rest):])
	fl.queue = rest
	return err
}

// next returns the delivery that may start now, or nil: an alarm if there is one,
// otherwise in the cursor's order. While the link is down
// that is a single probe, and only when its time has come.
func (fl *flow) next() *delivery {
	fl.ripe = nil
	if fl.link.held() || fl.link.down && fl.probing() {
		return nil
	}
	var first *delivery
	least := forEver
	for _, d := range fl.queue {
		if !fl.mayTravel(d) || !fl.fits(d) || first != nil && !fl.precedes(d, first) {
			continue
		}
		wait := fl.wait(d)
		if wait == 0 {
			first = d
		}
		least = min(least, wait)
	}
	if first == nil && least < forEver {
		fl.ripe = time.After(least)
	}
	return first
}

// precedes reports whether the delivery goes before another one that came earlier:
// an alarm does, unless alarms alone have been sent for long.
func (fl *flow) precedes(d, first *delivery) bool {
	if fl.isPassedBy() {
		return first.isBeside() && !d.isBeside()
	}
	return d.lane() == reading.Alarm && first.lane() != reading.Alarm
}

// mayTravel reports whether the delivery is to be sent, and the gate open for it.
func (fl *flow) mayTravel(d *delivery) bool {
	return (d.state == waiting || d.state == open) && fl.gate.Lanes.Has(d.lane())
}

const instant = 5 * time.Millisecond

// forEver is until something happens.
const forEver = time.Duration(math.MaxInt64)

// wait is how long the delivery had better wait: for its turn, and for blocks to
// join it.
func (fl *flow) wait(d *delivery) time.Duration { return max(fl.turn(d), fl.joining(d)) }

// joining is how long blocks had better be waited for that join the delivery. It is
// Nagle's rule for messages: not at all when what comes just before is not in
// flight, otherwise until it is worth its headers. New readings come just before
// nothing that a backlog has in flight, and while that shares the link they wait
// for no more than a part of a round trip. Alarms do not wait.
func (fl *flow) joining(d *delivery) time.Duration {
	if d.state == waiting {
		return 0
	}
	wait := fl.company(d)
	before := fl.before(d)
	switch {
	case before == nil, fl.size.body(d.bytes) >= fl.size.target()*3/4, d.lane() == reading.Alarm:
	case fl.size.flight > before.weight() && fl.size.trip > 0:
		wait = max(wait, fl.size.trip/4-time.Since(before.begun))
	default:
		wait = forEver
	}
	return wait
}

// turn is how long it takes until the link has room for more of a backlog. What is
// under way on any link needs none, and an instant is not worth a timer.
func (fl *flow) turn(d *delivery) time.Duration {
	wait := time.Until(fl.size.clear)
	little := fl.size.flight == 0 || fl.size.flight+fl.size.body(d.bytes) <= leastWindow
	if d.live || d.lane() == reading.Alarm || little || wait < instant {
		return 0
	}
	return wait
}

// start encodes the delivery if that is still to be done, and sends it.
func (fl *flow) start(ctx context.Context, d *delivery) {
	if l, ok := fl.sink.(Limited); ok && l.Limit() > 0 {
		fl.size.bound(l.Limit())
	}
	if d.body == nil {
		if len(d.blocks) > 1 && d.bytes > fl.size.blocks()*3/2 { // it was gathered for a wider link
			fl.split(d)
			return
		}
		if err := fl.encode(d); err != nil {
			fl.refuse(d, err) // encoding is pure: it would fail again
			return
		}
		fl.size.encoded(d.bytes, d.weight())
		if len(d.body) > fl.size.maxBody && len(d.blocks) > 1 {
			fl.split(d)
			return
		}
	}
	if d.parts != nil && len(d.parts) == 0 { // nothing that the encoding has words for
		fl.stats.AckedReadings += uint64(d.count())
		fl.enter(d, Empty)
		d.finish()
		return
	}
	d.state, d.probe = sending, fl.link.down
	fl.passed += max(d.weight(), 2*fl.size.target()/fl.cfg.Window)
	if !d.isBeside() {
		fl.passed = 0
	}
	d.sample = fl.size.sent(d.weight(), fl.count(sending), time.Now())
	fl.enter(d, UnderWay)
	fl.stats.SentMessages++
	fl.stats.SentBytes += uint64(len(d.body))
	m := fl.message(d)
	ctx, cancel := context.WithTimeout(ctx, fl.cfg.Timeout<<min(d.timeouts, 3))
	d.begun, d.cancel = time.Now(), cancel
	fl.tasks.Go(func() {
		defer cancel()
		r := fl.send(ctx, m)
		r.d = d
		fl.sent <- r
	})
}

func (fl *flow) encode(d *delivery) error {
	body, parts, err := fl.encoder.Encode(make([]byte, 0, d.bytes+1<<10), d.blocks, fl.size.maxBody)
	if err != nil {
		return fmt.Errorf("encode %s %d to %d: %w", d.lane(), d.first(), d.last(), err)
	}
	d.body, d.parts = body, parts
	return nil
}

// key names the delivery.
func (fl *flow) key(d *delivery) Key {
	return Key{Gateway: fl.cfg.Gateway, Epoch: d.epoch(), Lane: d.lane(), First: d.first(), Last: d.last()}
}

func (fl *flow) message(d *delivery) Message {
	return Message{
		Key:         fl.key(d),
		Count:       d.count(),
		ContentType: fl.encoder.ContentType(),
		Body:        d.body,
		Parts:       d.parts,
	}
}

// send runs in a goroutine of its own and touches nothing of the flow.
func (f *Forwarder) send(ctx context.Context, m Message) result {
	begun := time.Now()
	err := f.sink.Send(ctx, m)
	now := time.Now()
	return result{err: err, took: now.Sub(begun), at: now, late: errors.Is(ctx.Err(), context.DeadlineExceeded)}
}

// fetch asks the cursor for more. When the window is full, that is for new
// readings only: they go beside a backlog, and an alarm that comes is first.
func (fl *flow) fetch(ctx context.Context) {
	w := want{lanes: fl.gate.Lanes, live: !fl.hasRoom() || fl.gathered(false) >= fl.size.blocks()}
	room := fl.size.blocks() - fl.gathered(w.live)
	if w.live && (room <= 0 || fl.isSuspicious()) && !fl.has(reading.Alarm) {
		w.lanes &= reading.LanesOf(reading.Alarm)
		room = fl.size.blocks()
	}
	if fl.fetching && w != fl.wanted {
		fl.callOff() // and begin again when it has ended
	}
	if fl.fetching || room <= 0 || w.lanes == 0 || w.live && fl.isSuspicious() && w.lanes != reading.LanesOf(reading.Alarm) {
		return
	}
	next := fl.cursor.Next
	if w.live {
		next = fl.cursor.NextLive
	}
	ctx, cancel := context.WithCancel(ctx)
	fl.fetching, fl.wanted, fl.callOff = true, w, cancel
	fl.tasks.Go(func() {
		defer cancel()
		blocks, err := next(ctx, w.lanes, room)
		fl.fetched <- fetch{blocks, err, ctx.Err() != nil, w.live}
	})
}

// take adds blocks to the open delivery that they go on from. One that has no
// room for them is complete.
func (fl *flow) take(got fetch) {
	for _, b := range got.blocks {
		d := fl.continued(b)
		if d != nil && d.bytes+len(b.Raw) > fl.size.blocks() {
			d.state = waiting
			d = nil
		}
		if d == nil {
			d = &delivery{state: open, opened: time.Now(), live: got.live}
			fl.queue = append(fl.queue, d)
		}
		d.add(b)
	}
}
