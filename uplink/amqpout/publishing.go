package amqpout

import (
	"cmp"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// maxShort is the length in bytes of AMQP's short strings: names, routing keys,
// message ids.
const maxShort = 255

// appID names the program that published.
const appID = "tidegate"

// publishing is one basic.publish.
type publishing struct {
	exchange, key string
	id            string // what a return is told by: uplink.Message.PartKey
	amqp.Publishing
}

// address returns where a piece goes.
func (s *Sink) address(m uplink.Message, p uplink.Part) (exchange, key string) {
	return s.cfg.Exchange.Expand(m, p, onelink.Swap), s.cfg.RoutingKey.Expand(m, p, onelink.Swap)
}

// checkAddresses refuses a message before anything of it is sent. It will not
// become any shorter.
func (s *Sink) checkAddresses(m uplink.Message) error {
	if constant(s.cfg.Exchange.String()) && constant(s.cfg.RoutingKey.String()) {
		return nil
	}
	for _, p := range m.Pieces() {
		exchange, key := s.address(m, p)
		if n := max(len(exchange), len(key)); n > maxShort {
			return uplink.Permanent(fmt.Errorf("%q makes an exchange or routing key of %d bytes — hint: AMQP takes %d; use a shorter template, or shorter names", p.Device, n, maxShort))
		}
	}
	return nil
}

func (s *Sink) publishing(m uplink.Message, p uplink.Part) publishing {
	exchange, key := s.address(m, p)
	id := m.PartKey(p)
	out := publishing{exchange: exchange, key: key, id: id, Publishing: amqp.Publishing{
		MessageId:    id,
		ContentType:  m.ContentType,
		AppId:        appID,
		DeliveryMode: amqp.Persistent,
		Timestamp:    time.Unix(0, cmp.Or(p.Time, time.Now().UnixNano())),
		Body:         p.Body,
	}}
	if !s.cfg.Bare {
		out.Headers = amqp.Table{"gateway": m.Gateway, "lane": m.Lane.String(), "count": int32(p.Count)}
	}
	if len(id) > maxShort {
		if out.Headers == nil {
			out.Headers = amqp.Table{}
		}
		out.MessageId, out.Headers[KeyHeader] = "", id
	}
	return out
}
