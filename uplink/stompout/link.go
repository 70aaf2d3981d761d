package stompout

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// errTakenBack is the end of a flight that nobody waits for any more.
var errTakenBack = errors.New("taken back")

// Bounds of a link.
const (
	farewell = time.Second // how long a polite close may take
	// maxPatience is how long a message may be without its receipts while the
	// server is alive. Then the link is made anew and the message sent again.
	maxPatience = 10 * time.Minute
)

// link is a connection that is logged in. One goroutine writes and another one
// reads, so that a server that takes nothing for a while (producer flow control)
// holds up neither of its callers for longer than they want to wait, and a
// message that is half written is not lost with the patience of its sender.
type link struct {
	cfg    *Config
	wire   *onelink.Conn
	server string
	beat   time.Duration // how long the writer may be silent; 0: for ever

	stir    chan struct{} // one place: there is something to write
	leaving chan struct{} // closed by Close
	gone    chan struct{} // closed when the link is of no use any more
	written chan struct{} // closed when the writer has ended
	tasks   sync.WaitGroup
	leave   sync.Once

	mu       sync.Mutex
	err      error     // why it is gone
	queue    []*flight // to be written
	flying   map[*flight]struct{}
	receipts map[uint64]*flight // those that are missing
	last     uint64             // the number of the last receipt asked for
	left     leftovers
}

// flight is a message under way.
type flight struct {
	message  uplink.Message // let go of when it is written
	first    uint64         // the receipt of its first piece
	count    int            // of its pieces
	largest  int            // of its pieces, in bytes
	departed time.Time
	begun    bool          // some of it has been written
	missing  int           // receipts
	err      error         // the worst so far
	done     chan struct{} // closed when err is final
}

func newLink(cfg *Config, wire *onelink.Conn, in *bufio.Reader, hello greeting) *link {
	l := &link{
		cfg: cfg, wire: wire, server: hello.server, beat: hello.beat,
		stir: make(chan struct{}, 1), leaving: make(chan struct{}), gone: make(chan struct{}), written: make(chan struct{}),
		flying: make(map[*flight]struct{}), receipts: make(map[uint64]*flight), left: newLeftovers(),
	}
	l.tasks.Go(func() { l.read(in) })
	l.tasks.Go(func() {
		defer close(l.written)
		l.write()
	})
	return l
}

// Alive reports whether nothing has broken the link.
func (l *link) Alive() bool {
	select {
	case <-l.gone:
		return false
	default:
		return true
	}
}

// Close says goodbye, if that is possible soon, and returns when everything of
// the link has ended.
func (l *link) Close() error {
	l.leave.Do(func() { close(l.leaving) })
	patience := time.NewTimer(farewell)
	defer patience.Stop()
	select {
	case <-l.written:
	case <-patience.C:
	}
	l.fail(onelink.ErrClosed)
	l.tasks.Wait()
	return nil
}

// send has the message's pieces written and waits for all receipts. A message
// that is still under way from a try before is not written again: its receipts
// are waited for.
func (l *link) send(ctx context.Context, m uplink.Message) error {
	heard := l.wire.Heard()
	f, err := l.depart(m)
	if err != nil {
		return err
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return l.giveUp(ctx, f, m, heard)
	}
}

// depart queues the message, unless it is under way.
func (l *link) depart(m uplink.Message) (*flight, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	if f := l.left.claim(m); f != nil {
		return f, nil
	}
	pieces := m.Pieces()
	f := &flight{message: m, first: l.last + 1, count: len(pieces), missing: len(pieces), departed: time.Now(), done: make(chan struct{})}
	if f.count == 0 {
		close(f.done)
		return f, nil
	}
	for _, p := range pieces {
		l.last++
		l.receipts[l.last] = f
		f.largest = max(f.largest, len(p.Body))
	}
	l.flying[f] = struct{}{}
	l.queue = append(l.queue, f)
	select {
	case l.stir <- struct{}{}:
	default:
	}
	return f, nil
}

// giveUp ends the waiting of a Send. From a server that has said nothing in all
// that time nothing is to be expected: the link is dropped. From one that is alive
// the receipts may still come, and the next Send of the message will wait for
// them.
func (l *link) giveUp(ctx context.Context, f *flight, m uplink.Message, heard int64) error {
	if l.wire.Heard() == heard {
		err := fmt.Errorf("no receipt: %w — hint: the link is slow or dead, or the server hangs", ctx.Err())
		l.fail(err)
		return err
	}
	err := fmt.Errorf("no receipt: %w — hint: the server is alive; it holds producers back for want of memory or disk, or the link is slow", ctx.Err())
	if time.Since(f.departed) > maxPatience {
		l.fail(err)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-f.done: // just now
		return f.err
	default:
	}
	if !f.begun {
		l.unqueue(f)
	} else {
		l.left.keep(m, f)
	}
	return err
}

// unqueue takes a flight back of which nothing was written.
func (l *link) unqueue(f *flight) {
	if i := slices.Index(l.queue, f); i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
	}
	f.err = errTakenBack
	l.finish(f)
}

// finish ends a flight, whoever waits for it.
func (l *link) finish(f *flight) {
	for n := range uint64(f.count) {
		delete(l.receipts, f.first+n)
	}
	delete(l.flying, f)
	close(f.done)
}

// fail ends the link, and all flights with it. The first reason stays.
func (l *link) fail(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failFor(why, nil)
}

// failFor ends the link because of what one of the flights has done; nil stands
// for nobody in particular. What is held against the bytes of that one is not held
// against the others.
func (l *link) failFor(why error, culprit *flight) {
	if l.err != nil {
		return
	}
	l.err = unclassed(why)
	close(l.gone)
	l.wire.Close()
	for f := range l.flying {
		if f == culprit {
			f.err = uplink.Worse(f.err, why)
		} else {
			f.err = uplink.Worse(f.err, l.err)
		}
		l.finish(f)
	}
	l.queue = nil
}

// unclassed is the error of those who share a link with what ended it.
func unclassed(why error) error {
	if uplink.IsPermanent(why) {
		return fmt.Errorf("the connection has ended with another message: %v", why)
	}
	return why
}

// read hears the server until the link is gone.
func (l *link) read(in *bufio.Reader) {
	for {
		f, err := readFrame(in)
		switch {
		case errors.Is(err, errNotSTOMP):
			l.fail(fmt.Errorf("%w — hint: does the other side speak STOMP? Check the port", err))
			return
		case err != nil:
			l.fail(l.lost(err))
			return
		case f.command == receiptCommand:
			l.land(f.get("receipt-id"))
		case f.command == errorCommand:
			l.refuse(f)
		}
	}
}

// lost is why there is no connection any more.
func (l *link) lost(err error) error {
	if fault := l.wire.Fault(); fault != nil {
		err = fault
	}
	return fmt.Errorf("connection lost: %w", err)
}

// land notes a receipt. One that nobody waits for is of no interest.
func (l *link) land(receipt string) {
	n, err := strconv.ParseUint(receipt, 10, 64)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.receipts[n]
	if f == nil || !f.begun {
		return
	}
	delete(l.receipts, n)
	if f.missing--; f.missing == 0 {
		l.finish(f)
	}
}

// refuse deals with an ERROR. With a receipt-id it is about one message, and some
// servers (ActiveMQ) go on; those that do not close the connection. Without, the
// connection is at its end.
func (l *link) refuse(e *frame) {
	why := judge(e)
	n, err := strconv.ParseUint(e.get("receipt-id"), 10, 64)
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.receipts[n]; err == nil && f != nil {
		delete(l.receipts, n)
		f.err = uplink.Worse(f.err, outgrown(why, f.largest))
		if f.missing--; f.missing == 0 || uplink.IsPermanent(f.err) {
			l.finish(f)
		}
		return
	}
	f := l.suspect(why)
	if f != nil {
		why = outgrown(why, f.largest)
	}
	l.failFor(why, f)
}

// suspect returns the flight that an ERROR without a receipt-id is about, nil if
// that is not known. If something is too large, the largest is so in any case.
// Otherwise it is known only of a message that is alone; the Forwarder sends one
// at a time after a failure.
func (l *link) suspect(why error) *flight {
	var found *flight
	begun := 0
	for f := range l.flying {
		if !f.begun {
			continue
		}
		begun++
		if found == nil || f.largest > found.largest {
			found = f
		}
	}
	if begun > 1 && !uplink.IsTooLarge(why) {
		return nil
	}
	return found
}
