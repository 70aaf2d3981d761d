package amqpout

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
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

// A return comes before its confirm, and says that nobody has the message. Many
// senders at once give a race between the two every chance.
func TestReturnedIsNotCustody(t *testing.T) {
	p := newPeer(t, func(c *peerConn, p published) {
		if strings.HasSuffix(p.id, "1") {
			c.giveBack(p)
		}
		c.ack(p)
	})
	sink := newSink(t, p.address, nil)
	var tasks sync.WaitGroup
	for sender := range 4 {
		tasks.Go(func() {
			for i := range 250 {
				n := uint64(sender*1000 + i)
				err := sink.Send(within(t, patience), message(n, 1))
				if want := n%10 == 1; (err != nil) != want {
					t.Errorf("message %d: %v", n, err)
				}
				if delay, _ := uplink.RetryDelay(err); err != nil && delay != uplink.ConfigDelay {
					t.Errorf("message %d: %v", n, err)
				}
			}
		})
	}
	tasks.Wait()
}

// All parts are on their way before the first one is confirmed, and one that is
// not in custody is all that it takes.
func TestPartsArePipelinedAndCountTogether(t *testing.T) {
	const n = 1000
	for name, last := range map[string]func(*peerConn, published){
		"accepted":  (*peerConn).ack,
		"transient": (*peerConn).nack,
		"1m0s":      func(c *peerConn, p published) { c.giveBack(p); c.ack(p) },
		"too large": func(c *peerConn, p published) { c.closeChannel(406, "message size 9 is larger than max size 8") },
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			got := map[string]published{}
			p := newPeer(t, func(c *peerConn, p published) {
				mu.Lock()
				defer mu.Unlock()
				got[p.id] = p
				if len(got) < n {
					return
				}
				for _, earlier := range got {
					if earlier.tag != n/2 {
						c.ack(earlier)
					}
				}
				for _, earlier := range got {
					if earlier.tag == n/2 {
						last(c, earlier)
					}
				}
			})
			sink := newSink(t, p.address, func(c *Config) {
				c.Exchange, c.RoutingKey = template(t, "telemetry-{lane}"), template(t, "{gateway}.{device}.{metric}")
			})
			m := message(1, n)
			if err := sink.Send(within(t, patience), m); classOf(err) != name {
				t.Errorf("%v, want %s", err, name)
			}
			for i, part := range m.Parts {
				g := got[m.PartKey(part)]
				wantKey := fmt.Sprintf("north-7.north.pump-%d.motor/current", i%7)
				if string(g.body) != string(part.Body) || g.exchange != "telemetry-normal" || g.key != wantKey || !g.mandatory || g.deliveryMode != 2 || g.contentType != m.ContentType {
					t.Fatalf("part %d arrived as %+v", i, g)
				}
			}
		})
	}
}

func TestNothingIsSentDuringAnAlarm(t *testing.T) {
	var came atomic.Int32
	conns := make(chan *peerConn, 10)
	p := newPeer(t, func(c *peerConn, p published) {
		if came.Add(1) == 1 {
			c.block("low on disk") // and no confirm: the server does not read on
			conns <- c
			return
		}
		c.ack(p)
	})
	sink := newSink(t, p.address, nil)
	for range 3 {
		err := sink.Send(within(t, patience), message(1, 1))
		if delay, _ := uplink.RetryDelay(err); delay != alarmDelay || !strings.Contains(err.Error(), "low on disk") {
			t.Fatalf("%v", err)
		}
	}
	if n := came.Load(); n != 1 {
		t.Errorf("%d messages were sent during the alarm, want the first only", n)
	}
	(<-conns).unblock()
	for sink.Send(within(t, patience), message(1, 1)) != nil { // until the word is through
		if t.Context().Err() != nil {
			t.Fatal("the alarm does not end")
		}
	}
	if p.dialled() != 1 {
		t.Errorf("%d connections, want the first only", p.dialled())
	}
}

// A nack is no reason to log in again; what closes the channel is.
func TestConnectionIsKeptWhileItWorks(t *testing.T) {
	answers := []func(*peerConn, published){
		(*peerConn).nack, (*peerConn).ack,
		func(c *peerConn, p published) { c.giveBack(p); c.ack(p) },
		func(c *peerConn, _ published) { c.closeChannel(404, "NOT_FOUND - no exchange 'x' in vhost '/'") },
		(*peerConn).ack,
		func(c *peerConn, _ published) { c.closeConnection(320, "CONNECTION_FORCED - shutdown") },
		(*peerConn).ack,
		func(c *peerConn, _ published) { c.Close() },
		(*peerConn).ack,
	}
	classes := []string{"transient", "accepted", "1m0s", "1m0s", "accepted", "transient", "accepted", "transient", "accepted"}
	dials := []int{1, 1, 1, 1, 2, 2, 3, 3, 4}
	var next atomic.Int32
	p := newPeer(t, func(c *peerConn, p published) { answers[next.Add(1)-1](c, p) })
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
}

func TestLoginsThatFail(t *testing.T) {
	for name, c := range map[string]struct {
		at     method
		answer func(*peerConn)
		class  string
		hint   string
	}{
		"WrongPassword": {method{10, 11}, func(c *peerConn) { c.closeConnection(403, "ACCESS_REFUSED - Login was refused") }, "1m0s", "password_file"},
		"CutAtLogin":    {method{10, 11}, func(c *peerConn) { c.Close() }, "transient", "closed the connection"},
		"WrongVhost":    {method{10, 40}, func(c *peerConn) { c.closeConnection(530, "NOT_ALLOWED - vhost nope not found") }, "1m0s", "check vhost"},
		"CutAtOpen":     {method{10, 40}, func(c *peerConn) { c.Close() }, "transient", "closed the connection"},
		"CutAtChannel":  {method{20, 10}, func(c *peerConn) { c.Close() }, "transient", "closed the connection"},
		"NoConfirms":    {method{85, 10}, func(c *peerConn) { c.closeConnection(540, "NOT_IMPLEMENTED") }, "1m0s", "publisher confirms"},
		"Garbage":       {method{10, 11}, func(c *peerConn) { c.write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, "transient", "does not speak AMQP"},
		"Silence":       {method{20, 10}, func(*peerConn) {}, "transient", "hint"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, (func(*peerConn, published))(nil))
			p.instead = map[method]func(*peerConn){c.at: c.answer}
			sink := newSink(t, p.address, nil)
			patience := patience
			if name == "Silence" {
				patience = 100 * time.Millisecond
			}
			err := sink.Send(within(t, patience), message(1, 1))
			if got := classOf(err); got != c.class || !strings.Contains(fmt.Sprint(err), c.hint) {
				t.Errorf("%s, want %s with %q: %v", got, c.class, c.hint, err)
			}
			if _, err := sink.Probe(within(t, patience)); err == nil {
				t.Error("Probe found nothing wrong")
			}
		})
	}
}

func TestLoginThatIsNotOffered(t *testing.T) {
	p := newPeer(t, (*peerConn).ack)
	p.logins = "EXTERNAL RABBIT-CR-DEMO"
	err := newSink(t, p.address, nil).Send(within(t, patience), message(1, 1))
	if classOf(err) != "1m0s" || !strings.Contains(err.Error(), "auth_mechanisms") {
		t.Error(err)
	}
}

// An idle connection that is dead is found by its heartbeat, not by the first
// message that has to wait for its timeout.
func TestDeadIdleConnectionIsFoundByItsHeartbeat(t *testing.T) {
	p := newPeer(t, (*peerConn).ack) // never sends a heartbeat
	sink := newSink(t, p.address, func(c *Config) { c.Heartbeat = 2 * time.Second })
	if err := sink.Send(within(t, patience), message(1, 1)); err != nil {
		t.Fatal(err)
	}
	l, err := sink.seat.Get(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	select {
	case <-l.gone:
	case <-time.After(2 * patience):
		t.Fatal("nobody notices")
	}
	if took := time.Since(begun); took > 12*time.Second { // that of others is a minute; the machine may stand still
		t.Errorf("it took %v, want one and a half heartbeats of 2 s", took)
	}
	if err := sink.Send(within(t, patience), message(2, 1)); err != nil || p.dialled() != 2 {
		t.Errorf("afterwards: %v, %d connections", err, p.dialled())
	}
}

func TestLongNamesFindTheirPlaceOrAreRefused(t *testing.T) {
	var mu sync.Mutex
	got := map[uint64]published{}
	p := newPeer(t, func(c *peerConn, p published) {
		mu.Lock()
		defer mu.Unlock()
		got[p.tag] = p
		c.ack(p)
	})
	m := message(1, 2)
	m.Parts[0].Device = strings.Repeat("d", 300)
	m.Parts[0].Last = 2 // not alone: its key needs the device
	if err := newSink(t, p.address, func(c *Config) { c.Bare = true }).Send(within(t, patience), m); err != nil {
		t.Fatal(err)
	}
	key := m.PartKey(m.Parts[0])
	if len(got) != 2 || got[1].id != "" || !strings.Contains(got[1].headers, KeyHeader+"S\x00\x00\x01") || !strings.Contains(got[1].headers, key) {
		t.Errorf("a key of %d bytes arrived as %q, headers %q", len(key), got[1].id, got[1].headers)
	}
	if got[2].id != m.PartKey(m.Parts[1]) || got[2].headers != "" {
		t.Errorf("the short one as %q, headers %q", got[2].id, got[2].headers)
	}
	err := newSink(t, p.address, func(c *Config) { c.RoutingKey = template(t, "{device}") }).Send(within(t, patience), m)
	if classOf(err) != "permanent" || len(got) != 2 {
		t.Errorf("a routing key of 300 bytes: %v, %d messages", err, len(got))
	}
}

// Small messages share packets: what is sent in one go is written in few writes.
func TestPartsShareWrites(t *testing.T) {
	p := newPeer(t, (*peerConn).ack)
	var writes atomic.Int32
	sink := newSink(t, p.address, func(c *Config) {
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, address)
			return counter{c, &writes}, err
		}
	})
	if err := sink.Send(within(t, patience), message(1, 1)); err != nil {
		t.Fatal(err)
	}
	before := writes.Load()
	if err := sink.Send(within(t, patience), message(2, 500)); err != nil {
		t.Fatal(err)
	}
	if n := writes.Load() - before; n > 20 {
		t.Errorf("500 messages took %d writes", n)
	}
}

type counter struct {
	net.Conn
	writes *atomic.Int32
}

func (c counter) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	empty, named, braces := template(t, ""), template(t, "telemetry"), template(t, "t.{device}")
	good := Config{Address: "broker:5672", Exchange: named, RoutingKey: braces}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no port":                 func(c *Config) { c.Address = "broker" },
		"certificate without TLS": func(c *Config) { c.External = true },
		"no address at all":       func(c *Config) { c.Exchange, c.RoutingKey = empty, empty },
		"declare what":            func(c *Config) { c.Declare = "everything" },
		"default exchange":        func(c *Config) { c.Declare, c.Exchange = DeclareExchange, empty },
		"exchanges":               func(c *Config) { c.Declare, c.Exchange = DeclareExchange, braces },
		"queue without name":      func(c *Config) { c.Declare = DeclareQueue },
		"queue that gets nothing": func(c *Config) { c.Declare, c.Exchange, c.RoutingKey, c.Queue = DeclareQueue, empty, named, "other" },
		"direct binding":          func(c *Config) { c.Declare, c.ExchangeType, c.Queue = DeclareQueue, "direct", "q" },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
