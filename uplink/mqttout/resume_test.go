package mqttout

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/internal/servertest"
)

// mosquittosRoom is how many exchanges of QoS 2 mosquitto keeps open.
const mosquittosRoom = 20

// keeper is a server that keeps its side of QoS 2 across connections, and cuts
// them at random, before it has answered or after.
type keeper struct {
	mu        sync.Mutex
	r         *rand.Rand
	cut       float64 // how often
	delivered map[string]int
	open      map[uint16]bool // taken and not released
	sessions  int             // that went on
	present   *puppetConn
}

func (k *keeper) connect(c *puppetConn, pk packets.Packet) *packets.Packet {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.present != nil {
		k.present.gone = true // MQTT 5.0, 3.1.4: who connects throws the one before out, with what is left to read of it
	}
	k.present = c
	a := answer(pk.ProtocolVersion, 0)
	a.Properties.ReceiveMaximum = mosquittosRoom
	if pk.Connect.Clean {
		k.open = map[uint16]bool{}
	} else if a.SessionPresent = k.open != nil; a.SessionPresent {
		k.sessions++
	}
	if k.open == nil {
		k.open = map[uint16]bool{}
	}
	return a
}

func (k *keeper) take(c *puppetConn, pk packets.Packet) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.gone {
		return // it had been read ahead
	}
	if c.gone = k.r.Float64() < k.cut; c.gone {
		c.Close() // it never arrived
		return
	}
	lost := k.r.Float64() < k.cut
	switch {
	case pk.FixedHeader.Type == packets.Pubrel:
		delete(k.open, pk.PacketID)
	case pk.FixedHeader.Qos == 1:
		k.delivered[string(pk.Payload)]++
	case !k.open[pk.PacketID] && len(k.open) == mosquittosRoom:
		// What is too much is lost: the PUBREC that refuses it cannot say so.
	case !k.open[pk.PacketID]:
		k.open[pk.PacketID] = true
		k.delivered[string(pk.Payload)]++
	}
	if c.gone = lost; lost {
		c.Close() // the answer is
		return
	}
	acceptAll(c, pk)
}

// TestQoS2IsExactlyOnceOverConnectionsThatBreak, for the life of a sink: what was
// begun over one connection ends over another, also when the senders had no time.
func TestQoS2IsExactlyOnceOverConnectionsThatBreak(t *testing.T) {
	for _, protocol := range []Protocol{V5, V311} {
		for seed := range uint64(10) {
			k := &keeper{r: rand.New(rand.NewPCG(seed, 0)), cut: 0.02, delivered: map[string]int{}}
			p := newPuppet(t)
			p.connect, p.taken = k.connect, k.take
			cfg := basic(p.start())
			cfg.Protocol, cfg.QoS = protocol, 2
			sink := newSink(t, cfg)
			const senders, messages, parts = 3, 5, 30
			sendAll(t, sink, senders, messages, parts, []time.Duration{5 * time.Second, 3 * time.Millisecond}[seed%2])
			k.mu.Lock()
			defer k.mu.Unlock()
			for n := range senders * messages * parts {
				payload := fmt.Sprintf(`{"seq":%d}`, n+1)
				if k.delivered[payload] != 1 {
					t.Errorf("%s, seed %d: %s was delivered %d times", protocol, seed, payload, k.delivered[payload])
				}
			}
			if k.sessions == 0 {
				t.Errorf("%s, seed %d: no session went on", protocol, seed)
			}
		}
	}
}

// sendAll sends messages from several goroutines until each has arrived. An attempt
// has so much time at first, and twice as much the next time.
func sendAll(t *testing.T, sink *Sink, senders, messages, parts int, first time.Duration) {
	t.Helper()
	ctx := within(t)
	var tasks sync.WaitGroup
	for s := range senders {
		tasks.Go(func() {
			for n := range messages {
				m := cut(s*messages+n, parts)
				for allowed := first; ; allowed *= 2 {
					attempt, cancel := context.WithTimeout(ctx, allowed)
					err := sink.Send(attempt, m)
					cancel()
					if err == nil {
						break
					}
					if ctx.Err() != nil {
						t.Errorf("%s: %v", m.Key, err)
						return
					}
				}
			}
		})
	}
	tasks.Wait()
}

// TestASessionOfAnEarlierProcessIsForgotten: its identifiers would make new
// publications old ones.
func TestASessionOfAnEarlierProcessIsForgotten(t *testing.T) {
	for _, protocol := range []Protocol{V5, V311} {
		k := &keeper{r: rand.New(rand.NewPCG(0, 0)), delivered: map[string]int{}, open: map[uint16]bool{1: true, 2: true, 3: true}}
		p := newPuppet(t)
		p.connect, p.taken = k.connect, k.take
		cfg := basic(p.start())
		cfg.Protocol, cfg.QoS = protocol, 2
		if err := newSink(t, cfg).Send(within(t), cut(0, 10)); err != nil {
			t.Fatal(err)
		}
		if len(k.delivered) != 10 {
			t.Errorf("%s: %d of 10 were delivered", protocol, len(k.delivered))
		}
	}
}

// TestATimeoutOfQoS2IsNoSecondDelivery: the connection stands, the Send has given
// up, and the answer comes before or after it tries again.
func TestATimeoutOfQoS2IsNoSecondDelivery(t *testing.T) {
	for _, answeredBetween := range []bool{true, false} {
		p := newPuppet(t)
		publishes, waiting := make(chan uint16, 10), make(chan *puppetConn, 10)
		slow := true
		p.taken = func(c *puppetConn, pk packets.Packet) {
			switch {
			case pk.FixedHeader.Type != packets.Publish || pk.FixedHeader.Qos == 1:
				acceptAll(c, pk)
			case slow:
				slow = false
				waiting <- c
				publishes <- pk.PacketID
			default:
				publishes <- pk.PacketID
				acceptAll(c, pk)
			}
		}
		cfg := basic(p.start())
		cfg.QoS = 2
		sink := newSink(t, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		sent := make(chan error, 1)
		go func() { sent <- sink.Send(ctx, cut(0, 1)) }()
		c, id := <-waiting, <-publishes
		l := sink.current
		if err := sink.Send(within(t), cut(1, 1)); err != nil { // the server is alive
			t.Fatal(err)
		}
		<-publishes
		cancel()
		if err := <-sent; err == nil {
			t.Fatal("nil without an answer")
		}
		if answeredBetween {
			c.answer(packets.Pubrec, id, 0)
			if err := sink.Send(within(t), cut(2, 1)); err != nil { // behind PUBCOMP
				t.Fatal(err)
			}
			<-publishes
		}
		go func() { sent <- sink.Send(within(t), cut(0, 1)) }()
		if !answeredBetween {
			c.answer(packets.Pubrec, id, 0)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if len(publishes) > 0 || sink.current != l || l.abandoned != 0 || len(l.slots) != 0 {
			t.Errorf("%d published again, %d abandoned, %d under way", len(publishes), l.abandoned, len(l.slots))
		}
	}
}

// TestALateAnswerOutlivesTheSession: the Send has given up, the answer comes after that,
// and the server then loses its sessions before the message is sent again.
func TestALateAnswerOutlivesTheSession(t *testing.T) {
	p := newPuppet(t)
	publishes, waiting := make(chan string, 10), make(chan *puppetConn, 10)
	var held uint16
	p.taken = func(c *puppetConn, pk packets.Packet) {
		if pk.FixedHeader.Type == packets.Publish && pk.FixedHeader.Qos == 2 {
			publishes <- string(pk.Payload)
			if held == 0 {
				held = pk.PacketID
				waiting <- c
				return
			}
		}
		acceptAll(c, pk)
	}
	cfg := basic(p.start())
	cfg.QoS = 2
	sink := newSink(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan error, 1)
	go func() { sent <- sink.Send(ctx, cut(0, 1)) }()
	c := <-waiting
	late := <-publishes
	if err := sink.Send(within(t), cut(1, 1)); err != nil { // the server is alive
		t.Fatal(err)
	}
	cancel()
	if err := <-sent; err == nil {
		t.Fatal("nil without an answer")
	}
	c.answer(packets.Pubrec, held, 0)
	if err := sink.Send(within(t), cut(2, 1)); err != nil { // behind PUBCOMP
		t.Fatal(err)
	}
	l := sink.current
	c.Close()
	<-l.dead
	for n := range 2 { // the first one is of the new connection, which has no session
		if err := sink.Send(within(t), cut([]int{3, 0}[n], 1)); err != nil {
			t.Fatal(err)
		}
	}
	for len(publishes) > 0 {
		if again := <-publishes; again == late {
			t.Errorf("%s was delivered, and is published again", again)
		}
	}
}

// TestQoS2OverARealServer: the cable is cut again and again, and a reader of
// somebody else's has each message once.
func TestQoS2OverARealServer(t *testing.T) {
	mosquitto := servertest.Mosquitto(t).Addr("mqtt")
	for _, protocol := range []Protocol{V5, V311} {
		for seed := range uint64(5) {
			t.Run(fmt.Sprintf("%s/%d", protocol, seed), func(t *testing.T) {
				topic := fmt.Sprintf("tg/%s/%d", protocol, seed)
				inbox := watch5(t, mosquitto, topic)
				cfg := basic(mosquitto)
				cfg.Protocol, cfg.QoS, cfg.Topic = protocol, 2, template(topic)
				r, connections := rand.New(rand.NewPCG(7, seed)), 0
				cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := new(net.Dialer).DialContext(ctx, network, address)
					connections++
					return &brittle{Conn: conn, left: 200 + r.IntN(3000)}, err
				}
				sink := newSink(t, cfg)
				sendAll(t, sink, 2, 10, 20, 5*time.Second)
				for payload, times := range collect(t, inbox, 400) {
					if times != 1 {
						t.Errorf("%s came %d times", payload, times)
					}
				}
				if connections < 5 {
					t.Errorf("%d connections: nothing was cut", connections)
				}
			})
		}
	}
}

// brittle breaks after so many bytes in either direction.
type brittle struct {
	net.Conn
	mu   sync.Mutex
	left int
}

func (b *brittle) spend(n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left -= n; b.left < 0 {
		b.Conn.Close()
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (b *brittle) Write(p []byte) (int, error) {
	if err := b.spend(len(p)); err != nil {
		return 0, err
	}
	return b.Conn.Write(p)
}

func (b *brittle) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if lost := b.spend(n); lost != nil {
		return 0, lost
	}
	return n, err
}
