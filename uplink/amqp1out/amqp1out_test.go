package amqp1out

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

func TestMain(m *testing.M) { servertest.Main(m, rabbit) }

const patience = 30 * time.Second

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// message is one of n parts, each a reading of a device of its own.
func message(first uint64, n int) uplink.Message {
	m := uplink.Message{
		Key:         uplink.Key{Gateway: "north-7", Epoch: 0x4d2, Lane: reading.Normal, First: first, Last: first + uint64(n) - 1},
		Count:       n,
		ContentType: "application/json",
	}
	for i := range n {
		seq := first + uint64(i)
		body := fmt.Appendf(nil, `{"seq":%d}`, seq)
		m.Body = append(m.Body, body...)
		m.Parts = append(m.Parts, uplink.Part{
			Body: body, First: seq, Last: seq, Count: 1,
			Device: fmt.Sprintf("north/pump-%d", i%7), Metric: "motor.current", Time: int64(seq) * 1e9,
		})
	}
	return m
}

// All parts are on their way before the first one has its outcome, and one that is
// not in custody is all that it takes; the worst one counts.
func TestPartsArePipelinedAndCountTogether(t *testing.T) {
	const n = 1000
	for name, last := range map[string]func(*peerConn, arrived){
		"accepted":  (*peerConn).accept,
		"transient": (*peerConn).release,
		"permanent": func(c *peerConn, a arrived) { c.reject(a, "amqp:decode-error") },
		"10s":       func(c *peerConn, a arrived) { c.reject(a, "amqp:resource-limit-exceeded") },
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			got := map[string]arrived{}
			p := newPeer(t, func(c *peerConn, a arrived) {
				mu.Lock()
				defer mu.Unlock()
				got[a.id] = a
				if len(got) < n {
					return
				}
				for _, earlier := range got {
					if earlier.delivery == n/2 {
						last(c, earlier)
					} else {
						c.accept(earlier)
					}
				}
			})
			p.product = "RabbitMQ"
			p.version = "4.0.0"
			sink := newSink(t, p.address, func(c *Config) {
				c.Target, c.Subject = template(t, "/exchanges/telemetry-{lane}"), template(t, "{gateway}.{device}.{metric}")
			})
			m := message(1, n)
			if err := sink.Send(within(t, patience), m); classOf(err) != name {
				t.Errorf("%v, want %s", err, name)
			}
			for i, part := range m.Parts {
				g := got[m.PartKey(part)]
				want := fmt.Sprintf("north-7.north.pump-%d.motor/current", i%7)
				if string(g.body) != string(part.Body) || g.subject != want || !g.durable || g.contentType != m.ContentType || g.applications != 3 {
					t.Fatalf("part %d arrived as %+v", i, g)
				}
			}
		})
	}
}

func TestTheWorstOutcomeCounts(t *testing.T) {
	p := newPeer(t, func(c *peerConn, a arrived) {
		switch a.delivery {
		case 0:
			c.release(a)
		case 1:
			c.reject(a, "amqp:decode-error")
		case 2:
			c.reject(a, "amqp:resource-limit-exceeded")
		default:
			c.accept(a)
		}
	})
	if err := newSink(t, p.address, nil).Send(within(t, patience), message(1, 5)); classOf(err) != "permanent" {
		t.Error(err)
	}
}

// What ends a link is no reason to log in again; what ends the session is.
func TestConnectionIsKeptWhileItWorks(t *testing.T) {
	answers := []func(*peerConn, arrived){
		(*peerConn).release, (*peerConn).accept,
		func(c *peerConn, a arrived) { c.endSession(a, "amqp:unauthorized-access", "ACCESS_REFUSED") },
		(*peerConn).accept,
		func(c *peerConn, a arrived) {
			c.endSession(a, "amqp:precondition-failed", "PRECONDITION_FAILED - message size 2000 is larger than configured max size 1000")
		},
		(*peerConn).accept,
		func(c *peerConn, _ arrived) { c.closeConnection("amqp:connection:forced") },
		(*peerConn).accept,
		func(c *peerConn, _ arrived) { c.Close() },
		(*peerConn).accept,
	}
	classes := []string{"transient", "accepted", "1m0s", "accepted", "too large", "accepted", "transient", "accepted", "transient", "accepted"}
	dials := []int{1, 1, 1, 2, 2, 3, 3, 4, 4, 5}
	var next atomic.Int32
	p := newPeer(t, func(c *peerConn, a arrived) { answers[next.Add(1)-1](c, a) })
	sink := newSink(t, p.address, nil)
	for i, want := range classes {
		err := sink.Send(within(t, patience), message(1, 1))
		if got := classOf(err); got != want || err != nil && !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("answer %d: %s, want %s: %v", i, got, want, err)
		}
		if p.dialled() != dials[i] {
			t.Errorf("answer %d: %d connections, want %d", i, p.dialled(), dials[i])
		}
	}
	if sink.Limit() != 1000 {
		t.Errorf("the limit is %d, want what the server said", sink.Limit())
	}
}

// Azure closes links that are idle. The next message goes over a new one.
func TestIdleLinkThatWasClosedCostsNothing(t *testing.T) {
	conns := make(chan func(), 100)
	p := newPeer(t, func(c *peerConn, a arrived) {
		conns <- func() { c.detach(a, "amqp:link:detach-forced") }
		c.accept(a)
	})
	sink := newSink(t, p.address, nil)
	if err := sink.Send(within(t, patience), message(1, 1)); err != nil {
		t.Fatal(err)
	}
	(<-conns)()
	<-p.detached // the client has heard it
	if err := sink.Send(within(t, patience), message(2, 1)); err != nil || p.dialled() != 1 {
		t.Errorf("%v, %d connections", err, p.dialled())
	}
}

func TestWithoutCreditTheConnectionIsKept(t *testing.T) {
	p := newPeer(t, (*peerConn).accept)
	p.credit = 3
	sink := newSink(t, p.address, nil)
	for n, want := range []string{"accepted", "accepted", "accepted", "10s", "10s"} {
		enough := patience
		if want != "accepted" { // credit is waited for as long as that
			enough = 200 * time.Millisecond
		}
		err := sink.Send(within(t, enough), message(uint64(n), 1))
		for errors.Is(err, context.DeadlineExceeded) && enough < patience { // it was not even asked for
			enough *= 2
			err = sink.Send(within(t, enough), message(uint64(n), 1))
		}
		if got := classOf(err); got != want {
			t.Errorf("message %d: %s, want %s: %v", n, got, want, err)
		}
	}
	if p.dialled() != 1 {
		t.Errorf("%d connections", p.dialled())
	}
}

func TestLimitIsThatOfTheLink(t *testing.T) {
	p := newPeer(t, (*peerConn).accept)
	p.limit = 10_000
	sink := newSink(t, p.address, nil)
	if sink.Limit() != 0 {
		t.Error("a limit before the first connection")
	}
	about, err := sink.Probe(within(t, patience))
	if err != nil || sink.Limit() != 10_000-envelope || !strings.Contains(about, "peer 1, address telemetry, messages up to 8976 bytes") {
		t.Errorf("%s, %v, limit %d", about, err, sink.Limit())
	}
	big := message(1, 1)
	big.Parts, big.Body = nil, make([]byte, 10_000)
	if err := sink.Send(within(t, patience), big); classOf(err) != "too large" {
		t.Error(err)
	}
	big.Body = big.Body[:sink.Limit()]
	if err := sink.Send(within(t, patience), big); err != nil {
		t.Errorf("what Limit allows: %v", err)
	}
}

func TestAttachesThatFail(t *testing.T) {
	p := newPeer(t, (*peerConn).accept)
	p.refuse = map[string]string{"to telemetry": "amqp:not-found"}
	sink := newSink(t, p.address, nil)
	if err := sink.Send(within(t, patience), message(1, 1)); classOf(err) != "1m0s" || !strings.Contains(err.Error(), "correct it") {
		t.Error(err)
	}
	if _, err := sink.Probe(within(t, patience)); err == nil {
		t.Error("Probe found nothing wrong")
	}
}

// RabbitMQ before 4.0 accepts what it throws away. It is asked afterwards, and once
// for many messages.
func TestAcceptedByAnOldRabbitMQIsNotCustodyWithoutAQueue(t *testing.T) {
	p := newPeer(t, (*peerConn).accept)
	p.product, p.version = "RabbitMQ", "3.10.8"
	p.refuse = map[string]string{"from /amq/queue/gone": "amqp:not-found", "from /amq/queue/private": "amqp:unauthorized-access"}
	for target, want := range map[string]string{
		"/amq/queue/here": "accepted", "/amq/queue/private": "accepted", "/amq/queue/gone": "1m0s",
		"/queue/gone": "1m0s", "gone": "1m0s", "/exchange/x/key": "1m0s",
	} {
		sink := newSink(t, p.address, func(c *Config) { c.Target = template(t, target) })
		if err := sink.Send(within(t, patience), message(1, 1)); classOf(err) != want {
			t.Errorf("%s: %v, want %s", target, err, want)
		}
		if err := sink.Send(within(t, patience), message(2, 1)); classOf(err) != want {
			t.Errorf("%s, again: %v, want %s", target, err, want)
		}
	}
	trusting := newSink(t, p.address, func(c *Config) { c.Target, c.TrustRouting = template(t, "/exchange/x/key"), true })
	if err := trusting.Send(within(t, patience), message(1, 1)); err != nil {
		t.Error(err)
	}
	busy := newSink(t, p.address, func(c *Config) { c.Target = template(t, "/amq/queue/here") })
	var tasks sync.WaitGroup
	for n := range 50 {
		tasks.Go(func() {
			if err := busy.Send(within(t, patience), message(uint64(n), 1)); err != nil {
				t.Error(err)
			}
		})
	}
	tasks.Wait()
	l, err := busy.seat.Get(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := l.lookout.asked.Load(); n < 1 || n > 50 {
		t.Errorf("asked %d times for 50 messages", n)
	}
}

// An idle connection that is dead is found by its silence, not by the first
// message that has to wait for its timeout.
func TestDeadIdleConnectionIsFoundByItsSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := makePeer("peer:5672", (*peerConn).accept) // never says anything unasked
		sink := newSink(t, p.address, func(c *Config) { c.Dial = p.pipe })
		if err := sink.Send(within(t, patience), message(1, 1)); err != nil {
			t.Fatal(err)
		}
		l, err := sink.seat.Get(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		<-l.conn.Done()
		if took := time.Since(begun); took > DefaultIdle {
			t.Errorf("it took %v", took)
		}
		if err := sink.Send(within(t, patience), message(2, 1)); err != nil || p.dialled() != 2 {
			t.Errorf("afterwards: %v, %d connections", err, p.dialled())
		}
	})
}

func TestManyTargetsBeginAnew(t *testing.T) {
	p := newPeer(t, (*peerConn).accept)
	sink := newSink(t, p.address, func(c *Config) { c.Target = template(t, "{epoch}") })
	for n := range 3*maxSenders + 1 {
		m := message(1, 1)
		m.Epoch = uint64(n)
		if err := sink.Send(within(t, patience), m); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.dialled(); n < 3 || n > 5 {
		t.Errorf("%d connections for %d targets", n, 3*maxSenders+1)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	good := Config{Address: "broker:5672", Target: template(t, "telemetry/{lane}")}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no port":                 func(c *Config) { c.Address = "broker" },
		"certificate without TLS": func(c *Config) { c.External = true },
		"no target":               func(c *Config) { c.Target = uplink.Template{} },
		"target by device":        func(c *Config) { c.Target = template(t, "{device}") },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
