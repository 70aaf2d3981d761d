package natsout

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// link is a connection that is logged in, with a subscription for the answers.
type link struct {
	cfg  *Config
	wire *onelink.Conn
	nc   *nats.Conn
	// turn has one place: whoever holds it publishes. It stands in front of the
	// library's own lock, which cannot be waited for with a context.
	turn  chan struct{}
	inbox string
	gone  chan struct{} // closed when the link is of no use any more
	shut  chan struct{} // closed when the library has ended

	mu     sync.Mutex
	err    error             // why it is gone
	last   uint64            // the number of the last publish
	due    map[uint64]answer // by number
	flying map[*flight]struct{}
}

// answer is one that is waited for.
type answer struct {
	flight  *flight
	subject string
	size    int // of the piece, in bytes
}

// flight is a Send that waits for its answers.
type flight struct {
	numbers []uint64
	missing int
	err     error         // the worst so far
	done    chan struct{} // closed when err is final
}

// Alive reports whether nothing has broken the link.
func (l *link) Alive() bool {
	select {
	case <-l.gone:
		return false
	default:
		return l.wire.Fault() == nil
	}
}

// Close releases the link, and returns when the library has ended. NATS has no
// goodbye.
func (l *link) Close() error {
	l.fail(onelink.ErrClosed)
	l.nc.Close()
	<-l.shut
	return nil
}

// send publishes the message's pieces in one go, and waits for all answers.
func (l *link) send(ctx context.Context, m uplink.Message) error {
	heard := l.wire.Heard()
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
	if l.wire.Heard() == heard { // half-open: nobody is there
		err := fmt.Errorf("no answer: %w — hint: the link is slow or dead, or the server hangs", ctx.Err())
		l.fail(err)
		return err
	}
	return fmt.Errorf("no answer: %w — hint: the server is alive; the link is slow, or the stream has no_ack", ctx.Err())
}

// publish hands all pieces to the network. A network that does not take them until
// ctx ends is cut off: half a message makes it useless.
func (l *link) publish(ctx context.Context, f *flight, m uplink.Message) error {
	select {
	case l.turn <- struct{}{}:
	case <-l.gone:
		return l.err
	case <-ctx.Done():
		return unsent(ctx)
	}
	defer func() { <-l.turn }()
	pieces := m.Pieces()
	if err := l.depart(f, m, pieces); err != nil {
		return err
	}
	release := context.AfterFunc(ctx, func() { l.fail(unsent(ctx)) })
	defer release()
	for i, p := range pieces {
		msg := l.message(m, p, f.numbers[i])
		if err := l.nc.PublishMsg(msg); err != nil {
			return l.refused(err, len(p.Body))
		}
	}
	return nil
}

func unsent(ctx context.Context) error {
	return fmt.Errorf("not sent: %w — hint: the link is slow or dead", ctx.Err())
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
		l.due[l.last] = answer{f, subject, len(p.Body)}
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

func (l *link) message(m uplink.Message, p uplink.Part, number uint64) *nats.Msg {
	key := m.PartKey(p)
	h := nats.Header{idHeader: {key}, KeyHeader: {key}, typeHeader: {m.ContentType}}
	if l.cfg.Stream != "" {
		h[streamHeader] = []string{l.cfg.Stream}
	}
	return &nats.Msg{
		Subject: l.subject(m, p),
		Reply:   l.inbox + strconv.FormatUint(number, 36),
		Header:  h,
		Data:    p.Body,
	}
}

// refused judges an error of the library's PublishMsg.
func (l *link) refused(err error, size int) error {
	select {
	case <-l.gone:
		return l.err
	default:
	}
	if fault := l.wire.Fault(); fault != nil {
		return fmt.Errorf("connection lost: %w", fault)
	}
	return judge(err, size)
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

// hear takes an answer. The library calls it for one after the other.
func (l *link) hear(msg *nats.Msg) {
	n, err := strconv.ParseUint(strings.TrimPrefix(msg.Subject, l.inbox), 36, 64)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.due[n]
	if !ok {
		return // nobody waits for it any more
	}
	delete(l.due, n)
	l.settle(a, judgeAnswer(msg.Header.Get("Status"), msg.Data, a, l.cfg.Stream))
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
	l.wire.Close()
	for f := range l.flying {
		f.err = uplink.Worse(f.err, why)
		l.finish(f)
	}
}

var forbidden = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to "([^"]*)"`)

// complain takes what the server says unasked. That publishing to a subject is not
// allowed is said in this way only: there is no answer.
func (l *link) complain(err error) {
	found := forbidden.FindStringSubmatch(err.Error())
	if found == nil {
		l.fail(l.lost(err))
		return
	}
	if strings.EqualFold(found[1], "subscription") {
		l.fail(judge(err, 0))
		return
	}
	judged := judge(err, 0)
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, a := range l.due {
		if a.subject == found[2] {
			delete(l.due, n)
			l.settle(a, judged)
		}
	}
}
