package mqttin

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

const (
	// maxQueued is how many bytes of messages of QoS 1 and 2 one session may not
	// have acknowledged, on their way or waiting.
	maxQueued = 8 << 20
	// maxWaiting is how many such messages a client that is away may have.
	maxWaiting = 1024
)

// session is what the broker knows about a client for as long as the standard
// says: the connection's time, or longer.
type session struct {
	broker *broker
	id     string // client identifier
	user   string // who began it
	number uint64 // names it in notes, and no other ever

	mu       sync.Mutex
	client   *mqtt.Client // has the subscriptions
	owner    *conn        // the last connection; nil after a restart
	rights   *rights      // of the last connection
	version  byte         // of MQTT, of the last connection
	attached *conn        // where messages go; nil while the client is away
	noted    bool         // there is a note about it
	// connected says that the client is there, from CONNECT on: attached is set
	// behind CONNACK.
	connected bool
	expiry    time.Duration // how long it outlives its connection; zero for not at all
	left      time.Duration // uptime when the client went away
	will      *will

	queue    []*outgoing // in the order of their numbers, about
	bytes    int         // of their messages
	ids      map[uint16]*outgoing
	lastID   uint16
	window   int // how many may be under way
	underway int
	arrivals map[uint16]arrival // QoS 2 publishes that were not released yet
	ended    bool
	heard    map[string]struct{} // while the client subscribes
}

// outgoing is a message of QoS 1 or 2 on its way to one subscriber.
type outgoing struct {
	message *message
	envelope
	// receipt resolves when what the next packet of the exchange relies on is
	// on flash; nil when it is.
	receipt  ingest.Receipt
	noted    bool // it survives a restart
	accepted bool // custody has the message
	sent     bool // on this connection
	released bool // PUBREC came: the message itself is not needed any more
}

// arrival is a QoS 2 publish that the client may send again.
type arrival struct {
	sum     uint64         // of topic and payload
	receipt ingest.Receipt // of its readings; nil when they are on flash
}

// durable says whether the session outlives its connection. It is for those who
// hold mu, and for the connection's own goroutine.
func (s *session) durable() bool { return s.expiry > 0 }

// reserve queues a message that custody does not have yet. It returns nil when
// there is no room.
func (s *session) reserve(m *message, e envelope) *outgoing {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.attached == nil && !s.durable() {
		return nil
	}
	size := m.size()
	if !s.hasRoom(size) {
		if s.dropExpired(); !s.hasRoom(size) {
			return nil
		}
	}
	noted := s.durable() && size+len(m.origin) <= reading.MaxNoteValue
	if s.attached == nil && !noted || !s.broker.queued.reserve(size) {
		return nil
	}
	o := &outgoing{message: m, envelope: e, noted: noted}
	o.id = s.nextID()
	s.enqueue(o)
	return o
}

func (s *session) hasRoom(size int) bool {
	return (s.attached != nil || len(s.queue) < maxWaiting) && (len(s.queue) == 0 || s.bytes+size <= maxQueued)
}

// dropExpired drops the messages whose time is over.
func (s *session) dropExpired() {
	now := s.broker.clock.uptime()
	for _, o := range slices.Clone(s.queue) {
		if _, alive := o.message.left(now); !alive && !o.released && !o.sent {
			s.drop(o)
		}
	}
}

// nextID returns a packet identifier that is not in use. There are more than a
// queue holds.
func (s *session) nextID() uint16 {
	for {
		s.lastID++
		if _, used := s.ids[s.lastID]; s.lastID != 0 && !used {
			return s.lastID
		}
	}
}

func (s *session) enqueue(o *outgoing) {
	if s.ids == nil {
		s.ids = make(map[uint16]*outgoing)
	}
	s.queue = append(s.queue, o)
	s.ids[o.id] = o
	s.bytes += o.message.size()
}

// remove takes a message out of the queue. It returns false when it is not
// there any more.
func (s *session) remove(o *outgoing) bool {
	i := slices.Index(s.queue, o)
	if i < 0 {
		return false
	}
	s.queue = slices.Delete(s.queue, i, i+1)
	delete(s.ids, o.id)
	s.bytes -= o.message.size()
	s.broker.queued.release(o.message.size())
	if o.sent {
		s.underway--
	}
	return true
}

// cancel takes back what reserve queued: custody did not take the message.
func (s *session) cancel(o *outgoing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(o)
}

// accept says that custody has the message, and sends it if that is possible.
func (s *session) accept(o *outgoing, receipt ingest.Receipt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.accepted = true
	if o.noted || o.isFirm() {
		o.receipt = receipt
	}
	s.pump()
}

// sendOnce sends a message of QoS 0. It returns false when it is lost.
func (s *session) sendOnce(m *message, e envelope, receipt ingest.Receipt) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attached == nil {
		return true // QoS 0 does not wait for who is away
	}
	packet := s.encode(m, e)
	if !m.isOrder() {
		receipt = nil
	}
	return packet == nil || s.attached.gate.offer(receipt, packet)
}

// pump sends what waits, as far as the client's window and the gate allow.
func (s *session) pump() {
	if s.attached == nil {
		return
	}
	if len(s.queue) > 0 {
		s.broker.rouse() // what does not fit now is tried again
	}
	for i := 0; i < len(s.queue) && s.underway < min(s.window, len(s.queue)); {
		o := s.queue[i]
		if o.sent || !o.accepted {
			i++
			continue
		}
		packet, receipt := s.next(o)
		if o.released && state(receipt) == notOnFlash {
			return // until it was noted again
		}
		if packet == nil {
			s.drop(o)
			continue
		}
		if !s.attached.gate.offer(receipt, packet) {
			return
		}
		o.sent = true
		s.underway++
		i++
	}
}

// next returns the next packet of an exchange, and what it waits for. A QoS 2
// subscriber that has seen a message must see it under the same identifier after
// a crash, so the message, like every PUBREL, waits until what is noted of it is
// on flash; so does an order. Another QoS 1 message may come twice and need not
// wait. No packet means that there is nothing to send any more.
func (s *session) next(o *outgoing) ([]byte, ingest.Receipt) {
	switch {
	case o.released:
		return appendAck(nil, typePubrel, o.id), o.receipt
	case !o.isFirm():
		return s.encode(o.message, o.envelope), nil
	case state(o.receipt) == notOnFlash:
		return nil, nil // who published it was told so, and sends it again
	}
	return s.encode(o.message, o.envelope), o.receipt
}

// isFirm says whether the message is sent only when custody has it.
func (o *outgoing) isFirm() bool { return o.qos == 2 || o.message.isOrder() }

// encode returns the message as the client is sent it; nil when it has expired,
// or is larger than the client takes [MQTT-3.1.2-25].
func (s *session) encode(m *message, e envelope) []byte {
	left, alive := m.left(s.broker.clock.uptime())
	if !alive {
		return nil
	}
	packet := m.appendPublish(nil, s.version, e, left)
	if limit := s.client.Properties.Props.MaximumPacketSize; limit > 0 && uint32(len(packet)) > limit {
		return nil
	}
	return packet
}

// drop forgets a message that nobody will be sent.
func (s *session) drop(o *outgoing) {
	if s.remove(o) {
		s.broker.memory.later(s.forgetting(o)...)
	}
}

// attach makes the connection the one that messages go to, and sends what the
// client has not acknowledged.
func (s *session) attach(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached = c
	s.pump()
}

// detach ends what attach began.
func (s *session) detach() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached, s.connected = nil, false
	s.left = s.broker.clock.uptime()
	s.underway = 0
	for _, o := range s.queue {
		o.dup = o.dup || o.sent
		o.sent = false
	}
}

// poke tries again what did not fit into the gate before.
func (s *session) poke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pump()
}

// connection returns the session's last connection; nil after a restart.
func (s *session) connection() *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owner
}

func (s *session) isAttached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attached != nil
}

func (s *session) hasEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// away says since when the client is away, and whether it is.
func (s *session) away() (since time.Duration, away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left, s.attached == nil && (s.owner == nil || s.owner.hasEnded())
}

// holds returns how many messages wait or are under way, and the subscriptions.
func (s *session) holds() (messages int, filters map[string]packets.Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue), s.client.State.Subscriptions.GetAll()
}

func (s *session) mayRead(topic string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rights.maySubscribe(topic)
}

// budget bounds what all queues take together.
type budget struct{ used atomic.Int64 }

// maxQueuedInAll is that bound in bytes.
const maxQueuedInAll = 32 << 20

// reserve takes n bytes, unless there are too few left.
func (b *budget) reserve(n int) bool {
	if b.used.Add(int64(n)) <= maxQueuedInAll {
		return true
	}
	b.release(n)
	return false
}

func (b *budget) release(n int) { b.used.Add(-int64(n)) }
