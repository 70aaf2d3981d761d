package natsout

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/natsline"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// errSilent is what a request without an answer ends with.
var errSilent = errors.New("no answer")

// farewell is how long a link that is left waits for the answers under way.
const farewell = time.Second

// link is a connection that is logged in, with a subscription for the answers. One
// goroutine reads, another one keeps it alive, and whoever sends writes.
type link struct {
	*natsline.Session
	cfg     *Config
	payload *atomic.Int64 // see Sink
	inbox   string        // what the subjects of answers begin with
	pinged  chan struct{} // one place: the server waits for a PONG
	gone    chan struct{} // closed when the link is of no use any more
	leaving atomic.Bool   // the server will close it soon
	tasks   sync.WaitGroup

	// turn has one place: whoever holds it may write, and use what follows.
	turn          chan struct{}
	out           *bufio.Writer
	headers, line []byte // room to write in

	mu     sync.Mutex
	err    error             // why it is gone
	last   uint64            // the number of the last publish
	due    map[uint64]answer // by number
	flying map[*flight]struct{}
}

// answer is one that is waited for, by a flight or by whoever has asked.
type answer struct {
	flight  *flight
	asked   chan<- reply // one place
	subject string
	size    int // of the piece, in bytes
}

// reply is what a server answers to a request.
type reply struct {
	status string // see natsline.Event
	body   []byte
	err    error
}

// flight is a Send that waits for its answers.
type flight struct {
	numbers []uint64
	missing int
	err     error         // the worst so far
	done    chan struct{} // closed when err is final
}

// Alive reports whether nothing has broken the link, and nothing will soon.
func (l *link) Alive() bool {
	select {
	case <-l.gone:
		return false
	default:
		return !l.leaving.Load() && l.Wire.Fault() == nil
	}
}

// Close releases the link, and returns when everything of it has ended. NATS has no
// goodbye. A server that closes down may give the answers that are missing before.
func (l *link) Close() error {
	if l.leaving.Load() {
		l.linger()
	}
	l.fail(onelink.ErrClosed)
	l.tasks.Wait()
	return nil
}

// linger waits for what is under way, as long as a farewell may take.
func (l *link) linger() {
	l.mu.Lock()
	flying := make([]*flight, 0, len(l.flying))
	for f := range l.flying {
		flying = append(flying, f)
	}
	l.mu.Unlock()
	patience := time.NewTimer(farewell)
	defer patience.Stop()
	for _, f := range flying {
		select {
		case <-f.done:
		case <-patience.C:
			return
		}
	}
}

// send publishes the message's pieces in one go, and waits for all answers.
func (l *link) send(ctx context.Context, m uplink.Message) error {
	heard := l.Wire.Heard()
	f := &flight{done: make(chan struct{})}
	if err := l.publish(ctx, f, m); err != nil {
		l.forget(f)
		return err
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
	}
	l.forget(f)
	if l.Wire.Heard() == heard { // half-open: nobody is there
		err := fmt.Errorf("no answer: %w — hint: the link is slow or dead, or the server hangs", ctx.Err())
		l.fail(err)
		return err
	}
	return fmt.Errorf("no answer: %w — hint: the server is alive; the link is slow, or the stream has no_ack", ctx.Err())
}

// publish hands all pieces to the network. A network that does not take them until
// ctx ends is cut off: half a message makes it useless.
func (l *link) publish(ctx context.Context, f *flight, m uplink.Message) error {
	if err := l.takeTurn(ctx); err != nil {
		return err
	}
	defer func() { <-l.turn }()
	pieces := m.Pieces()
	if err := l.depart(f, m, pieces); err != nil {
		return err
	}
	defer l.impatient(ctx)()
	var tooLarge error
	for i, p := range pieces {
		if tooLarge = l.write(m, p, f.numbers[i]); tooLarge != nil {
			break
		}
	}
	if err := l.out.Flush(); err != nil { // of any write before
		return l.broken(err)
	}
	return tooLarge
}

// broken ends the link because it could not be written to. A server that has closed
// it may have said why, which the listener comes to soon.
func (l *link) broken(err error) error {
	select {
	case <-l.gone:
	case <-time.After(farewell):
		l.fail(l.lost(err))
	}
	return l.err
}

func (l *link) takeTurn(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		if ctx.Err() == nil {
			return nil
		}
		<-l.turn
	case <-l.gone:
		return l.err
	case <-ctx.Done():
	}
	return fmt.Errorf("not sent: %w — hint: the link is slow or dead", ctx.Err())
}

// impatient ends the link if ctx ends before what it returns is called, which
// returns after that, or the next Send would find the link alive.
func (l *link) impatient(ctx context.Context) (release func()) {
	cut := func() {
		l.fail(fmt.Errorf("not sent: %w — hint: the link is slow or dead, or the server does not read", ctx.Err()))
	}
	stop := context.AfterFunc(ctx, cut)
	return func() {
		if !stop() {
			cut()
		}
	}
}

// write hands over a piece, unless it is larger than the server takes. What the
// network says to it is said to Flush as well.
func (l *link) write(m uplink.Message, p uplink.Part, number uint64) error {
	key := m.PartKey(p)
	h := append(l.headers[:0], "NATS/1.0\r\n"...)
	h = appendHeader(h, idHeader, key)
	h = appendHeader(h, KeyHeader, key)
	h = appendHeader(h, typeHeader, m.ContentType)
	if l.cfg.Stream != "" {
		h = appendHeader(h, streamHeader, l.cfg.Stream)
	}
	h = append(h, "\r\n"...)
	l.headers = h
	if most := l.payload.Load(); most > 0 && int64(len(h)+len(p.Body)) > most {
		return judge(errors.New(saysMaxPayload), len(p.Body))
	}
	l.line = appendPublish(l.line[:0], l.subject(m, p), l.inbox, number, h, len(p.Body))
	l.out.Write(l.line)
	l.out.Write(p.Body)
	l.out.WriteString("\r\n")
	return nil
}

// request asks, and waits for the answer.
func (l *link) request(ctx context.Context, subject string, body []byte) (reply, error) {
	if err := l.takeTurn(ctx); err != nil {
		return reply{}, err
	}
	answered := make(chan reply, 1)
	l.mu.Lock()
	l.last++
	number := l.last
	l.due[number] = answer{asked: answered, subject: subject}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.due, number)
	}()
	release := l.impatient(ctx)
	_, err := l.Wire.Write(appendRequest(nil, subject, l.inbox, number, body))
	release()
	<-l.turn
	if err != nil {
		return reply{}, l.broken(err)
	}
	select {
	case r := <-answered:
		return r, r.err
	case <-l.gone:
		return reply{}, l.err
	case <-ctx.Done():
		return reply{}, errSilent
	}
}

// depart registers the answers to come. Subjects are made twice, which is cheaper
// than keeping a list of them.
func (l *link) depart(f *flight, m uplink.Message, pieces []uplink.Part) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	f.missing = len(pieces)
	f.numbers = make([]uint64, 0, len(pieces))
	for _, p := range pieces {
		subject := l.subject(m, p)
		if len(subject) > maxSubject {
			return uplink.Permanent(fmt.Errorf("a subject of %d bytes — hint: a server takes %d; use a shorter template, or shorter names", len(subject), maxSubject))
		}
		l.last++
		f.numbers = append(f.numbers, l.last)
		l.due[l.last] = answer{flight: f, subject: subject, size: len(p.Body)}
	}
	l.flying[f] = struct{}{}
	if f.missing == 0 {
		l.finish(f)
	}
	return nil
}

func (l *link) subject(m uplink.Message, p uplink.Part) string {
	return l.cfg.Subject.Expand(m, p, Escape)
}

// forget ends the waiting of a flight.
func (l *link) forget(f *flight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.flying[f]; ok {
		l.finish(f)
		return
	}
	for _, n := range f.numbers { // it never took off
		delete(l.due, n)
	}
}

func (l *link) finish(f *flight) {
	for _, n := range f.numbers {
		delete(l.due, n)
	}
	delete(l.flying, f)
	close(f.done)
}

// settle notes what has become of a piece.
func (l *link) settle(a answer, err error) {
	f := a.flight
	f.err = uplink.Worse(f.err, err)
	if f.missing--; f.missing == 0 || uplink.IsPermanent(f.err) {
		l.finish(f)
	}
}

// fail ends the link, and all flights with it. The first reason stays.
func (l *link) fail(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.err = why
	close(l.gone)
	l.Wire.Close()
	for f := range l.flying {
		f.err = uplink.Worse(f.err, why)
		l.finish(f)
	}
}
