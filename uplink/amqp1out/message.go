package amqp1out

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

const (
	// maxID is the length in bytes of the longest message-id: Azure takes 128
	// characters. RabbitMQ 3 takes more than 255 bytes, and who reads them with
	// AMQP 0-9-1 is cut off at that message.
	maxID = 128
	// maxRoutingKey is the length in bytes of RabbitMQ's longest routing key.
	maxRoutingKey = 255
)

// checkSubjects refuses a message before anything of it is sent. It will not become
// any shorter.
func (s *Sink) checkSubjects(m uplink.Message, to peer) error {
	if !to.isRabbit() || s.cfg.Subject.String() == "" {
		return nil
	}
	for _, p := range m.Pieces() {
		if n := len(s.cfg.Subject.Expand(m, p, onelink.Swap)); n > maxRoutingKey {
			return uplink.Permanent(fmt.Errorf("%s makes a routing key of %d bytes — hint: RabbitMQ takes %d; use a shorter subject, or shorter names", onelink.Quote(p.Device), n, maxRoutingKey))
		}
	}
	return nil
}

// message is one transfer.
func (s *Sink) message(m uplink.Message, p uplink.Part, to peer) *amqp.Message {
	made := time.Unix(0, cmp.Or(p.Time, time.Now().UnixNano()))
	out := amqp.NewMessage(p.Body)
	out.Header = &amqp.MessageHeader{Durable: true}
	out.Properties = &amqp.MessageProperties{ContentType: &m.ContentType, CreationTime: &made}
	if s.cfg.Subject.String() != "" {
		var escape func(string) string
		if to.isRabbit() {
			escape = onelink.Swap
		}
		// The library refuses what is no text, and would for ever.
		subject := strings.ToValidUTF8(s.cfg.Subject.Expand(m, p, escape), "\uFFFD")
		out.Properties.Subject = &subject
	}
	if !s.cfg.Bare {
		out.ApplicationProperties = map[string]any{"gateway": m.Gateway, "lane": m.Lane.String(), "count": int32(p.Count)}
	}
	if key := m.PartKey(p); len(key) <= maxID {
		out.Properties.MessageID = key
	} else if s.cfg.Bare {
		out.ApplicationProperties = map[string]any{KeyProperty: key}
	} else {
		out.ApplicationProperties[KeyProperty] = key
	}
	return out
}
