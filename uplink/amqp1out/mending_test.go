package amqp1out

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate/tidegate/uplink"
)

// A message that is too large ends the session for all that are under way. That is
// held against it alone: whoever else were told "too large" would be cut small for
// good. The size that is named tells who it was; without one it is the largest.
func TestOnlyTheGuiltyIsTooLarge(t *testing.T) {
	for name, say := range map[string]func(*peerConn, arrived){
		"named": func(c *peerConn, a arrived) {
			c.endSession(a, "amqp:precondition-failed", "PRECONDITION_FAILED - message size 5000 is larger than configured max size 4500")
		},
		"named wrong": func(c *peerConn, a arrived) {
			c.endSession(a, "amqp:precondition-failed", "PRECONDITION_FAILED - message size 5100 is larger than configured max size 5050")
		},
		"unnamed":    func(c *peerConn, a arrived) { c.endSession(a, "amqp:link:message-size-exceeded", "") },
		"a detach":   func(c *peerConn, a arrived) { c.detach(a, "amqp:link:message-size-exceeded") },
		"its own no": func(c *peerConn, a arrived) { c.reject(a, "amqp:link:message-size-exceeded") },
	} {
		t.Run(name, func(t *testing.T) {
			var came atomic.Int32
			all := make(chan arrived, 3)
			p := newPeer(t, func(c *peerConn, a arrived) {
				if len(a.body) == 4000 {
					say(c, a)
					return
				}
				all <- a
				if came.Add(1) < 3 {
					return
				}
				for range 3 {
					if a := <-all; len(a.body) == 5000 {
						say(c, a)
					}
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
			expect := func(size int, want string) {
				t.Helper()
				if err := <-results[size]; classOf(err) != want || strings.Count(fmt.Sprint(err), "hint: ") != 1 {
					t.Errorf("%d bytes: %s, want %s: %v", size, classOf(err), want, err)
				}
			}
			expect(5000, "too large")
			if name == "its own no" { // the library may lose an answer that the end comes right behind
				p.hangUp()
			}
			expect(10, "transient")
			expect(4500, "transient")
			m := message(4, 1) // what is refused alone is guilty, whatever was before
			m.Parts, m.Body = nil, make([]byte, 4000)
			if err := sink.Send(within(t, patience), m); classOf(err) != "too large" {
				t.Errorf("alone: %v", err)
			}
		})
	}
}

func TestMessageOfNoPartsIsNotSent(t *testing.T) {
	p := newPeer(t, func(c *peerConn, a arrived) { t.Error("it was sent"); c.accept(a) })
	if err := newSink(t, p.address, nil).Send(within(t, patience), uplink.Message{Parts: []uplink.Part{}}); err != nil {
		t.Error(err)
	}
}

// A queue that is asked for in vain leaves nothing behind on a connection that lives on.
func TestSessionThatAsksInVainIsEnded(t *testing.T) {
	p := newPeer(t, (*peerConn).accept)
	p.product, p.version = "RabbitMQ", "3.10.8"
	p.mute = map[string]bool{"from /amq/queue/telemetry": true}
	sink := newSink(t, p.address, nil)
	for n := range 3 {
		ctx, cancel := context.WithCancel(within(t, patience))
		sent := make(chan error, 1)
		go func() { sent <- sink.Send(ctx, message(uint64(n), 1)) }()
		<-p.ignored
		cancel()
		if err := <-sent; classOf(err) != "transient" {
			t.Errorf("%v", err)
		}
	}
	for range 3 {
		select {
		case <-p.endings:
		case <-time.After(patience):
			t.Fatal("a session goes on")
		}
	}
	if p.dialled() != 1 {
		t.Errorf("%d connections", p.dialled())
	}
}

// Names may be long, and places for them are short: a message-id has 128 characters
// at Azure. RabbitMQ 3 takes 256 and gives them to nobody afterwards: who reads the
// queue with AMQP 0-9-1 is cut off at that message, again and again.
func TestLongNamesFindTheirPlaceOrAreRefused(t *testing.T) {
	var mu sync.Mutex
	got := map[uint32]arrived{}
	p := newPeer(t, func(c *peerConn, a arrived) {
		mu.Lock()
		defer mu.Unlock()
		got[a.delivery] = a
		c.accept(a)
	})
	p.product, p.version = "RabbitMQ", "4.0.0"
	m := message(1, 2)
	m.Parts[0].Device = strings.Repeat("d", 300)
	m.Parts[0].Last = 2 // not alone: its key needs the device
	for _, bare := range []bool{true, false} {
		if err := newSink(t, p.address, func(c *Config) { c.Bare = bare }).Send(within(t, patience), m); err != nil {
			t.Fatal(err)
		}
		if key := m.PartKey(m.Parts[0]); got[0].id != "" || got[0].key != key {
			t.Errorf("a key of %d bytes arrived as %q, property %q", len(key), got[0].id, got[0].key)
		}
		if got[1].id != m.PartKey(m.Parts[1]) || got[1].key != "" {
			t.Errorf("the short one as %q, property %q", got[1].id, got[1].key)
		}
		clear(got)
	}
	bySubject := func(c *Config) { c.Subject = template(t, "{device}") }
	if err := newSink(t, p.address, bySubject).Send(within(t, patience), m); classOf(err) != "permanent" || !strings.Contains(err.Error(), "hint: ") || len(got) != 0 {
		t.Errorf("a routing key of 300 bytes: %v, %d messages", err, len(got))
	}
	p.product = "Artemis"
	if err := newSink(t, p.address, bySubject).Send(within(t, patience), m); err != nil || got[0].subject != m.Parts[0].Device {
		t.Errorf("what is no routing key: %v", err)
	}
}

// A name that is no text is in nobody's way.
func TestNameThatIsNoTextIsSent(t *testing.T) {
	subjects := make(chan string, 1)
	p := newPeer(t, func(c *peerConn, a arrived) { subjects <- a.subject; c.accept(a) })
	sink := newSink(t, p.address, func(c *Config) { c.Subject = template(t, "{device}") })
	m := message(1, 1)
	m.Parts[0].Device = "boiler\xff"
	if err := sink.Send(within(t, patience), m); err != nil {
		t.Fatal(err)
	}
	if got := <-subjects; got != "boiler\uFFFD" {
		t.Errorf("%q", got)
	}
}

// That a queue was there for the message before says nothing of this one.
func TestQueueIsAskedForAgain(t *testing.T) {
	p := newPeer(t, (*peerConn).accept)
	p.product, p.version = "RabbitMQ", "3.10.8"
	sink := newSink(t, p.address, func(c *Config) { c.Target = template(t, "/amq/queue/q") })
	if err := sink.Send(within(t, patience), message(1, 1)); err != nil {
		t.Fatal(err)
	}
	p.gone.Store(true)
	if err := sink.Send(within(t, patience), message(2, 1)); classOf(err) != "1m0s" {
		t.Errorf("accepted without a queue: %v", err)
	}
}
