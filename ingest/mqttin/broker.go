package mqttin

import (
	"context"
	"log/slog"
	"math"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

// broker is what lives for one Run: the MQTT server, its connections, and where
// their readings go.
type broker struct {
	cfg    Config
	log    *slog.Logger
	stats  *counters
	intake *ingest.Intake
	server *mqtt.Server
	self   *mqtt.Client // in whose name the broker publishes
	// ctx ends with Run. It is kept because the server's hooks are given none.
	ctx  context.Context
	quit context.CancelFunc

	// generation counts changes to the subscriptions.
	generation atomic.Uint64
	// numbered counts messages to clients; see number.
	numbered atomic.Int64
	retained retained
	throttle throttle
	said     said
	inputs   inputs
	batches  chan *batch
	// claim is held while a session moves to a new connection.
	claim sync.Mutex

	mu      sync.Mutex
	conns   map[*conn]bool
	hosts   map[string]int // connections by host
	stopped bool
	ended   sync.WaitGroup
}

func newBroker(ctx context.Context, s *Source, intake *ingest.Intake) (*broker, error) {
	b := &broker{
		cfg:    s.cfg,
		log:    s.log,
		stats:  &s.stats,
		intake: intake,
		server: mqtt.New(serverOptions(s.cfg)),
		conns:  make(map[*conn]bool),
		hosts:  make(map[string]int),
	}
	b.ctx, b.quit = context.WithCancel(ctx)
	b.self = b.server.NewClient(nil, mqtt.LocalListener, "", true)
	b.batches = make(chan *batch, runtime.GOMAXPROCS(0)+2)
	for range cap(b.batches) {
		b.batches <- new(batch)
	}
	if err := b.server.AddHook(&hooks{broker: b}, nil); err != nil {
		return nil, err
	}
	if err := b.server.Serve(); err != nil {
		return nil, err
	}
	b.hush()
	return b, nil
}

// serverOptions bounds what the server keeps for its clients. Its defaults
// would cost a quarter of a megabyte a client and forget messages after a day,
// or at the first step of a clock that began in 1970.
func serverOptions(cfg Config) *mqtt.Options {
	limits := mqtt.NewDefaultServerCapabilities()
	limits.MaximumClients = math.MaxInt32 // serve counts connections, CONNECT or not
	limits.MaximumClientWritesPending = 256
	limits.MaximumInflight = 1024
	limits.ReceiveMaximum = 256
	limits.MaximumMessageExpiryInterval = 0
	limits.TopicAliasMaximum = 0
	limits.MaximumPacketSize = 0 // the guard's business
	limits.Compatibilities.NoInheritedPropertiesOnAck = true
	return &mqtt.Options{
		Capabilities:            limits,
		ClientNetReadBufferSize: 64,                            // of packets that conn holds already
		SysTopicResendInterval:  math.MaxInt32,                 // never: see announce
		Logger:                  slog.New(slog.DiscardHandler), // it logs whole packets
	}
}

// serve speaks MQTT on a connection until it ends.
func (b *broker) serve(nc net.Conn) {
	c := newConn(b, nc)
	if !b.enter(c) {
		b.stats.turnedAway.Add(1)
		nc.Close()
		return
	}
	defer b.leave(c)
	written := make(chan struct{})
	go func() {
		c.gate.run()
		close(written)
	}()
	b.establish(c)
	c.gate.Close()
	<-written
	if c.gate.commitFailed() {
		c.forgetReceived()
		c.gate.forget()
	}
	c.giveBack()
	c.gate.hangUp()
}

// establish runs the server on a connection. A packet that makes it panic costs
// the connection that sent it, and no other.
func (b *broker) establish(c *conn) {
	defer func() {
		if c.established {
			b.stats.clients.Add(-1)
		}
		b.disclaim(c)
		close(c.ended)
		if cause := recover(); cause != nil {
			b.log.Error("mqtt connection ended by a panic", "remote", c.RemoteAddr().String(),
				"err", cause, "stack", string(debug.Stack()))
		}
	}()
	// Why a connection ended is the peer's business.
	_ = b.server.EstablishConnection("mqtt", c)
}

func (b *broker) enter(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	from := host(c)
	if b.stopped || len(b.conns) >= b.cfg.MaxClients || b.hosts[from] >= b.cfg.MaxPerHost {
		return false
	}
	b.conns[c] = true
	b.hosts[from]++
	b.stats.traffic.sockets.Add(1)
	b.ended.Add(1)
	return true
}

func (b *broker) leave(c *conn) {
	b.mu.Lock()
	delete(b.conns, c)
	from := host(c)
	if b.hosts[from]--; b.hosts[from] == 0 {
		delete(b.hosts, from)
	}
	b.mu.Unlock()
	b.ended.Done()
}

// claimSession ends the connection that a session has had so far, and then
// nobody else can claim one until disclaim. Left to itself, the server looks for
// that connection, ends it and adds the new one while the old one cleans up: it
// may remove the new one, or two new ones may both think that they are it. It
// returns the session's last connection; nil when the session is new. It returns
// false when the session is another user's.
func (b *broker) claimSession(c *conn, id string) (last *conn, ours bool) {
	for {
		b.claim.Lock()
		client, ok := b.server.Clients.Get(id)
		if !ok {
			c.claimed = true
			return nil, true
		}
		old := client.Net.Conn.(*conn)
		if old.user == c.user && old.hasEnded() {
			c.claimed = true
			return old, true
		}
		b.claim.Unlock()
		if old.user != c.user {
			return nil, false
		}
		old.gate.disconnect(codeSessionTakenOver)
		<-old.ended
	}
}

// disclaim ends a claim, if there is one.
func (b *broker) disclaim(c *conn) {
	if c.claimed {
		c.claimed = false
		b.claim.Unlock()
	}
}

// stop disconnects everybody, lets what is due leave, and returns when all
// goroutines have ended.
func (b *broker) stop() {
	b.quit()
	b.mu.Lock()
	b.stopped = true
	for c := range b.conns {
		c.gate.disconnect(codeShuttingDown)
	}
	b.mu.Unlock()
	b.ended.Wait()
	// With no clients left there is nothing for Close to wait for.
	_ = b.server.Close()
}

// hasSubscribers says whether somebody here wants to read the topic.
func (b *broker) hasSubscribers(t *topic) bool {
	generation := b.generation.Load() + 1 // so that a new topic's zero is not current
	if t.checked != generation {
		s := b.server.Topics.Subscribers(t.name)
		t.local = len(s.Subscriptions)+len(s.Shared) > 0
		t.checked = generation
	}
	return t.local
}

// accept takes a publish that the server was given into custody, and notes its
// receipt. It returns false when the server must not go on with it; the
// publisher has had its answer then.
func (b *broker) accept(c *conn, pk packets.Packet) bool {
	qos := pk.FixedHeader.Qos
	receipt, err := b.take(c.topics.last, pk)
	if err != nil {
		b.stats.notStored.Add(1)
		switch b.notStored(c.version, qos) {
		case refuse:
			c.gate.acknowledge(nil, appendRefusal(nil, c.pubackID), 1)
			c.pubackID = 0
		case hangUp:
			c.refuse(errNotStored)
		}
		return false
	}
	if qos == 0 || receipt == nil {
		return true
	}
	c.gate.waitBelow(b.cfg.MaxUnacked)
	return c.gate.note(receipt)
}

// acceptWill takes a will into custody.
func (b *broker) acceptWill(pk packets.Packet) {
	t, err := new(topics).find(b.cfg.Routes, nil, []byte(pk.TopicName))
	if err == nil {
		_, err = b.take(t, pk)
	}
	if err != nil {
		b.stats.notStored.Add(1)
	}
}

// take decodes a publish and gives its readings to custody. The receipt is nil
// when there is nothing to keep.
func (b *broker) take(t *topic, pk packets.Packet) (ingest.Receipt, error) {
	var n counts
	n.messages[pk.FixedHeader.Qos]++
	rs := n.decode(make([]reading.Reading, 0, 8), t, pk.Payload, flagsOf(pk))
	b.stats.add(&n)
	if len(rs) == 0 {
		return nil, nil
	}
	return b.intake.Accept(b.ctx, rs)
}
