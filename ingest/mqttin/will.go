package mqttin

import (
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// will is what a client wants published when it goes away without a word.
type will struct {
	message *message
	delay   time.Duration
	waits   bool          // the client went away, and the delay runs
	due     time.Duration // uptime at which it ends
}

// willOf returns the will in a CONNECT; nil when there is none. A will must not
// outlive its session.
func willOf(pk packets.Packet, expiry time.Duration) *will {
	hello := pk.Connect
	if !hello.WillFlag {
		return nil
	}
	p := hello.WillProperties
	m := &message{
		origin: pk.Connect.ClientIdentifier, topic: hello.WillTopic, qos: hello.WillQos, retain: hello.WillRetain,
		payload: hello.WillPayload, expires: p.MessageExpiryInterval > 0, expiry: p.MessageExpiryInterval,
		properties: appendWillProperties(nil, p),
	}
	return &will{message: m, delay: min(expiry, time.Duration(p.WillDelayInterval)*time.Second)}
}

// appendWillProperties appends what a will's PUBLISH has in common with its
// CONNECT.
func appendWillProperties(dst []byte, p packets.Properties) []byte {
	if p.PayloadFormatFlag {
		dst = append(dst, 0x01, p.PayloadFormat)
	}
	if p.ContentType != "" {
		dst = appendText(append(dst, 0x03), p.ContentType)
	}
	if p.ResponseTopic != "" {
		dst = appendText(append(dst, 0x08), p.ResponseTopic)
	}
	if len(p.CorrelationData) > 0 {
		dst = appendText(append(dst, 0x09), p.CorrelationData)
	}
	for _, u := range p.User {
		dst = appendText(appendText(append(dst, 0x26), u.Key), u.Val)
	}
	return dst
}

// publishWill publishes the will of a session, which has none then. What is
// noted of the session goes with it: after a crash the will was published, or
// will be.
func (b *broker) publishWill(s *session, w *will) {
	m := w.message
	m.number, m.born = b.memory.number(), b.clock.uptime()
	t, err := new(topics).find(b.cfg.Routes, nil, []byte(m.topic))
	if err == nil {
		_, err = b.publish(m, t, s.note())
	}
	if err != nil {
		b.stats.notStored.Add(1)
	}
}
