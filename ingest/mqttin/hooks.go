package mqttin

import (
	"math"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/reading"
)

// hooks is where the broker asks and tells. Hooks that carry a client run on
// the goroutine that reads its connection, except OnPacketEncode for what other
// clients published, and OnWillSent for delayed wills.
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
		mqtt.OnPacketRead, mqtt.OnPublish, mqtt.OnPacketEncode,
		mqtt.OnSubscribe, mqtt.OnSubscribed, mqtt.OnUnsubscribed,
		mqtt.OnSelectSubscribers, mqtt.OnQosPublish, mqtt.OnPublishDropped,
		mqtt.OnWill, mqtt.OnWillSent, mqtt.OnClientExpired:
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

// OnACLCheck decides what a client may subscribe to, and be sent. What it may
// publish was decided before the broker saw it.
func (h *hooks) OnACLCheck(cl *mqtt.Client, filter string, write bool) bool {
	if write || cl.Net.Conn.(*conn).rights.maySubscribe(filter) {
		return true
	}
	h.broker.stats.denied.Add(1)
	return false
}

// OnSessionEstablish runs before the session is resumed and CONNACK is written.
func (h *hooks) OnSessionEstablish(cl *mqtt.Client, pk packets.Packet) {
	c := cl.Net.Conn.(*conn)
	c.client = cl
	// The broker counts the messages that an MQTT 5 subscriber may still be
	// sent, leaks from that count, and deadlocks on what it does when it has
	// run out. A maximum of zero turns the count off: MaximumInflight bounds
	// what is under way instead.
	cl.Properties.Props.ReceiveMaximum = 0
	cl.State.Inflight.ResetSendQuota(0)
	// A message that is sent again on another connection would carry an alias
	// that means nothing there.
	cl.Properties.Props.TopicAliasMaximum = 0
	switch {
	case c.previous == nil:
		h.broker.limitSessions()
	case !pk.Connect.Clean:
		c.gate.inherit(c.previous.gate.retire())
		renumber(c.previous.client.State.Inflight)
	}
	c.previous = nil
}

// OnSessionEstablished runs after CONNACK, before the next packet is read.
func (h *hooks) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	cl.Net.Conn.(*conn).establish()
	h.broker.stats.clients.Add(1)
}

// OnPacketRead hides the packet identifiers of QoS 1 publishes and of requests
// from the broker, which keeps those of both directions in one map: a client's
// publish would make it forget a message to that client, and a request would be
// refused. OnPublish and OnPacketEncode undo it.
func (h *hooks) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	switch pk.FixedHeader.Type {
	case packets.Publish:
		if pk.FixedHeader.Qos == 1 {
			cl.Net.Conn.(*conn).pubackID = pk.PacketID
			pk.PacketID = 0
			pk.FixedHeader.Qos = 0
			pk.FixedHeader.Dup = false
		}
	case packets.Subscribe, packets.Unsubscribe:
		cl.Net.Conn.(*conn).requestID = pk.PacketID
		pk.PacketID = unusedID(cl.State.Inflight)
	}
	return pk, nil
}

// unusedID returns an identifier that no message to the client has, from the end
// that the broker comes to last.
func unusedID(held *mqtt.Inflight) uint16 {
	id := uint16(math.MaxUint16)
	for id > 1 {
		if _, used := held.Get(id); !used {
			break
		}
		id--
	}
	return id
}

// OnPublish takes a publish into custody and returns at once: the gate holds
// the acknowledgement that the broker goes on to write.
func (h *hooks) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl.Net.Inline {
		return pk, nil // the broker's own; see say
	}
	c := cl.Net.Conn.(*conn)
	if c.pubackID != 0 {
		pk.FixedHeader.Qos = 1
	}
	if !h.broker.accept(c, pk) {
		return pk, packets.ErrRejectPacket
	}
	pk.FixedHeader.Retain = pk.FixedHeader.Retain && h.broker.retained.admit(pk.TopicName, pk.Payload)
	return pk, nil
}

// OnPacketEncode runs before a packet is encoded for a client. It waits until the
// gate has room: the broker holds a lock while it writes to a client that all
// who publish to that client need.
func (h *hooks) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	cl.Net.Conn.(*conn).gate.waitRoom()
	switch pk.FixedHeader.Type {
	case packets.Connack: // the session is this connection's now
		c := cl.Net.Conn.(*conn)
		h.broker.disclaim(c)
		if c.refusal != 0 {
			pk.ReasonCode = connackCode(c.version, c.refusal)
			pk.Properties.ReasonString = ""
		}
		pk.Properties.MaximumPacketSize = uint32(h.broker.cfg.MaxPacket)
	case packets.Puback:
		c := cl.Net.Conn.(*conn)
		pk.PacketID, c.pubackID = c.pubackID, 0
		if pk.PacketID == 0 {
			// Of another connection's publish, inherited in the middle of it.
			// The broker refuses to encode this, and the client tries again.
			pk.FixedHeader.Type = packets.Reserved
		}
	case packets.Pubrec:
		// A publish that is sent again is answered like the first time. The
		// broker would answer with an error, which ends the exchange.
		if pk.ReasonCode == codePacketIDInUse {
			pk.ReasonCode = codeSuccess
			pk.Properties.ReasonString = ""
		}
	case packets.Pubrel:
		if held, ok := cl.State.Inflight.Get(pk.PacketID); ok && !isNumbered(held) {
			h.broker.number(cl, held)
		}
	case packets.Suback, packets.Unsuback:
		pk.PacketID = cl.Net.Conn.(*conn).requestID
		pk.Properties.User = nil // of the request
	case packets.Disconnect:
		h.broker.stats.malformed.Add(1) // the only reason that the broker has
		if cl.Properties.ProtocolVersion < 5 {
			pk.FixedHeader.Type = packets.Reserved // only clients may send it
		}
	}
	return pk
}

// OnSubscribe refuses the filters that are too many: the broker answers an
// empty one with an error.
func (h *hooks) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	room := maxSubscriptions - cl.State.Subscriptions.Len()
	for i := range pk.Filters {
		if _, again := cl.State.Subscriptions.Get(pk.Filters[i].Filter); again {
			continue
		}
		if room--; room < 0 {
			pk.Filters[i].Filter = ""
		}
	}
	return pk
}

// OnSubscribed runs before SUBACK is written. Every publish that is read after
// it must see the subscription.
func (h *hooks) OnSubscribed(*mqtt.Client, packets.Packet, []byte) {
	h.broker.generation.Add(1)
}

// OnUnsubscribed runs when subscriptions have ended.
func (h *hooks) OnUnsubscribed(*mqtt.Client, packets.Packet) {
	h.broker.generation.Add(1)
}

// OnSelectSubscribers runs before one of each group is chosen that shares a
// subscription.
func (h *hooks) OnSelectSubscribers(s *mqtt.Subscribers, pk packets.Packet) *mqtt.Subscribers {
	if pk.TopicName[0] == '$' {
		withoutReserved(s)
	}
	return s
}

// OnClientExpired runs before the server forgets a session that was away for too
// long; it would leave its subscriptions behind.
func (h *hooks) OnClientExpired(cl *mqtt.Client) {
	h.broker.stats.traffic.expired.Add(1)
	h.broker.server.UnsubscribeClient(cl)
}

// OnQosPublish runs when a session has taken on a message, and each time that it
// is sent again.
func (h *hooks) OnQosPublish(cl *mqtt.Client, pk packets.Packet, _ int64, _ int) {
	if pk.FixedHeader.Type == packets.Publish && !pk.FixedHeader.Dup {
		h.broker.number(cl, pk)
	}
}

// OnPublishDropped runs when a subscriber's queue is full.
func (h *hooks) OnPublishDropped(cl *mqtt.Client, pk packets.Packet) {
	h.broker.overflow(cl, pk)
}

// OnWill runs before a will is published or set aside for later. While the
// gateway stops, it is not the device that went away: a will without a topic
// reaches nobody.
func (h *hooks) OnWill(_ *mqtt.Client, will mqtt.Will) (mqtt.Will, error) {
	if h.broker.ctx.Err() != nil {
		return mqtt.Will{}, nil
	}
	will.Retain = will.Retain && h.broker.retained.admit(will.TopicName, will.Payload)
	return will, nil
}

// OnWillSent takes a will that was published into custody. It has no
// acknowledgement to hold back.
func (h *hooks) OnWillSent(_ *mqtt.Client, pk packets.Packet) {
	if pk.TopicName == "" {
		return
	}
	h.broker.acceptWill(pk)
}

// flagsOf returns what the readings of a publish are marked with.
func flagsOf(pk packets.Packet) reading.Flags {
	flags := reading.Flags(0).WithQoS(pk.FixedHeader.Qos)
	if pk.FixedHeader.Retain {
		flags |= reading.Retained
	}
	return flags
}
