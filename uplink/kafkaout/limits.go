//go:build !nokafka

package kafkaout

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/tidegate/tidegate/internal/kafka"
)

const (
	// brokerDefault is max.message.bytes of a topic that nobody has set up, as
	// it was before Kafka 2.4; it is 1048588 since.
	brokerDefault = 1000012
	// minLimit and maxLimit are what is believed.
	minLimit = 512
	maxLimit = 64 << 20
	// recordOverhead is what a lone record has beside body, key and headers, at the
	// most: the batch's own bytes and numbers of variable length. roomForKey is for
	// the two others, which no limit can know beforehand.
	recordOverhead = kafka.Overhead + 7*5
	roomForKey     = 1 << 10
	// maxTopics bounds how many topics' limits are remembered.
	maxTopics = 256
	// limitAge is how long a limit is believed.
	limitAge = 24 * time.Hour
	// maxMessageBytes is the name of the limit.
	maxMessageBytes = "max.message.bytes"
)

// limits remembers how large the batches of each topic may be.
type limits struct {
	mu     sync.Mutex
	topics map[string]limit
}

// limit is a topic's; bytes is 0 where the brokers do not tell.
type limit struct {
	bytes int32
	asked time.Time
}

func newLimits() *limits { return &limits{topics: make(map[string]limit)} }

// batchBytes returns how large a batch of the topic may be.
func (l *limits) batchBytes(topic string) int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.topics[topic].bytes; known > 0 {
		return min(max(known, minLimit), maxLimit)
	}
	return brokerDefault
}

// piece returns how large the body of a lone record may be in every topic; 0 if
// nothing is known.
func (l *limits) piece() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	smallest := 0
	for _, t := range l.topics {
		if n := int(t.bytes); n > 0 && (smallest == 0 || n < smallest) {
			smallest = n
		}
	}
	if smallest == 0 {
		return 0
	}
	return max(smallest-recordOverhead-roomForKey, smallest/2)
}

// unknown returns those of the topics that must be asked for.
func (l *limits) unknown(topics []string, now time.Time) (unknown []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, topic := range topics {
		t, ok := l.topics[topic]
		if ok && now.Sub(t.asked) < limitAge || !ok && len(l.topics)+len(unknown) >= maxTopics {
			continue
		}
		unknown = append(unknown, topic)
	}
	return unknown
}

// note remembers a limit, and says whether it is another one than before.
func (l *limits) note(topic string, bytes int32, now time.Time) (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before, ok := l.topics[topic]
	if ok || len(l.topics) < maxTopics {
		l.topics[topic] = limit{bytes, now}
	}
	return before.bytes != bytes
}

// giveUp notes that the limits of topics are not told.
func (l *limits) giveUp(topics []string, now time.Time) {
	for _, t := range topics {
		l.note(t, 0, now)
	}
}

// relearn asks again after a message was too large, and says whether that has
// changed anything.
func (s *Sink) relearn(ctx context.Context, topics []string) bool {
	l, _, err := s.anyLink(ctx)
	if err != nil {
		return false
	}
	if _, ok := l.versions.Best(kafka.DescribeConfigs); !ok {
		return false
	}
	k := l.start(askLimits(topics))
	changed, err := s.heardLimits(ctx, l, k)
	return err == nil && changed
}

// askLimits is the question how large the batches of topics may be.
func askLimits(topics []string, also ...string) *call {
	return &call{key: kafka.DescribeConfigs, version: 1, body: func(dst []byte) ([]byte, error) {
		return kafka.AppendDescribeConfigs(dst, topics, append([]string{maxMessageBytes}, also...)), nil
	}}
}

// heardLimits notes the answer: 0 for topics whose limit is not told.
// Brokers may refuse to tell, but must answer. Topics that are not there yet will be
// asked for again.
func (s *Sink) heardLimits(ctx context.Context, l *link, k *call) (changed bool, err error) {
	answer, err := heard(ctx, l, k)
	if err != nil {
		return false, err
	}
	all, _, err := kafka.ParseDescribeConfigs(answer)
	if err != nil {
		return false, l.mumbled(err)
	}
	now := time.Now()
	for _, t := range all {
		switch t.Code {
		case 0:
			changed = s.limits.note(t.Topic, configured(t, maxMessageBytes), now) || changed
		case kafka.UnknownTopicOrPartition:
		default:
			changed = s.limits.note(t.Topic, 0, now) || changed
		}
	}
	return changed, nil
}

// configured returns a number of a topic's settings, 0 if it is not there.
func configured(t kafka.Settings, name string) int32 {
	n, err := strconv.ParseInt(t.Values[name], 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return int32(n)
}
