package mqttout

import (
	"bufio"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/internal/netfault"
)

// gather is how many bytes of small packets go out in one system call. A larger
// payload is written by itself, without being copied.
const gather = 16 << 10

// linger is how long a link that has said goodbye waits for the server to hang
// up.
const linger = time.Second

// write writes what is queued, and asks for signs of life, until the link has
// failed or said goodbye.
func (l *link) write() {
	w := bufio.NewWriterSize(l.conn, gather)
	watch := watch{keepAlive: l.keepAlive, idleClose: l.idleClose, wrote: time.Now()}
	timer := time.NewTimer(watch.next(l.signs()))
	defer timer.Stop()
	for {
		select {
		case <-l.dead:
			return
		case <-l.queued:
			last, err := l.flush(w)
			if err != nil {
				l.falter(netfault.Explain(fmt.Errorf("%w: %w", errClosed, err)))
				return
			}
			if last { // the reader ends the link
				l.conn.SetReadDeadline(time.Now().Add(linger))
				return
			}
			watch.wrote = time.Now()
		case <-timer.C:
			l.tend(&watch)
		}
		timer.Reset(watch.next(l.signs()))
	}
}

// falter is for a link on which nothing can be written any more. A server that hangs
// up because of what is written may have said why, and the reader has not come to
// that: it ends the link.
func (l *link) falter(err error) {
	l.mu.Lock()
	l.retired, l.broken = true, err
	l.mu.Unlock()
	l.conn.SetReadDeadline(time.Now().Add(linger))
}

// flush writes the queue. Publications with QoS 0 end here.
func (l *link) flush(w *bufio.Writer) (last bool, err error) {
	l.mu.Lock()
	queue := l.queue
	l.queue = nil
	l.mu.Unlock()
	for _, o := range queue {
		w.Write(o.head) // its error is Flush's
		w.Write(o.payload)
		last = last || o.last
	}
	err = w.Flush()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range queue {
		if o.batch != nil {
			<-l.slots
			o.batch.end(err)
		}
	}
	return last, err
}

// signs are what a link's life is judged by.
type signs struct {
	heard time.Time // when the server last was
	idle  time.Time // since when nothing is under way; zero if something is
}

func (l *link) signs() signs {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := signs{heard: l.heard}
	if len(l.slots) == 0 {
		s.idle = l.worked
	}
	return s
}

// watch is when a link must say something, or has been silent for too long. A
// server that is gone is noticed within one and a half times keepAlive after it
// was last heard, when nothing is under way. While something is, its sender
// knows how long he wants to wait: a large message takes its time on a slow
// link, and its acknowledgement comes behind it.
type watch struct {
	keepAlive, idleClose time.Duration
	wrote                time.Time // when something last was
	asked                time.Time // when PINGREQ was, and not answered yet; else zero
}

// far is a time that nobody waits for.
const far = 24 * time.Hour

// next is how long nothing has to be done.
func (w *watch) next(s signs) time.Duration {
	w.hear(s)
	wait := far
	if w.keepAlive > 0 {
		wait = min(wait, time.Until(w.due(s)))
		if !w.asked.IsZero() {
			wait = min(wait, max(time.Until(w.asked.Add(w.keepAlive/2)), w.keepAlive/8))
		}
	}
	if w.idleClose > 0 {
		left := w.idleClose // nobody says when what is under way has ended, so it is looked again
		if !s.idle.IsZero() {
			left = time.Until(s.idle.Add(w.idleClose))
		}
		wait = min(wait, left)
	}
	return max(wait, time.Millisecond)
}

// hear takes anything for an answer.
func (w *watch) hear(s signs) {
	if !s.heard.Before(w.asked) {
		w.asked = time.Time{}
	}
}

// due is when the next PINGREQ is: MQTT wants something to be sent in time, and
// we want to hear something in time.
func (w *watch) due(s signs) time.Time {
	if w.asked.IsZero() && s.heard.Before(w.wrote) {
		return s.heard.Add(w.keepAlive)
	}
	return w.wrote.Add(w.keepAlive)
}

// tend does what is due.
func (l *link) tend(w *watch) {
	s, now := l.signs(), time.Now()
	w.hear(s)
	switch {
	case w.idleClose > 0 && !s.idle.IsZero() && now.Sub(s.idle) >= w.idleClose:
		l.retire(l.goodbye, false)
	case w.keepAlive == 0:
	case !w.asked.IsZero() && now.Sub(w.asked) >= w.keepAlive/2 && !s.idle.IsZero():
		l.fail(errSilent)
	case !now.Before(w.due(s)):
		if w.asked.IsZero() {
			w.asked = now
		}
		l.mu.Lock()
		l.push(outgoing{head: appendPingreq(nil)})
		l.mu.Unlock()
	}
}
