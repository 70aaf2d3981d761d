package mqttin

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// The server sends what a session has not acknowledged again in the order of
// the second in which it came, of which it looks at sixteen bits. So that field,
// Created, holds numbers here: they count up with every message to a client, and
// a session that is resumed counts what it holds anew, from zero.

// firstNumber is beyond what any session can hold.
const firstNumber = 1 << 16

// number gives a message to a client its place in the order.
func (b *broker) number(cl *mqtt.Client, pk packets.Packet) {
	pk.Created = math.MinInt64 + firstNumber + b.numbered.Add(1)
	cl.State.Inflight.Set(pk)
}

// isNumbered says whether Created is a number, and no second.
func isNumbered(pk packets.Packet) bool { return pk.Created < 0 }

// renumber prepares what a session holds to be sent again in its order.
func renumber(held *mqtt.Inflight) {
	all := held.GetAll(false)
	slices.SortStableFunc(all, func(a, b packets.Packet) int { return cmp.Compare(a.Created, b.Created) })
	for i, pk := range all {
		pk.Created = math.MinInt64 + int64(i)
		held.Set(pk)
	}
}

// overflow is what becomes of a message to a subscriber whose queue is full. A
// session that lasts keeps it, and its client is disconnected: it gets
// everything in its order when it comes back. Otherwise it is lost. The server
// forgets the message under the identifier that it has now.
func (b *broker) overflow(cl *mqtt.Client, pk packets.Packet) {
	held, ok := latest(cl, pk)
	if ok && lasts(cl) {
		if id, err := cl.NextPacketID(); err == nil {
			held.PacketID = uint16(id)
			cl.State.Inflight.Set(held)
			cl.Net.Conn.(*conn).gate.disconnect(codeQuotaExceeded)
			return
		}
	}
	b.stats.undelivered.Add(1)
}

// latest returns what a session holds of a message that was published to it just
// now.
func latest(cl *mqtt.Client, pk packets.Packet) (held packets.Packet, ok bool) {
	if pk.FixedHeader.Qos == 0 {
		return held, false
	}
	for _, h := range cl.State.Inflight.GetAll(false) {
		same := h.FixedHeader.Type == packets.Publish && h.Origin == pk.Origin &&
			h.TopicName == pk.TopicName && bytes.Equal(h.Payload, pk.Payload)
		if same && (!ok || h.Created > held.Created) {
			held, ok = h, true
		}
	}
	return held, ok
}

// lasts says whether a client's session outlives its connection.
func lasts(cl *mqtt.Client) bool {
	if cl.Properties.ProtocolVersion < 5 {
		return !cl.Properties.Clean
	}
	return cl.Properties.Props.SessionExpiryInterval > 0
}
