package amqpout

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
				results[size] = make(chan error, 1)
				go func() { results[size] <- sink.Send(within(t, patience), m) }()
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
