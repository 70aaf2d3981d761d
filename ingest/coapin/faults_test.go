package coapin

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/reading"
)

// badNetwork passes datagrams on between peers and a server, and loses, doubles
// and delays some of them. What it does with the n-th datagram of a direction is
// the same in every run with the same seed.
type badNetwork struct {
	t      *testing.T
	near   *net.UDPConn // peers send to it
	server netip.AddrPort
	fault  int // of a hundred datagrams, for each kind of fault
	ended  sync.WaitGroup

	mu     sync.Mutex
	random *rand.Rand
	far    map[netip.AddrPort]*net.UDPConn // what a peer's datagrams are sent from
	timers []*time.Timer
	closed bool

	lost, doubled, delayed int
}

func newBadNetwork(t *testing.T, server netip.AddrPort, seed uint64, fault int) *badNetwork {
	t.Helper()
	near, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	n := &badNetwork{t: t, near: near, server: server, fault: fault, random: rand.New(rand.NewPCG(seed, 1)), far: map[netip.AddrPort]*net.UDPConn{}}
	n.ended.Go(n.outward)
	t.Cleanup(n.close)
	return n
}

func (n *badNetwork) addr() netip.AddrPort { return n.near.LocalAddr().(*net.UDPAddr).AddrPort() }

func (n *badNetwork) close() {
	n.mu.Lock()
	n.closed = true
	for _, timer := range n.timers {
		timer.Stop()
	}
	n.near.Close()
	for _, far := range n.far {
		far.Close()
	}
	n.mu.Unlock()
	n.ended.Wait()
}

func (n *badNetwork) outward() {
	b := make([]byte, maxDatagram)
	for {
		size, from, err := n.near.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if far := n.farOf(from); far != nil {
			n.pass(bytes.Clone(b[:size]), func(b []byte) { _, _ = far.WriteToUDPAddrPort(b, n.server) })
		}
	}
}

func (n *badNetwork) farOf(peer netip.AddrPort) *net.UDPConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.far[peer] != nil {
		return n.far[peer]
	}
	far, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		n.t.Error(err)
		return nil
	}
	n.far[peer] = far
	n.ended.Go(func() {
		b := make([]byte, maxDatagram)
		for {
			size, _, err := far.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			n.pass(bytes.Clone(b[:size]), func(b []byte) { _, _ = n.near.WriteToUDPAddrPort(b, peer) })
		}
	})
	return far
}

// pass sends a datagram on, if it is lucky.
func (n *badNetwork) pass(b []byte, send func([]byte)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	switch luck := n.random.IntN(100); {
	case luck < n.fault:
		n.lost++
		return
	case luck < 2*n.fault:
		n.doubled++
		send(b)
	case luck < 3*n.fault: // others overtake it
		n.delayed++
		wait := time.Duration(1+n.random.IntN(60)) * time.Millisecond
		n.timers = append(n.timers, time.AfterFunc(wait, func() { send(b) }))
		return
	}
	send(b)
}

// retry is how soon a message is sent again: much sooner than a device would, so
// that a second is long.
const retry = 20 * time.Millisecond

// insist sends a confirmable message until it is answered, as RFC 7252 §4.2 says,
// if not as slowly.
func (c *client) insist(m message) message {
	c.Helper()
	for late := time.Now().Add(longPatience); time.Now().Before(late); {
		c.send(m)
		until := time.Now().Add(retry)
		for time.Now().Before(until) {
			got, err := c.receiveWithin(time.Until(until))
			if err == nil && got.kind == acknowledgement && got.id == m.id && string(got.token) == string(m.token) {
				return got
			}
		}
	}
	c.Fatal("no answer")
	return message{}
}

// committing lets a custody commit now and then, until stop is called.
func committing(custody *ingesttest.Custody) (stop func()) {
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for ticks := time.NewTicker(3 * time.Millisecond); ; {
			select {
			case <-ticks.C:
				custody.Commit()
			case <-done:
				ticks.Stop()
				return
			}
		}
	})
	return func() {
		close(done)
		all.Wait()
	}
}

// Every message that a bad network lets through in the end is stored once, the
// whole bodies of those that come in blocks, too.
func TestABadNetworkLosesAndDoublesNothing(t *testing.T) {
	for _, fault := range []int{5, 25} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprint(fault, "/", seed), func(t *testing.T) {
				t.Parallel()
				custody := ingesttest.NewCustody()
				defer committing(custody)()
				s := start(t, custody, Config{})
				bad := newBadNetwork(t, plainAddr(t, s), seed, fault)
				const devices, messages = 4, 25
				var all sync.WaitGroup
				for d := range devices {
					c := dial(t, bad.addr())
					all.Go(func() { c.tell(d, messages) })
				}
				all.Wait()
				times := map[string]int{}
				for _, r := range custody.Stored() {
					times[r.Value.Text()]++
				}
				for d := range devices {
					for i := range messages {
						if n := times[said(d, i)]; n != 1 {
							t.Errorf("message %d of device %d is stored %d times", i, d, n)
						}
					}
				}
				if len(times) != devices*messages {
					t.Errorf("%d different messages are stored", len(times))
				}
				bad.mu.Lock()
				defer bad.mu.Unlock()
				if bad.lost == 0 || bad.doubled == 0 || bad.delayed == 0 || s.Stats().Repeated == 0 {
					t.Errorf("the network was too good: %+v", s.Stats())
				}
			})
		}
	}
}

// said is the i-th message of a device. Every third is so long that it must come
// in blocks.
func said(d, i int) string {
	text := fmt.Sprintf("message %d of device %d", i, d)
	if i%3 == 0 {
		text += strings.Repeat("!", 64*(1+i%5))
	}
	return text
}

// tell says the messages of a device, each until it is acknowledged.
func (c *client) tell(d, messages int) {
	for i := range messages {
		for text := said(d, i); ; {
			if c.tellOne(fmt.Sprint(d), text) {
				break
			}
		}
	}
}

// tellOne brings one message, in blocks if it is long. It returns false when it
// must be begun anew.
func (c *client) tellOne(device, text string) bool {
	const szx = 2
	for number := uint32(0); ; number++ {
		b := block{number: number, szx: szx}
		b, part, _ := b.within([]byte(text))
		m := c.request(confirmable, post, "raw", device)
		if len(text) > b.size() {
			m = m.with(optBlock1, appendUint(nil, b.value())...)
		}
		switch got := c.insist(m.carrying(string(part))); {
		case got.code == continued && b.more:
		case got.code == changed && !b.more:
			return true
		case got.code == incomplete:
			return false
		default:
			c.Fatalf("%v %q", got.code, got.payload)
		}
	}
}

// resolving is a custody that commits when the server stops, a moment too late for who
// waits no longer than that.
type resolving struct {
	*ingesttest.Custody
	stopping context.Context
}

func (c resolving) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	if _, err := c.Custody.Accept(ctx, rs, notes...); err != nil {
		return nil, err
	}
	return c, nil
}

// Wait implements ingest.Receipt.
func (c resolving) Wait(ctx context.Context) error {
	select {
	case <-c.stopping.Done():
	case <-ctx.Done():
	}
	return ctx.Err()
}

// What custody has when the server stops, because the gateway does or begins anew, is
// on flash in a moment. A peer that gets no answer sends it again, and the server that
// comes next does not know that message: it would be stored twice.
func TestAStopAnswersForWhatCustodyHas(t *testing.T) {
	for name, dtls := range map[string]bool{"plain": false, "DTLS": true} {
		t.Run(name, func(t *testing.T) {
			custody := ingesttest.NewCustody()
			cfg := Config{Listen: "127.0.0.1:0"}
			if dtls {
				cfg = Config{ListenDTLS: "127.0.0.1:0", Key: testKeys}
			}
			s := newSource(t, cfg)
			s.settle = ingesttest.Patience // of a door that may be stopped itself
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx, ingest.NewIntake(resolving{custody, ctx}, nil, time.Now)) }()
			var c *client
			if dtls {
				c = dialDTLS(t, secureAddr(t, s))
			} else {
				c = dial(t, plainAddr(t, s))
			}
			m := c.request(confirmable, post, "d").carrying("1")
			c.send(m)
			custody.Taken(t, 1)
			answer := make(chan message)
			go func() { // the library may lose what is not read when the session ends
				defer close(answer)
				if got, err := c.receiveWithin(ingesttest.Patience); err == nil {
					answer <- got
				}
			}()
			stop()
			if got := <-answer; got.code != changed || got.id != m.id {
				t.Errorf("got %+v", got)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// A gateway that dies takes no acknowledged message along: those that were not
// acknowledged come again, and may be there twice.
func TestCrashesLoseNothingThatWasAcknowledged(t *testing.T) {
	custody := ingesttest.NewCustody()
	at := porttest.For(t)
	acked := map[uint16]bool{}
	c := dial(t, netip.MustParseAddrPort(at))
	for life := range 20 {
		s := newSource(t, Config{Listen: at})
		s.settle = time.Millisecond // nothing is committed after a crash
		stop := runSource(t, ingest.NewIntake(custody, nil, time.Now), s)
		first := len(custody.Taken(t, 0))
		for range 10 {
			m := c.request(confirmable, post, "raw", "d")
			c.send(m.carrying(string(binary.BigEndian.AppendUint16(nil, m.id))))
		}
		custody.Taken(t, first+life%11) // of this life
		if life%2 == 0 {
			custody.Commit()
			if life > 0 {
				acked[c.receive().id] = true
			}
		}
		next := custody.Crash()
		stop()
		for { // whatever was on its way
			m, err := c.receiveWithin(time.Millisecond)
			if err != nil {
				break
			}
			if m.code == changed {
				acked[m.id] = true
			}
		}
		custody = next
	}
	stored := map[uint16]int{}
	for _, r := range custody.Stored() {
		stored[binary.BigEndian.Uint16([]byte(r.Value.Text()))]++
	}
	for id := range acked {
		if stored[id] != 1 {
			t.Errorf("%d was acknowledged, and stored %d times", id, stored[id])
		}
	}
	if len(acked) < 9 {
		t.Errorf("only %d were acknowledged", len(acked))
	}
}
