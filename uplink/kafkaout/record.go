//go:build !nokafka

package kafkaout

import (
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidegate/tidegate/uplink"
)

// maxTopic is how long the name of a topic may be, in bytes.
const maxTopic = 249

// since is the earliest time of a reading that can be true, in nanoseconds since
// the Unix epoch: September 2001. A gateway whose clock was never set is older.
const since = 1e18

// records returns one record a piece of the message.
func (s *Sink) records(m uplink.Message) []*kgo.Record {
	pieces := m.Pieces()
	records := make([]*kgo.Record, len(pieces))
	for i, p := range pieces {
		r := &kgo.Record{
			Topic: topicName(s.cfg.Topic.Expand(m, p, topicText)),
			Key:   []byte(s.cfg.Key.Expand(m, p, nil)),
			Value: p.Body,
			Headers: []kgo.RecordHeader{
				{Key: KeyHeader, Value: []byte(m.PartKey(p))},
				{Key: typeHeader, Value: []byte(m.ContentType)},
			},
		}
		if p.Time >= since && !s.cfg.SendTime {
			r.Timestamp = time.Unix(0, p.Time)
		}
		records[i] = r
	}
	return records
}

// topicText makes what a topic may have out of any text: letters, digits, dots,
// underscores and hyphens.
func topicText(s string) string {
	return strings.Map(func(c rune) rune {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if letter || c == '.' || c == '_' || c == '-' {
			return c
		}
		return '_'
	}, s)
}

// topicName makes a topic's name out of a text that has nothing but its letters.
// What is too long is cut, and ends in a checksum of the whole: no name of a
// device may stop the link.
func topicName(s string) string {
	switch {
	case s == "" || s == "." || s == "..":
		return "_" + s
	case len(s) > maxTopic:
		return fmt.Sprintf("%s-%08x", s[:maxTopic-9], crc32.ChecksumIEEE([]byte(s)))
	}
	return s
}
