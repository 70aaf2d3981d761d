package mqttout

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/uplink"
)

// torn is a connection on which nothing can be written any more once a message is
// to be, as when the other end has hung up.
type torn struct {
	net.Conn
	logins int // writes that still pass
	tear   func()
}

func (c *torn) Write(p []byte) (int, error) {
	if c.logins--; c.logins >= 0 {
		return c.Conn.Write(p)
	}
	c.tear()
	return 0, syscall.EPIPE
}

// TestWhatTheServerSaidLastIsHeard: a server that finds a packet too large says so
// and hangs up, and who still writes is told first that nobody listens.
func TestWhatTheServerSaidLastIsHeard(t *testing.T) {
	for _, c := range []struct {
		name, class string
		says        byte
	}{{"TooLarge", "too large", 0x95}, {"TakenOver", "1m0s", 0x8E}, {"Nothing", "transient", 0}} {
		t.Run(c.name, func(t *testing.T) {
			p := newPuppet(t)
			conns := make(chan *puppetConn, 1)
			p.connect = func(c *puppetConn, _ packets.Packet) *packets.Packet {
				conns <- c
				return answer(5, 0)
			}
			cfg := basic(p.start())
			cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				return &torn{conn, 1, func() {
					server := <-conns
					if c.says > 0 {
						server.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ReasonCode: c.says})
					}
				}}, err
			}
			err := newSink(t, cfg).Send(within(t), cut(0, 1))
			if classOf(err) != c.class {
				t.Errorf("%s, want %s: %v", classOf(err), c.class, err)
			}
			if c.says == 0 && (!errors.Is(err, syscall.EPIPE) || !errors.Is(err, errClosed)) {
				t.Errorf("the cause is gone: %v", err)
			}
		})
	}
}

// TestAServerThatSpokeMQTT5IsNotTakenForAnOlderOne because it was away for a moment
// behind a proxy. One that goes on to hang up is.
func TestAServerThatSpokeMQTT5IsNotTakenForAnOlderOne(t *testing.T) {
	p := newPuppet(t)
	var away atomic.Int32 // connections that are hung up on
	var older atomic.Bool
	p.connect = func(_ *puppetConn, pk packets.Packet) *packets.Packet {
		if away.Add(-1) >= 0 || older.Load() && pk.ProtocolVersion == 5 {
			return nil
		}
		return answer(pk.ProtocolVersion, 0)
	}
	sink := newSink(t, basic(p.start()))
	send := func() error {
		err := sink.Send(within(t), cut(0, 1))
		if err == nil {
			sink.current.fail(errClosed)
		}
		return err
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	for range suspicious + 1 { // not in a row
		away.Store(1)
		if err := send(); classOf(err) != "transient" || strings.Contains(err.Error(), "does not speak") {
			t.Errorf("a server that is away: %v", err)
		}
		if err := send(); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(p.versions()); strings.Trim(got, "\x05") != "" {
		t.Errorf("tried %v", []byte(got))
	}
	away.Store(0)
	older.Store(true)
	for range suspicious {
		send()
	}
	if err := send(); err != nil {
		t.Errorf("an older server in its place gets nothing: %v", err)
	}
}

// aging is a sink in a bubble of its own time, before a server that is asked anew
// how it answers a login.
func aging(t *testing.T, connect func(level byte) *packets.Packet) (*Sink, chan packets.Packet) {
	cfg, got := basic("server:1883"), make(chan packets.Packet, 100)
	var tasks sync.WaitGroup
	cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		p := &puppet{t: t, connect: func(_ *puppetConn, pk packets.Packet) *packets.Packet {
			got <- pk
			return connect(pk.ProtocolVersion)
		}, taken: func(c *puppetConn, pk packets.Packet) {
			got <- pk
			acceptAll(c, pk)
		}}
		tasks.Go(func() { p.serve(&puppetConn{Conn: far, aliases: map[uint16]string{}}) })
		return near, nil
	}
	t.Cleanup(tasks.Wait)
	return newSink(t, cfg), got
}

// TestAnOlderServerIsAskedAnew after a day if it has said that it is one, and after
// an hour if it has only hung up. What is sent then has its key at once.
func TestAnOlderServerIsAskedAnew(t *testing.T) {
	for name, c := range map[string]struct {
		refusal *packets.Packet
		after   time.Duration
	}{"HangsUp": {nil, time.Hour}, "SaysSo": {answer(5, 0x84), 24 * time.Hour}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				updated := false
				sink, got := aging(t, func(level byte) *packets.Packet {
					if level == 5 && !updated {
						return c.refusal
					}
					return answer(level, 0)
				})
				send := func(want ...byte) (last packets.Packet) {
					t.Helper()
					if err := sink.Send(t.Context(), cut(0, 1)); err != nil {
						t.Fatal(err)
					}
					for _, level := range want {
						if pk := <-got; pk.FixedHeader.Type != packets.Connect || pk.ProtocolVersion != level {
							t.Errorf("%+v, want a login with %d", pk, level)
						}
					}
					sink.current.fail(errClosed)
					return <-got
				}
				send(5, 4)
				pass(c.after / 2)
				send(4)
				pass(c.after)
				send(5, 4)
				updated = true
				pass(2 * c.after)
				if pk := send(5); len(pk.Properties.User) != 1 || pk.Properties.User[0].Val != cut(0, 1).Key.String() {
					t.Errorf("the first message in MQTT 5 has the properties %+v", pk.Properties)
				}
			})
		})
	}
}

// TestWhatIsOverHoldsNoPayload: what nobody waited for is remembered by its key.
func TestWhatIsOverHoldsNoPayload(t *testing.T) {
	var k kept
	e := &exchange{batch: newBatch(), pub: &publication{key: "k", qos: 2, payload: make([]byte, 1<<20)}}
	k.wait(7, e)
	if left := k["k"]; len(left.pub.payload) == 0 {
		t.Fatal("what is under way has lost its payload: it could not be sent again")
	}
	k.ended(e, nil)
	if left := k["k"]; !left.over || left.pub.payload != nil {
		t.Errorf("%d bytes are held", len(left.pub.payload))
	}
}

// TestAServerThatAsksAndDoesNotReadIsLeft: its questions would fill memory.
func TestAServerThatAsksAndDoesNotReadIsLeft(t *testing.T) {
	l := newLink(nil, nil, nil, terms{level: level5, receiveMaximum: 10, maxPacket: maxRemaining}, &Config{MaxInflight: 10}, new(learned))
	b := newBatch()
	p := publication{topic: "t", qos: 2, key: "k"}
	if !l.room(t.Context(), 2) || !l.begin(b, &p) {
		t.Fatal("nothing begins")
	}
	var err error
	for range 100_000 { // and no writer
		if err = l.take(packets.Pubrec<<4, []byte{0, 1}); err != nil {
			break
		}
	}
	if !errors.Is(err, errMalformed) || len(l.queue) > 1000 {
		t.Errorf("%d packets wait; %v", len(l.queue), err)
	}
	if uplink.IsPermanent(err) {
		t.Error("it is held against the readings")
	}
}
