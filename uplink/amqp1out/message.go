package amqp1out

import (
	"cmp"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// message is one transfer.
func (s *Sink) message(m uplink.Message, p uplink.Part, to peer) *amqp.Message {
	made := time.Unix(0, cmp.Or(p.Time, time.Now().UnixNano()))
	out := amqp.NewMessage(p.Body)
	out.Header = &amqp.MessageHeader{Durable: true}
	out.Properties = &amqp.MessageProperties{MessageID: m.PartKey(p), ContentType: &m.ContentType, CreationTime: &made}
	if s.cfg.Subject.String() != "" {
		var escape func(string) string
		if to.isRabbit() {
			escape = onelink.Swap
		}
		subject := s.cfg.Subject.Expand(m, p, escape)
		out.Properties.Subject = &subject
	}
	if !s.cfg.Bare {
		out.ApplicationProperties = map[string]any{"gateway": m.Gateway, "lane": m.Lane.String(), "count": int32(p.Count)}
	}
	return out
}
