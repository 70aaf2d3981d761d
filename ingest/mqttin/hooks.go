package mqttin

import (
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// hooks is where the server asks and tells, on the goroutine that reads the
// client's connection.
type hooks struct {
	mqtt.HookBase
	broker *broker
}

// ID implements mqtt.Hook.
func (h *hooks) ID() string { return "tidegate" }

// Provides implements mqtt.Hook.
func (h *hooks) Provides(event byte) bool {
	switch event {
	case mqtt.OnConnectAuthenticate, mqtt.OnACLCheck,
		mqtt.OnSessionEstablish, mqtt.OnSessionEstablished,
		mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnPacketProcessed,
		mqtt.OnSubscribe, mqtt.OnSubscribed, mqtt.OnUnsubscribe, mqtt.OnUnsubscribed:
		return true
	}
	return false
}

// OnConnectAuthenticate decides who may connect. OnSessionEstablish follows at
// once.
func (h *hooks) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	c := cl.Net.Conn.(*conn)
	reason := c.login(cl, pk)
	if reason != 0 {
		c.turnAway(cl.ID, reason)
	}
	return reason == 0
}

// OnACLCheck decides what a client may subscribe to. What it may publish, and be
// sent, is not the server's business.
func (h *hooks) OnACLCheck(cl *mqtt.Client, filter string, _ bool) bool {
	c := cl.Net.Conn.(*conn)
	if c.rights.maySubscribe(filter) {
		return true
	}
	b := h.broker
	c.stats.denied.Add(1)
	if id := brief(cl.ID); b.said.First(id, "", time.Now()) {
		b.log.Warn("mqtt client may not subscribe there", "event", "acl_denied", "client", id, "user", brief(c.user), "filter", brief(filter))
	}
	return false
}

// OnSessionEstablish runs before the subscriptions of the session move to the
// connection and CONNACK is written.
func (h *hooks) OnSessionEstablish(cl *mqtt.Client, pk packets.Packet) {
	c := cl.Net.Conn.(*conn)
	c.client = cl
	// Wills and the end of sessions are ours: the server would go by the wall
	// clock.
	cl.Properties.Will = mqtt.Will{}
	cl.Properties.Props.SessionExpiryIntervalFlag = false
	cl.Properties.Props.TopicAliasMaximum = 0 // none are used
	if err := h.broker.begin(c, cl, pk); err != nil {
		c.refuse(errNotStored)
	}
}

// OnSessionEstablished runs after CONNACK, before the next packet is read.
func (h *hooks) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	c := cl.Net.Conn.(*conn)
	c.establish()
	c.stats.clients.Add(1)
	c.session.attach(c)
}

// OnPacketRead takes the session's new expiry out of a DISCONNECT, for the same
// reason as OnSessionEstablish. A session that was to end cannot be made to last
// [MQTT-3.1.2-23]: that error is the server's.
func (h *hooks) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	p := &cl.Properties.Props
	if pk.FixedHeader.Type == packets.Disconnect && pk.Properties.SessionExpiryIntervalFlag &&
		(p.SessionExpiryInterval > 0 || pk.Properties.SessionExpiryInterval == 0) {
		p.SessionExpiryInterval = pk.Properties.SessionExpiryInterval
		pk.Properties.SessionExpiryIntervalFlag = false
	}
	return pk, nil
}

// OnPacketEncode runs before a packet is encoded for a client. It waits until the
// gate has room: the server holds a lock of the client while it writes.
func (h *hooks) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := cl.Net.Conn.(*conn)
	c.gate.waitRoom()
	switch pk.FixedHeader.Type {
	case packets.Connack:
		h.broker.disclaim(c) // the session is this connection's now
		c.completeConnack(&pk)
	case packets.Suback, packets.Unsuback:
		pk.Properties.User = nil // of the request
	case packets.Disconnect:
		c.stats.malformed.Add(1) // the only reason that the server has
		if c.version < 5 {
			pk.FixedHeader.Type = packets.Reserved // only clients may send it
		}
	}
	return pk
}

// completeConnack says what the server does not know.
func (c *conn) completeConnack(pk *packets.Packet) {
	pk.Properties.MaximumPacketSize = uint32(c.broker.cfg.MaxPacket)
	if c.refusal != 0 {
		pk.ReasonCode = connackCode(c.version, c.refusal)
		pk.Properties.ReasonString = ""
		return
	}
	if c.session == nil || c.version < 5 {
		return
	}
	given := uint32(c.session.lasting() / time.Second)
	if given != c.client.Properties.Props.SessionExpiryInterval {
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = given, true
	}
}

// OnSubscribe refuses the filters that are too many: the server answers an
// empty one with an error. It also keeps the server from sending retained
// messages: see OnPacketProcessed.
func (h *hooks) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := cl.Net.Conn.(*conn)
	c.subscribing = c.subscribing[:0]
	c.session.listen()
	filters := append(packets.Subscriptions(nil), pk.Filters...)
	room := maxSubscriptions - cl.State.Subscriptions.Len()
	length := filterLength(cl.State.Subscriptions.GetAll())
	for i := range filters {
		f := &filters[i]
		wanted := *f
		h.broker.sys.refresh(f.Filter)
		_, again := cl.State.Subscriptions.Get(f.Filter)
		if !again {
			room--
			length += len(f.Filter)
		}
		if room < 0 || length > maxFilterLength {
			f.Filter = ""
		}
		if again && wanted.RetainHandling == 1 {
			wanted.RetainHandling = noRetained
		}
		c.subscribing = append(c.subscribing, wanted)
		f.RetainHandling = noRetained
	}
	pk.Filters = filters
	return pk
}

// noRetained is the retain handling of a subscription that is sent no retained
// messages.
const noRetained = 2

// OnSubscribed runs before SUBACK is written. Every publish that is read after
// it must see the subscription.
func (h *hooks) OnSubscribed(cl *mqtt.Client, pk packets.Packet, reasons []byte) {
	h.broker.generation.Add(1)
	c := cl.Net.Conn.(*conn)
	for i, reason := range reasons {
		if pk.Filters[i].Filter == "" {
			c.stats.oversubscribed.Add(1)
			if c.version == 5 {
				reasons[i] = codeQuotaExceeded
			}
		}
		if reason >= 0x80 {
			c.subscribing[i].RetainHandling = noRetained
		}
	}
	for _, sub := range c.subscribing {
		h.broker.sys.listen(sub.Filter)
	}
	h.broker.noteSubscriptions(c)
}

// OnPacketProcessed sends the retained messages that a new subscription matches.
func (h *hooks) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, err error) {
	if pk.FixedHeader.Type != packets.Subscribe {
		return
	}
	c := cl.Net.Conn.(*conn)
	defer c.session.unlisten()
	if err != nil {
		return
	}
	for _, sub := range c.subscribing {
		if sub.RetainHandling != noRetained && !mqtt.IsSharedFilter(sub.Filter) {
			h.broker.sendRetained(c.session, sub)
		}
	}
}

// OnUnsubscribe takes out the filters that the client has not subscribed to: the
// server says that it has, if another client has.
func (h *hooks) OnUnsubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	filters := append(packets.Subscriptions(nil), pk.Filters...)
	for i := range filters {
		if _, ok := cl.State.Subscriptions.Get(filters[i].Filter); !ok {
			filters[i].Filter = nobodys
		}
	}
	pk.Filters = filters
	return pk
}

// nobodys is a filter that nobody can have.
const nobodys = "\x00"

// OnUnsubscribed runs when subscriptions have ended: before UNSUBACK is written,
// or because the session has.
func (h *hooks) OnUnsubscribed(cl *mqtt.Client, pk packets.Packet) {
	h.broker.generation.Add(1)
	if pk.PacketID != 0 {
		h.broker.noteSubscriptions(cl.Net.Conn.(*conn))
	}
}

// noteSubscriptions notes the subscriptions of a session, and puts what is sent
// from now on behind that.
func (b *broker) noteSubscriptions(c *conn) {
	if !c.session.durable() {
		return
	}
	receipt, err := b.memory.accept(b.ctx, c.session.note())
	if err != nil {
		c.refuse(errNotStored)
		return
	}
	c.gate.note(receipt)
}

func filterLength(all map[string]packets.Subscription) (n int) {
	for filter := range all {
		n += len(filter)
	}
	return n
}
