package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tidegate/tidegate/internal/backoff"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// Defaults of Config.
const (
	DefaultMaxBatch   = 256 << 10
	DefaultWindow     = 4
	DefaultTimeout    = 30 * time.Second
	DefaultMinBackoff = time.Second
	DefaultMaxBackoff = time.Minute
)

// Config says how a Forwarder sends. Every field but Gateway may be left zero.
type Config struct {
	// Gateway is the name that messages carry.
	Gateway string
	// MaxBatch is the largest message body in bytes, DefaultMaxBatch if zero.
	// Only a single block that is larger by itself exceeds it.
	MaxBatch int
	// Window is how many messages may be in flight, DefaultWindow if zero.
	Window int
	// Timeout bounds one Send, DefaultTimeout if zero. A message that runs out
	// of time gets twice as much on its next try, up to eight times: the link
	// may have become slower since the message was made.
	Timeout time.Duration
	// Backoff paces retries, DefaultMinBackoff to DefaultMaxBackoff if Max is
	// zero.
	Backoff backoff.Backoff
	// Wake receives when the link has come up: the next try is then made at
	// once. Nil never does.
	Wake <-chan struct{}
	// Pace, if not nil, is called before every Send, re-sends included, and
	// waits until the link may be used for so many bytes of that lane. Time in
	// Pace does not count towards Timeout; an error postpones the message as a
	// transient error of the sink would.
	Pace func(ctx context.Context, lane reading.Lane, bytes int) error
}

func (c Config) withDefaults() Config {
	if c.MaxBatch <= 0 {
		c.MaxBatch = DefaultMaxBatch
	}
	if c.Window <= 0 {
		c.Window = DefaultWindow
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Backoff.Max <= 0 {
		c.Backoff.Min, c.Backoff.Max = DefaultMinBackoff, DefaultMaxBackoff
	}
	return c
}

// Forwarder moves the blocks of one cursor to one sink.
type Forwarder struct {
	cfg        Config
	cursor     Cursor
	encoder    Encoder
	sink       Sink
	quarantine Quarantine
	log        *slog.Logger
	progress   progress
}

// New returns a Forwarder. The encoder must be its own: it is used by one
// goroutine at a time, but keeps state. log should carry the sink's name.
func New(cfg Config, cursor Cursor, encoder Encoder, sink Sink, quarantine Quarantine, log *slog.Logger) *Forwarder {
	return &Forwarder{
		cfg:        cfg.withDefaults(),
		cursor:     cursor,
		encoder:    encoder,
		sink:       sink,
		quarantine: quarantine,
		log:        log,
	}
}

// Run forwards until ctx ends, and then returns nil; what was in flight is cut
// off and stays in the buffer. Any other return is an error of the cursor: the
// sink's own errors are retried for ever. A Forwarder runs once, because its
// cursor does not give the same blocks twice.
func (f *Forwarder) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	fl := newFlow(f)
	err := fl.loop(ctx)
	stop()
	return fl.end(err)
}

// Stats returns a snapshot of the progress so far.
func (f *Forwarder) Stats() Stats { return f.progress.snapshot() }

// WaitIdle returns nil when everything that the cursor had is elsewhere, or
// when the link is down and waiting is of no use; otherwise when ctx ends, with
// its cause. It is the grace to give a Forwarder before Run's ctx is ended:
// what does not make it stays in the buffer and is sent after the next start.
func (f *Forwarder) WaitIdle(ctx context.Context) error { return f.progress.waitQuiet(ctx) }

// flow is the state of one Run. Only Run's own goroutine touches it; the
// goroutines that wait for the cursor and for the sink report on channels.
type flow struct {
	*Forwarder
	size  sizer
	link  link
	queue []*delivery // in the order in which the cursor gave their blocks

	fetching bool
	fetched  chan fetch  // buffered, so that no goroutine outlives its reader
	sent     chan result // as well
	tasks    sync.WaitGroup
	refusals int // blocks set aside since the sink last took anything
	stats    Stats
}

type fetch struct {
	blocks []wire.Block
	err    error
}

type result struct {
	d    *delivery
	err  error
	took time.Duration
	late bool // Send ran out of time
}

func newFlow(f *Forwarder) *flow {
	return &flow{
		Forwarder: f,
		size:      newSizer(f.cfg.MaxBatch),
		link:      link{backoff: f.cfg.Backoff},
		fetched:   make(chan fetch, 1),
		sent:      make(chan result, f.cfg.Window),
	}
}

// loop is the whole of it: start what may be sent, fetch if there is room, wait
// for something to happen.
func (fl *flow) loop(ctx context.Context) error {
	wake := fl.cfg.Wake
	for {
		if err := fl.launch(ctx); err != nil {
			return err
		}
		fl.fetch(ctx)
		fl.report()
		select {
		case got := <-fl.fetched:
			fl.fetching = false
			if ctx.Err() != nil {
				return nil
			}
			if got.err != nil {
				return fmt.Errorf("next blocks: %w", got.err)
			}
			fl.take(got.blocks)
		case r := <-fl.sent:
			fl.conclude(ctx, r)
		case <-fl.link.hold:
			fl.link.release()
		case _, open := <-wake:
			fl.link.wake()
			if !open {
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
	fl.tasks.Wait()
	close(fl.sent)
	for r := range fl.sent {
		if r.err == nil {
			fl.accept(r)
		}
	}
	if err == nil {
		err = fl.settle()
	}
	fl.stats.State, fl.stats.InFlight = Idle, 0
	if err != nil {
		fl.stats.State, fl.stats.LastError = Down, err.Error()
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

// settle acks what is done and has nothing undone of its lane before it.
func (fl *flow) settle() error {
	var blocked [reading.Lanes]bool
	rest := fl.queue[:0]
	var err error
	for _, d := range fl.queue {
		if d.state != done || blocked[d.lane()] || err != nil {
			blocked[d.lane()] = true
			rest = append(rest, d)
			continue
		}
		if err = fl.cursor.Ack(d.lane(), d.last()); err != nil {
			err = fmt.Errorf("ack %s up to %d: %w", d.lane(), d.last(), err)
		}
	}
	clear(fl.queue[len(rest):])
	fl.queue = rest
	return err
}

// next returns the delivery that may start now, or nil. While the link is down
// that is a single probe, and only when its time has come.
func (fl *flow) next() *delivery {
	if fl.link.held() || fl.count(sending) >= fl.cfg.Window || fl.link.down && fl.probing() {
		return nil
	}
	for _, d := range fl.queue {
		if d.state == waiting || d.state == open && fl.isWorthSending(d) {
			return d
		}
	}
	return nil
}

// isWorthSending is Nagle's rule for messages: at once when nothing is in
// flight, otherwise not before it is worth its headers. Alarms do not wait.
func (fl *flow) isWorthSending(d *delivery) bool {
	if fl.taken() >= fl.cfg.Window {
		return false
	}
	return fl.count(sending) == 0 || d.bytes >= worthwhile || d.lane() == reading.Alarm
}

// start encodes the delivery if that is still to be done, and sends it.
func (fl *flow) start(ctx context.Context, d *delivery) {
	if d.body == nil {
		if err := fl.encode(d); err != nil {
			fl.refuse(d, err) // encoding is pure: it would fail again
			return
		}
		if len(d.body) > fl.size.maxBody && len(d.blocks) > 1 {
			fl.size.shrink()
			fl.split(d)
			return
		}
	}
	d.state, d.probe = sending, fl.link.down
	fl.stats.SentMessages++
	fl.stats.SentBytes += uint64(len(d.body))
	m, allowed := fl.message(d), fl.cfg.Timeout<<min(d.timeouts, 3)
	fl.tasks.Go(func() {
		r := fl.send(ctx, m, allowed)
		r.d = d
		fl.sent <- r
	})
}

func (fl *flow) encode(d *delivery) error {
	body, err := fl.encoder.Encode(make([]byte, 0, d.bytes+1<<10), d.blocks)
	if err != nil {
		return fmt.Errorf("encode %s %d to %d: %w", d.lane(), d.first(), d.last(), err)
	}
	d.body = body
	return nil
}

func (fl *flow) message(d *delivery) Message {
	return Message{
		Key: Key{
			Gateway: fl.cfg.Gateway,
			Epoch:   d.epoch(),
			Lane:    d.lane(),
			First:   d.first(),
			Last:    d.last(),
		},
		Count:       d.count(),
		ContentType: fl.encoder.ContentType(),
		Body:        d.body,
	}
}

// send runs in a goroutine of its own and touches nothing of the flow.
func (f *Forwarder) send(ctx context.Context, m Message, allowed time.Duration) result {
	if f.cfg.Pace != nil {
		if err := f.cfg.Pace(ctx, m.Lane, len(m.Body)); err != nil {
			return result{err: fmt.Errorf("pace: %w", err)}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, allowed)
	defer cancel()
	begun := time.Now()
	err := f.sink.Send(ctx, m)
	return result{err: err, took: time.Since(begun), late: errors.Is(ctx.Err(), context.DeadlineExceeded)}
}

// fetch asks the cursor for more, unless the window is full: an alarm that
// comes in the meantime is then first when there is room again.
func (fl *flow) fetch(ctx context.Context) {
	room := fl.size.limit - fl.gathered()
	if fl.fetching || room <= 0 || fl.taken() >= fl.cfg.Window {
		return
	}
	fl.fetching = true
	fl.tasks.Go(func() {
		blocks, err := fl.cursor.Next(ctx, room)
		fl.fetched <- fetch{blocks, err}
	})
}

// take adds blocks to the open delivery of their lane. One that a block cannot
// join is complete.
func (fl *flow) take(blocks []wire.Block) {
	for _, b := range blocks {
		d := fl.opened(b.Lane)
		if d != nil && !d.canJoin(b, fl.size.limit) {
			d.state = waiting
			d = nil
		}
		if d == nil {
			d = &delivery{state: open}
			fl.queue = append(fl.queue, d)
		}
		d.add(b)
	}
}

// conclude notes how a Send ended. An error after ctx has ended says nothing
// about the sink.
func (fl *flow) conclude(ctx context.Context, r result) {
	switch {
	case r.err == nil:
		fl.accept(r)
	case ctx.Err() != nil:
	case IsPermanent(r.err):
		fl.refuse(r.d, r.err)
	default:
		if r.late {
			r.d.timeouts++
		}
		r.d.state = waiting
		fl.stats.Retries++
		fl.fail(r.err)
	}
}

func (fl *flow) accept(r result) {
	fl.size.learn(r.d.bytes, len(r.d.body), r.took)
	r.d.state, r.d.body = done, nil
	fl.refusals = 0
	fl.stats.LastAck = time.Now()
	fl.stats.AckedReadings += uint64(r.d.count())
	if r.d.probe && fl.link.down {
		fl.log.Info("link is up again", "after", fl.link.up().Round(time.Millisecond))
		fl.stats.LastError = ""
	}
}

// refuse deals with bytes that the sink will never take: it bisects, and sets
// aside the single block that remains. A sink that refuses one block after the
// other and takes nothing in between is out of order more likely than the
// blocks are, so from the second one on each costs a backoff.
func (fl *flow) refuse(d *delivery, cause error) {
	if len(d.blocks) > 1 {
		if IsTooLarge(cause) {
			fl.size.lower(len(d.body) / 2)
		}
		fl.split(d)
		return
	}
	if err := fl.quarantine.Quarantine(d.blocks[0], cause.Error()); err != nil {
		d.state = waiting
		fl.fail(fmt.Errorf("quarantine %s %d to %d: %w", d.lane(), d.first(), d.last(), err))
		return
	}
	fl.log.Error("block refused and set aside", "lane", d.lane(), "seq", d.first(), "n", d.count(), "err", cause)
	d.state, d.body = done, nil
	fl.stats.Quarantined += uint64(d.count())
	fl.refusals++
	if fl.refusals > 1 {
		fl.fail(cause)
	}
}

func (fl *flow) fail(err error) {
	if !fl.link.down {
		fl.log.Warn("link is down; readings wait in the buffer", "err", err)
	}
	fl.link.fail(err)
	fl.stats.LastError = err.Error()
}

func (fl *flow) report() {
	s := fl.stats
	s.InFlight = fl.count(sending)
	switch {
	case fl.link.down:
		s.State = Down
	case fl.fetching && len(fl.queue) == 0:
		s.State = Idle
	default:
		s.State = Up
	}
	fl.progress.set(s)
}
