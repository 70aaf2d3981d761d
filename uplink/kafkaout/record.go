//go:build !nokafka

package kafkaout

import (
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/kafka"
	"github.com/tidegate/tidegate/uplink"
)

// maxTopic is how long the name of a topic may be, in bytes.
const maxTopic = 249

// since is the earliest time of a reading that can be true, in nanoseconds since
// the Unix epoch: September 2001. A gateway whose clock was never set is older.
const since = 1e18

// record is a piece of a message. Its Time is 0 if that is to be the time of
// sending.
type record struct {
	Topic string
	kafka.Record
	refused error  // what the broker said that is not its partition's
	by      string // and its address
}

// records returns one record a piece of the message.
func (s *Sink) records(m uplink.Message) []*record {
	pieces := m.Pieces()
	records := make([]*record, len(pieces))
	for i, p := range pieces {
		r := &record{
			Topic: topicName(s.cfg.Topic.Expand(m, p, topicText)),
			Record: kafka.Record{
				Key:   []byte(s.cfg.Key.Expand(m, p, nil)),
				Value: p.Body,
				Headers: []kafka.Header{
					{Key: KeyHeader, Value: []byte(m.PartKey(p))},
					{Key: typeHeader, Value: []byte(m.ContentType)},
				},
			},
		}
		if p.Time >= since && !s.cfg.SendTime {
			r.Time = p.Time / int64(time.Millisecond)
		}
		records[i] = r
	}
	return records
}

// topicsOf returns the topics of records, each once.
func topicsOf(records []*record) (topics []string) {
	seen := make(map[string]struct{})
	for _, r := range records {
		if _, twice := seen[r.Topic]; !twice {
			seen[r.Topic] = struct{}{}
			topics = append(topics, r.Topic)
		}
	}
	return topics
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
