package amqpout

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/uplink"
)

// A message that is too large ends the channel for all that are under way. That is
// held against it alone: whoever else were told "too large" would be cut small for
// good. The size that is named tells who it was; without one it is the largest.
func TestOnlyTheGuiltyIsTooLarge(t *testing.T) {
	for name, say := range map[string]func(*peerConn){
		"named":       func(c *peerConn) { c.closeChannel(406, "message size 5000 is larger than max size 4500") },
		"unnamed":     func(c *peerConn) { c.closeChannel(311, "CONTENT_TOO_LARGE") },
		"named wrong": func(c *peerConn) { c.closeChannel(406, "message size 5100 is larger than max size 5050") },
	} {
		t.Run(name, func(t *testing.T) {
			var came atomic.Int32
			p := newPeer(t, func(c *peerConn, _ published) {
				if came.Add(1) == 3 {
					say(c)
				}
			})
			sink := newSink(t, p.address, nil)
			results := make(map[int]chan error)
			for n, size := range map[int]int{1: 10, 2: 5000, 3: 4500} {
				m := message(uint64(n), 1)
				m.Parts, m.Body = nil, make([]byte, size)
				end := make(chan error, 1)
				results[size] = end
				go func() { end <- sink.Send(within(t, patience), m) }()
			}
			for size, want := range map[int]string{10: "transient", 4500: "transient", 5000: "too large"} {
				err := <-results[size]
				if classOf(err) != want || strings.Count(fmt.Sprint(err), "hint: ") != 1 {
					t.Errorf("%d bytes: %s, want %s: %v", size, classOf(err), want, err)
				}
			}
			if n := sink.Limit(); n > 0 != strings.HasPrefix(name, "named") {
				t.Errorf("the limit is %d", n)
			}
		})
	}
}

// Returns that have come count, however the goroutine that hears them is scheduled: all
// of them are dealt with before anybody is told that he may look.
func TestReturnsAreHeededBeforeAnybodyLooks(t *testing.T) {
	for range 20 {
		l := &link{heed: make(chan chan struct{}, 1), gone: make(chan struct{}), raised: make(chan struct{}), flying: make(map[string]*departure)}
		returns := make(chan amqp.Return, 100)
		d := &departure{}
		for n := range cap(returns) {
			returns <- amqp.Return{ReplyCode: noRoute, MessageId: strconv.Itoa(n)}
		}
		l.flying[strconv.Itoa(cap(returns)-1)] = d
		noted := make(chan struct{})
		l.heed <- noted
		close(returns)
		go l.listen(returns, make(chan amqp.Blocking), make(chan *amqp.Error))
		<-noted
		l.mu.Lock()
		if d.returned == nil {
			t.Error("the last return is not heeded")
		}
		l.mu.Unlock()
	}
}

// A key that is too long for a message-id tells a return as well.
func TestReturnOfALongNameIsNotCustody(t *testing.T) {
	p := newPeer(t, func(c *peerConn, p published) { c.giveBack(p); c.ack(p) })
	m := message(1, 1)
	m.Parts[0].Device, m.Parts[0].Last = strings.Repeat("d", 300), 2
	if err := newSink(t, p.address, nil).Send(within(t, patience), m); classOf(err) != "1m0s" {
		t.Errorf("%v", err)
	}
}

// Whoever waits for a confirm when the alarm comes does not wait for the end of it.
func TestAlarmEndsTheWaiting(t *testing.T) {
	p := newPeer(t, func(c *peerConn, _ published) { c.block("low on memory") })
	begun := time.Now()
	err := newSink(t, p.address, nil).Send(within(t, patience), message(1, 1))
	if delay, _ := uplink.RetryDelay(err); delay != alarmDelay || time.Since(begun) > patience/2 {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
}

// A server that confirms and hangs up has confirmed, or not; nobody waits to learn it.
func TestConfirmBeforeTheEndHoldsNobody(t *testing.T) {
	p := newPeer(t, func(c *peerConn, p published) {
		c.write(frame(1, 1, join(two(60), two(80), tag(p.tag), []byte{0})), frame(1, 0, join(two(10), two(50), two(320), short("CONNECTION_FORCED"), two(0), two(0))))
	})
	sink := newSink(t, p.address, nil)
	begun := time.Now()
	for n := range uint64(50) {
		if err := sink.Send(within(t, patience), message(n, 1)); err != nil && classOf(err) != "transient" {
			t.Error(err)
		}
	}
	if took := time.Since(begun); took > patience {
		t.Errorf("it took %v", took)
	}
}

func TestMessageOfNoPartsIsNotSent(t *testing.T) {
	p := newPeer(t, func(c *peerConn, p published) { t.Error("it was sent"); c.ack(p) })
	if err := newSink(t, p.address, nil).Send(within(t, patience), uplink.Message{Parts: []uplink.Part{}}); err != nil {
		t.Error(err)
	}
}

// inBubble is a Sink whose peer is on the other end of a pipe, for tests that take
// their time in a bubble.
func inBubble(t *testing.T, p *peer, change func(*Config)) *Sink {
	p.logins = "PLAIN"
	return newSink(t, "peer:5672", func(c *Config) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			p.mu.Lock()
			p.dials++
			p.mu.Unlock()
			c := &peerConn{Conn: far, in: bufio.NewReader(far)}
			p.tasks.Go(func() { p.serve(c) })
			p.tasks.Go(func() { c.beat(20 * time.Second) })
			return near, nil
		}
		if change != nil {
			change(c)
		}
	})
}

// beat sends heartbeats, until the connection is closed.
func (c *peerConn) beat(every time.Duration) {
	for {
		time.Sleep(every)
		c.mu.Lock()
		_, err := c.Write(frame(8, 0, nil))
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// RabbitMQ does not read on during an alarm, so it never hears a goodbye. It shows
// life all the same, and Close does not wait for its answer any longer for that.
func TestCloseDoesNotWaitForAServerThatDoesNotListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{t: t, answer: (*peerConn).ack}
		p.instead = map[method]func(*peerConn){{10, 50}: func(c *peerConn) {
			p.tasks.Go(func() { c.beat(100 * time.Millisecond) })
		}}
		sink := inBubble(t, p, nil)
		if err := sink.Send(within(t, patience), message(1, 1)); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		sink.Close()
		if took := time.Since(begun); took > 2*farewell {
			t.Errorf("it took %v", took)
		}
		p.tasks.Wait()
	})
}

// A queue that has lost its majority confirms nothing, while others do. What is never
// confirmed is kept by the library, and with it everything that is confirmed
// afterwards: a connection does not live on with it for long.
func TestConfirmThatNeverComesEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{t: t, answer: func(c *peerConn, p published) {
			if !strings.HasSuffix(p.id, "666") {
				c.ack(p)
			}
		}}
		sink := inBubble(t, p, nil)
		send := func(n uint64, want string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := sink.Send(ctx, message(n, 1)); classOf(err) != want || err != nil && !strings.Contains(err.Error(), "hint: ") {
				t.Errorf("message %d: %v", n, err)
			}
		}
		send(1, "accepted")
		done := make(chan struct{})
		go func() { send(666, "transient"); close(done) }()
		for n := range uint64(5) { // so that something is heard meanwhile
			time.Sleep(5 * time.Second)
			send(n, "accepted")
		}
		<-done
		if p.dialled() != 1 {
			t.Errorf("%d connections, although the server is alive", p.dialled())
		}
		time.Sleep(unconfirmed)
		send(10, "accepted")
		if p.dialled() != 2 {
			t.Errorf("%d connections, want a new one", p.dialled())
		}
		sink.Close()
		p.tasks.Wait()
	})
}

// What is confirmed late is no reason for a new connection.
func TestLateConfirmKeepsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{t: t}
		p.answer = func(c *peerConn, p published) {
			if strings.HasSuffix(p.id, "-7") {
				time.Sleep(40 * time.Second)
			}
			c.ack(p)
		}
		sink := inBubble(t, p, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- sink.Send(ctx, message(7, 1)) }()
		time.Sleep(time.Second)
		if err := sink.Send(ctx, message(1, 1)); err != nil {
			t.Error(err)
		}
		if err := <-done; err == nil {
			t.Error("confirmed in 40 s, and taken for it after 30")
		}
		time.Sleep(2 * unconfirmed)
		if err := sink.Send(within(t, patience), message(2, 1)); err != nil || p.dialled() != 1 {
			t.Errorf("%v, %d connections", err, p.dialled())
		}
		sink.Close()
		p.tasks.Wait()
	})
}

// Names that do not fit are found when the configuration is read, if they are there.
func TestConstantNamesAreNotTooLong(t *testing.T) {
	long := template(t, strings.Repeat("x", maxShort+1))
	for name, cfg := range map[string]Config{
		"exchange":    {Exchange: long},
		"routing key": {RoutingKey: long},
		"queue":       {Exchange: template(t, "x"), Declare: DeclareQueue, Queue: long.String()},
	} {
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
