//go:build !nokafka

package kafkaout

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/internal/kafka"
)

const (
	// maxFlying is how many Produce requests a connection may have without an
	// answer: brokers know the last five batches of a producer in a partition.
	maxFlying = 5
	// maxAnswer bounds an answer, in bytes. The longest is the list of a topic's
	// partitions. readAtOnce is how much room is made for one before it comes.
	maxAnswer  = 4 << 20
	readAtOnce = 64 << 10
	// keptFrame is the largest request whose memory is kept for the next one.
	keptFrame = 1 << 20
)

// link is a connection to a broker. One goroutine writes and another one reads;
// answers come in the order of the requests.
type link struct {
	raw      net.Conn
	address  string
	client   string
	made     time.Time
	versions kafka.Versions // set before anybody else has the link
	expires  time.Time      // when the login is too old; zero for never

	stir  chan struct{} // one place: the writer should look
	gone  chan struct{} // closed when the link is of no use any more
	tasks sync.WaitGroup

	mu       sync.Mutex
	err      error     // why it is gone
	queue    []*call   // to be written
	flying   []*call   // to be answered, in this order
	produces int       // of those
	until    time.Time // the broker wants to be left alone until then
	number   int32     // of the last request
	heard    uint64    // answers
	used     bool      // one of them was about more than versions
}

// call is a request and its answer.
type call struct {
	key     kafka.Key
	version int16
	// body appends the body. It is called once, in the order in which calls are
	// written; its error keeps the call from being written.
	body func(dst []byte) ([]byte, error)
	// landed, if not nil, is told what has come of it, whether anybody waits or
	// not. It may change err.
	landed func(*call)

	number int32
	heard  uint64 // what the link had heard at the start
	answer []byte
	err    error
	done   chan struct{} // closed when answer and err are final
}

// lostError says that the connection has ended before the answer.
type lostError struct{ error }

func (e *lostError) Unwrap() error { return e.error }

// givenUpError says that the answer was not waited for to the end.
type givenUpError struct{ error }

func (e *givenUpError) Unwrap() error { return e.error }

func newLink(raw net.Conn, address, client string) *link {
	l := &link{raw: raw, address: address, client: client, made: time.Now(), stir: make(chan struct{}, 1), gone: make(chan struct{})}
	l.tasks.Go(l.write)
	l.tasks.Go(l.read)
	return l
}

// Alive reports whether the link may be used: a login that is too old ends it as
// soon as nobody waits for an answer.
func (l *link) Alive() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	resting := len(l.queue) == 0 && len(l.flying) == 0
	return l.err == nil && (l.expires.IsZero() || !resting || time.Now().Before(l.expires))
}

// Close ends the link, and returns when its goroutines have ended.
func (l *link) Close() error {
	l.fail(&lostError{errRetired})
	l.tasks.Wait()
	return nil
}

// resting says that nobody waits for an answer.
func (l *link) resting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) == 0 && len(l.flying) == 0
}

// ask sends a request and waits for its answer.
func (l *link) ask(ctx context.Context, key kafka.Key, version int16, body func([]byte) []byte) ([]byte, error) {
	k := l.start(&call{key: key, version: version, body: func(dst []byte) ([]byte, error) { return body(dst), nil }})
	return l.wait(ctx, k)
}

// start queues a call.
func (l *link) start(k *call) *call {
	k.done = make(chan struct{})
	l.mu.Lock()
	err := l.err
	if err == nil {
		k.heard = l.heard
		l.queue = append(l.queue, k)
	}
	l.mu.Unlock()
	if err != nil {
		l.finish(k, nil, err)
	}
	l.look()
	return k
}

// wait returns the answer of a call that was started. At the end of ctx it is
// given up: a call that was not written is taken back, and one that was keeps its
// place, so that what comes behind it can still be understood. A broker that owes
// an answer and was not heard of since the start may never be heard of again, and
// is dropped, with all that is on its way there.
func (l *link) wait(ctx context.Context, k *call) ([]byte, error) {
	select {
	case <-k.done:
		return k.answer, k.err
	case <-ctx.Done():
	}
	if l.giveUp(k) {
		l.fail(&lostError{fmt.Errorf("broker %s: nothing was heard of it in time", l.address)})
	}
	return nil, &givenUpError{context.Cause(ctx)}
}

// giveUp takes a call back that nobody waits for any more, if that is possible. It
// says whether the link is of no use any more.
func (l *link) giveUp(k *call) (useless bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.queue, k)
	silent := l.heard == k.heard
	if i < 0 {
		return silent
	}
	l.queue = slices.Delete(l.queue, i, i+1)
	return silent && len(l.flying) > 0 && time.Until(l.until) <= 0
}

// look makes the writer look.
func (l *link) look() {
	select {
	case l.stir <- struct{}{}:
	default:
	}
}

// pause leaves the broker alone for a while, as it has asked.
func (l *link) pause(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = time.Now().Add(min(d, maxThrottle))
}

// paused returns for how long the broker is left alone.
func (l *link) paused() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.until)
}

// maxThrottle is the longest delay that a broker is granted.
const maxThrottle = time.Minute

// finish ends a call. Nobody holds the lock.
func (l *link) finish(k *call, answer []byte, err error) {
	k.answer, k.err = answer, err
	if k.landed != nil {
		k.landed(k)
	}
	k.body, k.landed = nil, nil
	close(k.done)
}

// fail ends the link and all calls. The first reason counts.
func (l *link) fail(why error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = why
	close(l.gone)
	ended := append(l.flying, l.queue...)
	l.flying, l.queue = nil, nil
	l.mu.Unlock()
	l.raw.Close()
	for _, k := range ended {
		l.finish(k, nil, why)
	}
}

// write writes calls until the link is gone.
func (l *link) write() {
	var frame []byte
	delay := time.NewTimer(0)
	defer delay.Stop()
	for {
		k, pause := l.next()
		if k == nil {
			if pause > 0 {
				delay.Reset(pause)
			}
			select {
			case <-l.stir:
			case <-delay.C:
			case <-l.gone:
				return
			}
			continue
		}
		var err error
		frame = kafka.AppendHeader(frame[:0], k.key, k.version, k.number, l.client)
		if frame, err = k.body(frame); err != nil {
			l.finish(k, nil, err)
			continue
		}
		kafka.Finish(frame)
		if !l.depart(k) {
			return
		}
		if _, err := l.raw.Write(frame); err != nil {
			l.fail(l.lost(err))
			return
		}
		if cap(frame) > keptFrame {
			frame = nil
		}
	}
}

// next takes the first call off the queue that may be written now. If there is
// none because the broker wants a pause, it returns for how long.
func (l *link) next() (k *call, pause time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil, 0
	}
	if pause := time.Until(l.until); pause > 0 {
		return nil, pause
	}
	for i, k := range l.queue {
		if k.key == kafka.Produce && l.produces >= maxFlying {
			continue
		}
		l.queue = slices.Delete(l.queue, i, i+1)
		l.number++
		k.number = l.number
		return k, 0
	}
	return nil, 0
}

// depart notes that the call is about to be written, unless the link is gone.
func (l *link) depart(k *call) bool {
	l.mu.Lock()
	err := l.err
	if err == nil {
		l.flying = append(l.flying, k)
		if k.key == kafka.Produce {
			l.produces++
		}
	}
	l.mu.Unlock()
	if err != nil {
		l.finish(k, nil, err)
	}
	return err == nil
}

// read hears the broker until the link is gone.
func (l *link) read() {
	for {
		frame, err := readFrame(l.raw)
		if err != nil {
			l.fail(l.lost(err))
			return
		}
		k := l.arrive(int32(binary.BigEndian.Uint32(frame)))
		if k == nil {
			l.fail(l.lost(kafka.ErrAnswer))
			return
		}
		l.finish(k, frame[4:], nil)
		l.look()
	}
}

// arrive returns the call that an answer with this number is for, nil if it is
// for none.
func (l *link) arrive(number int32) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.flying) == 0 || l.flying[0].number != number {
		return nil
	}
	k := l.flying[0]
	l.flying[0] = nil
	l.flying = l.flying[1:]
	if k.key == kafka.Produce {
		l.produces--
	}
	l.heard++
	l.used = l.used || k.key != kafka.APIVersions
	return k
}

// readFrame reads an answer with its number. Its memory grows with what comes, so
// that a length alone costs nothing.
func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 4 || size > maxAnswer {
		return nil, kafka.ErrAnswer
	}
	var frame []byte
	for len(frame) < int(size) {
		n := min(int(size)-len(frame), max(readAtOnce, len(frame)))
		frame = slices.Grow(frame, n)[:len(frame)+n]
		if _, err := io.ReadFull(r, frame[len(frame)-n:]); err != nil {
			return nil, err
		}
	}
	return frame, nil
}

// lost says why the connection has ended.
func (l *link) lost(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.used && hungUp(err) {
		err = errNoWord
	}
	return &lostError{fmt.Errorf("broker %s: %w", l.address, err)}
}

// hungUp says that the other side has closed the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
