package wsout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
)

var (
	errClosed = errors.New("the uplink is closed")
	// errUnheard marks a connection that broke, and nothing was heard on it since
	// the message went out.
	errUnheard = errors.New("the connection was cut")
	// errMute marks one that is dead although it looks alive: the next would be, too.
	errMute = errors.New("no pong")
	// errBroken says that the connection ended while a message was being written.
	errBroken = errors.New("the connection has ended")
)

// line is one connection, and the messages on it that wait for an answer. It
// ends with the first error; whoever wants to go on needs another one.
type line struct {
	ws     *websocket.Conn
	conn   *meter
	times  times
	ping   time.Duration
	server string // what the other side calls itself
	learn  func(limit int)

	writing chan struct{} // held by whoever writes; guards the next two
	frame   []byte
	kind    string // media type of the message before

	mu      sync.Mutex
	waiting []*waiter
	unsent  error         // what a write said that failed
	err     error         // why it has ended; never held against a message
	ended   chan struct{} // closed then
	changed chan struct{} // tells watch that patience has
	tasks   sync.WaitGroup
}

// waiter is a message without an answer.
type waiter struct {
	key    uplink.Key
	size   int        // of the body, in bytes
	answer chan error // takes one
}

func newLine(s *Sink, ws *websocket.Conn, conn *meter) *line {
	l := &line{
		ws: ws, conn: conn, times: s.times, ping: s.cfg.Ping, learn: s.learn,
		writing: make(chan struct{}, 1), ended: make(chan struct{}), changed: make(chan struct{}, 1),
	}
	l.tasks.Go(l.listen)
	l.tasks.Go(l.watch)
	return l
}

func (s *Sink) learn(limit int) { s.limit.Store(int64(limit)) }

func (l *line) works() bool {
	select {
	case <-l.ended:
		return false
	default:
		return true
	}
}

// deliver sends the message and waits for its answer.
func (l *line) deliver(ctx context.Context, m uplink.Message) error {
	begun := l.conn.now()
	err := l.exchange(ctx, m)
	if err != nil && ctx.Err() == nil && !errors.Is(err, errMute) && !l.works() && l.conn.heard.Load() < begun {
		return fmt.Errorf("%w: %w", errUnheard, err)
	}
	return err
}

func (l *line) exchange(ctx context.Context, m uplink.Message) error {
	w := &waiter{m.Key, len(m.Body), make(chan error, 1)}
	if err := l.expect(w); err != nil {
		return err
	}
	defer l.forget(w)
	switch err := l.write(ctx, m); {
	case errors.Is(err, errBroken):
		return <-w.answer // whoever ends the connection answers all
	case err != nil:
		return err
	}
	written := l.conn.now()
	select {
	case err := <-w.answer:
		return err
	case <-ctx.Done():
	}
	err := outOfTime(ctx, "no answer to "+m.Key.String())
	if l.conn.heard.Load() < written {
		l.fail(err) // half open, most likely: the next message gets a new connection
	}
	return err
}

// expect notes that an answer is due. It comes before the message is written, so
// that no answer is too early.
func (l *line) expect(w *waiter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.waiting = append(l.waiting, w)
	l.tellWatch()
	return nil
}

func (l *line) tellWatch() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func (l *line) forget(w *waiter) { l.take(func(other *waiter) bool { return other == w }) }

// take removes the waiters that match and returns them.
func (l *line) take(match func(*waiter) bool) (taken []*waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.waiting[:0]
	for _, w := range l.waiting {
		if match(w) {
			taken = append(taken, w)
		} else {
			left = append(left, w)
		}
	}
	clear(l.waiting[len(left):])
	l.waiting = left
	if len(left) == 0 {
		l.tellWatch()
	}
	return taken
}

// write sends the message as one frame. Head and body are joined in a buffer of
// the connection's own: a frame more would cost more on a dear link.
func (l *line) write(ctx context.Context, m uplink.Message) error {
	select {
	case l.writing <- struct{}{}:
		defer func() { <-l.writing }()
	case <-l.ended:
		return errBroken
	case <-ctx.Done():
	}
	if ctx.Err() != nil { // before a byte is written: the connection is as good as before
		return outOfTime(ctx, "other messages are on their way")
	}
	l.frame = l.frame[:0]
	if m.ContentType != l.kind {
		l.frame = append(l.frame, m.ContentType...)
	}
	l.frame = append(append(l.frame, ' '), m.Key.String()...)
	l.frame = append(append(l.frame, '\n'), m.Body...)
	l.kind = m.ContentType
	cut := func() { l.fail(netfault.Explain(outOfTime(ctx, "the message is not on its way yet"))) }
	release := context.AfterFunc(ctx, cut) // the library's own may come after its Write
	err := l.ws.Write(context.Background(), websocket.MessageBinary, l.frame)
	if cap(l.frame) > keptFrame {
		l.frame = nil
	}
	switch {
	case !release(): // a frame that is not whole leaves the connection useless
		cut() // now, or the next Send would find it alive
	case err == nil:
		return nil
	default:
		l.giveUp(fmt.Errorf("write: %w", cause(err)))
	}
	return errBroken
}

// giveUp ends the connection after a write that failed. Often that is because the
// other side has closed it, and has said why: listen knows.
func (l *line) giveUp(err error) {
	l.mu.Lock()
	l.unsent = err
	l.mu.Unlock()
	l.conn.Close()
	<-l.ended
}

// keptFrame is the largest buffer in bytes that is kept for the next message.
const keptFrame = 1 << 20

// broken returns why the connection has ended.
func (l *line) broken() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// fail ends the connection: those who wait are told why. A refusal that does not
// say of which message it speaks is believed only where there is no choice; the
// Forwarder then tries them one by one.
func (l *line) fail(err error) {
	innocent := err
	if uplink.IsPermanent(err) {
		innocent = errors.New(err.Error())
	}
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = innocent
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	if len(waiting) > 1 {
		err = innocent
	}
	close(l.ended) // before anybody is told, who would send the next message over it
	for _, w := range waiting {
		w.answer <- err
	}
	l.conn.Close()
}

// listen takes answers until the connection ends.
func (l *line) listen() {
	for {
		kind, message, err := l.ws.Read(context.Background())
		if err != nil {
			l.fail(l.ending(err))
			break
		}
		if err := l.hear(kind, message); err != nil {
			l.fail(err)
			break
		}
	}
	l.ws.CloseNow()
}

// ending says why nothing more can be read.
func (l *line) ending(err error) error {
	l.mu.Lock()
	unsent := l.unsent
	l.mu.Unlock()
	if c := (websocket.CloseError{}); unsent == nil || errors.As(err, &c) {
		return closed(err)
	}
	return netfault.Explain(unsent)
}

// hear gives an answer to those whom it concerns. An error says that it was none.
func (l *line) hear(kind websocket.MessageType, message []byte) error {
	a, err := parseAnswer(kind, message)
	if err != nil {
		return err
	}
	if a.limit > 0 {
		l.learn(a.limit)
	}
	for _, w := range l.take(a.concerns) {
		w.answer <- a.err
	}
	return nil
}

// end closes the connection without a word and returns when nothing is left of it.
func (l *line) end() {
	l.fail(errClosed)
	l.tasks.Wait()
}

// leave says goodbye first, as far as anybody listens.
func (l *line) leave() {
	if l.works() {
		cut := time.AfterFunc(l.times.farewell, func() { l.conn.Close() })
		l.ws.Close(websocket.StatusNormalClosure, "")
		cut.Stop()
	}
	l.end()
}
