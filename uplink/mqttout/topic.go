package mqttout

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

// rawMetric is what a payload is called that was kept whole.
const rawMetric = "raw"

// maxTopic is the longest topic that a packet has room for, in bytes.
const maxTopic = 65535

// publications makes the publications of a message, of all pieces that have not
// arrived.
func (s *Sink) publications(m uplink.Message) ([]publication, error) {
	pieces := m.Pieces()
	arrived := s.partly.of(m)
	pubs := make([]publication, 0, len(pieces))
	carry := !s.cfg.Bare && s.level() >= level5
	for i, part := range pieces {
		pubs = append(pubs, publication{
			index:   i,
			payload: part.Body, qos: s.cfg.QoS, retain: s.cfg.Retain,
			carryKey: carry,
			expiry:   uint32(s.cfg.Expiry / time.Second),
			stamp:    stamp{epoch: m.Epoch, lane: m.Lane, seq: part.Last, time: part.Time},
		})
		p := &pubs[len(pubs)-1]
		if s.cfg.Raw {
			p.topic = s.topicOf(part)
			p.qos = max(p.qos, part.Flags.QoS())
			p.retain = p.retain || part.Flags&reading.Retained != 0
		} else {
			p.topic = topicName(s.cfg.Topic.Expand(m, part, level))
			if carry {
				p.contentType, p.text = m.ContentType, isText(m.ContentType)
			}
		}
		if carry || p.qos == 2 || arrived != nil {
			p.key = m.PartKey(part)
		}
		if arrived.has(p) {
			pubs = pubs[:len(pubs)-1]
			continue
		}
		if p.topic == "" || len(p.topic) > maxTopic {
			return nil, uplink.Permanent(fmt.Errorf("a topic of %d bytes — hint: topics have 1 to %d; look at the names of devices", len(p.topic), maxTopic))
		}
	}
	return pubs, nil
}

// topicOf is the topic of a part with Config.Raw: of a payload that was kept
// whole the device, which a route without a pattern of its own calls like the
// topic that it came to; of any other value the device and the metric.
func (s *Sink) topicOf(p uplink.Part) string {
	topic := p.Device
	if p.Metric != rawMetric && p.Metric != "" {
		topic += "/" + p.Metric
	}
	return topicName(s.cfg.Prefix + strings.TrimPrefix(topic, s.cfg.StripPrefix))
}

// topicName makes a topic of a text: without wildcards, which no topic may
// have, and not one of the server's own. Topics stay what they are.
func topicName(text string) string {
	if strings.HasPrefix(text, "$") {
		text = "%24" + text[1:]
	}
	return escape(text, "")
}

// level makes the value of a name part of a topic. It may have several levels,
// as names of devices do. The percent sign is escaped as well, so that two
// values never become one.
func level(value string) string { return escape(value, "%") }

const hex = "0123456789ABCDEF"

// escape writes what no topic may have, and also, in the way of URLs.
func escape(text, also string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return forbidden(r) || strings.ContainsRune(also, r) }) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		for _, c := range []byte(text[i : i+size]) {
			if forbidden(r) || strings.ContainsRune(also, r) {
				b.Write([]byte{'%', hex[c>>4], hex[c&15]})
			} else {
				b.WriteByte(c)
			}
		}
		i += size
	}
	return b.String()
}

// forbidden reports whether no topic may have the character: wildcards (MQTT
// 5.0, 4.7), NUL, and what 1.5.4 lets a receiver hang up for. What is no UTF-8
// comes as utf8.RuneError.
func forbidden(r rune) bool {
	return r == '+' || r == '#' || r < 0x20 || r >= 0x7F && r <= 0x9F || r == utf8.RuneError ||
		r >= 0xFDD0 && r <= 0xFDEF || r&0xFFFE == 0xFFFE
}

// isText reports whether payloads of the type are UTF-8.
func isText(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "json")
}

// fit makes the publications what the server takes.
func (t terms) fit(pubs []publication, acceptLoss bool) error {
	for i := range pubs {
		p := &pubs[i]
		if n := p.size(t.level); n > t.maxPacket {
			return uplink.TooLarge(fmt.Errorf("%d bytes for %s are a packet of %d, and the server takes %d — hint: %s",
				len(p.payload), quote(p.topic), n, t.maxPacket, hintLarge))
		}
		p.retain = p.retain && t.retain
		if p.qos = min(p.qos, t.maxQoS); p.qos == 0 && !acceptLoss {
			return uplink.Misconfigured(errNoCustody)
		}
	}
	return nil
}

var errNoCustody = errors.New("the server takes QoS 0 only, which is no custody — hint: set qos = 0 and accept_loss = true if what is on its way may be lost")
