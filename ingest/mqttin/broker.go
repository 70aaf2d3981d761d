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

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/internal/seldom"
)

// broker is what lives for one Run: the MQTT server, its connections, and where
// their readings go.
type broker struct {
	cfg    Config
	log    *slog.Logger
	stats  *counters
	intake *ingest.Intake
	server *mqtt.Server
	// ctx ends with Run. It is kept because the server's hooks are given none.
	ctx  context.Context
	quit context.CancelFunc

	// generation counts changes to the subscriptions.
	generation atomic.Uint64
	clock      clock
	memory     memory
	retained   retained
	queued     budget
	throttle   throttle
	said       seldom.Told
	inputs     inputs
	batches    chan *batch
	// claim is held while a session moves to a new connection.
	claim sync.Mutex
	// roused receives when there is something to tend.
	roused chan struct{}
	sys    *sys // nil when nothing is announced
	own    *ownAddresses

	mu       sync.Mutex
	sessions map[string]*session // by client identifier, also of those who are away
	conns    map[*conn]bool
	hosts    map[string]int // connections by host, but for probes
	probes   int            // how many of conns are
	stopped  bool
	ended    sync.WaitGroup
}

func newBroker(ctx context.Context, s *Source, intake *ingest.Intake) (*broker, error) {
	b := &broker{
		cfg:      s.cfg,
		log:      s.log,
		stats:    &s.stats,
		intake:   intake,
		server:   mqtt.New(serverOptions(s.cfg)),
		clock:    s.clock,
		sessions: make(map[string]*session),
		conns:    make(map[*conn]bool),
		hosts:    make(map[string]int),
		roused:   make(chan struct{}, 1),
		own:      s.own,
	}
	b.ctx, b.quit = context.WithCancel(ctx)
	b.batches = make(chan *batch, runtime.GOMAXPROCS(0)+2)
	for range cap(b.batches) {
		b.batches <- &batch{intake: intake.Passage()}
	}
	if err := b.server.AddHook(&hooks{broker: b}, nil); err != nil {
		return nil, err
	}
	// The server's Serve is not called. It would open no listener, and looks every second
	// after wills, sessions and messages that are ours: a gateway that idles should not.
	b.memory.intake, b.memory.roused = intake, b.roused
	b.sys = newSys(b)
	if err := b.restore(ctx); err != nil {
		b.stop()
		return nil, err
	}
	b.ended.Go(b.tend)
	return b, nil
}

// serverOptions bounds what the server keeps for its clients. Its defaults
// would cost a quarter of a megabyte a client and forget messages after a day,
// or at the first step of a clock that began in 1970.
func serverOptions(cfg Config) *mqtt.Options {
	limits := mqtt.NewDefaultServerCapabilities()
	limits.MaximumClients = math.MaxInt32 // serve counts connections, CONNECT or not
	limits.MaximumClientWritesPending = 1 // the server sends no messages
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
func (b *broker) serve(nc net.Conn, probe bool) {
	c := newConn(b, nc, probe)
	if !b.enter(c) {
		b.stats.turnedAway.Add(1)
		nc.Close()
		return
	}
	defer b.leave(c)
	b.establish(c)
	c.gate.Close()
	c.gate.finish()
	c.giveBack()
	c.gate.hangUp()
}

// establish runs the server on a connection. A packet that makes it panic costs
// the connection that sent it, and no other.
func (b *broker) establish(c *conn) {
	clean := false
	defer func() {
		cause := recover()
		if c.established {
			c.stats.clients.Add(-1)
		}
		b.depart(c, clean)
		b.disclaim(c)
		close(c.ended)
		if cause != nil {
			b.log.Error("mqtt connection ended by a panic", "remote", c.RemoteAddr().String(),
				"err", cause, "stack", string(debug.Stack()))
		}
	}()
	// Why a connection ended is the peer's business; no error means DISCONNECT.
	clean = b.server.EstablishConnection("mqtt", c) == nil
}

func (b *broker) enter(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	from := host(c)
	switch {
	case b.stopped:
		return false
	case c.probe: // in nobody's place
		b.probes++
	case len(b.conns)-b.probes >= b.cfg.MaxClients || b.hosts[from] >= b.cfg.MaxPerHost:
		return false
	default:
		b.hosts[from]++
	}
	b.conns[c] = true
	c.stats.traffic.sockets.Add(1)
	b.ended.Add(1)
	return true
}

func (b *broker) leave(c *conn) {
	b.mu.Lock()
	delete(b.conns, c)
	if from := host(c); c.probe {
		b.probes--
	} else if b.hosts[from]--; b.hosts[from] == 0 {
		delete(b.hosts, from)
	}
	b.mu.Unlock()
	b.ended.Done()
}

// claimSession ends the connection that a session has had so far, and then
// nobody else can claim one until disclaim. Left to itself, the server looks for
// that connection, ends it and adds the new one while the old one cleans up: it
// may remove the new one, or two new ones may both think that they are it. The
// session is nil when it is to begin. It returns false when it is another user's.
func (b *broker) claimSession(c *conn, id string) (s *session, ours bool) {
	for {
		b.claim.Lock()
		if s = b.session(id); s == nil {
			c.claimed = true
			return nil, true
		}
		if s.user != c.user {
			b.claim.Unlock()
			return nil, false
		}
		old := s.connection()
		if old == nil || old.hasEnded() && b.session(id) == s { // which may have ended with it just now
			c.claimed = true
			return s, true
		}
		b.claim.Unlock()
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), settle)
	defer cancel()
	_ = b.memory.flush(ctx)
	// With no clients left there is nothing for Close to wait for.
	_ = b.server.Close()
}

// hasSubscribers says whether somebody here wants to read the topic.
func (b *broker) hasSubscribers(t *topic) bool {
	generation := b.generation.Load() + 1 // so that a new topic's zero is not current
	if t.checked != generation {
		s := b.subscribersTo(t.name)
		t.local = len(s.Subscriptions)+len(s.Shared) > 0
		t.checked = generation
	}
	return t.local
}
