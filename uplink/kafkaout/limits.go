//go:build !nokafka

package kafkaout

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// brokerDefault is max.message.bytes of a topic that nobody has set up, as
	// it was before Kafka 2.4; it is 1048588 since.
	brokerDefault = 1000012
	// minLimit and maxLimit are what the library works with.
	minLimit = 512
	maxLimit = 64 << 20
	// recordOverhead is what a lone record has beside body, key and headers: the
	// batch's 61 bytes and seven numbers of variable length. roomForKey is for
	// the two others, which no limit can know beforehand.
	recordOverhead = 61 + 7*5
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

// unknown returns those of the records' topics that must be asked for.
func (l *limits) unknown(records []*kgo.Record, now time.Time) (topics []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := make(map[string]struct{})
	for _, r := range records {
		if _, twice := seen[r.Topic]; twice {
			continue
		}
		seen[r.Topic] = struct{}{}
		t, ok := l.topics[r.Topic]
		if ok && now.Sub(t.asked) < limitAge || !ok && len(l.topics)+len(topics) >= maxTopics {
			continue
		}
		topics = append(topics, r.Topic)
	}
	return topics
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

// learn asks for limits that are not known yet. Brokers may refuse to tell, but
// must answer.
func (k *session) learn(ctx context.Context, records []*kgo.Record) error {
	now := time.Now()
	topics := k.sink.limits.unknown(records, now)
	if topics == nil {
		return nil
	}
	_, err := k.ask(ctx, topics, now)
	return err
}

// relearn asks again after a message was too large, and says whether that has
// changed anything: the library must then be told, which takes a new client.
func (k *session) relearn(ctx context.Context, records []*kgo.Record) bool {
	seen := make(map[string]struct{})
	for _, r := range records {
		seen[r.Topic] = struct{}{}
	}
	changed, err := k.ask(ctx, slices.Collect(maps.Keys(seen)), time.Now())
	return err == nil && changed
}

func (k *session) ask(ctx context.Context, topics []string, now time.Time) (changed bool, err error) {
	found, err := maxBytes(ctx, k.client, topics)
	for topic, bytes := range found {
		changed = k.sink.limits.note(topic, bytes, now) || changed
	}
	return changed, err
}

// maxBytes asks the brokers how large the batches of topics may be; 0 stands for
// those of which they do not tell. It returns nothing about topics that were not
// answered for, or are not there yet.
func maxBytes(ctx context.Context, client *kgo.Client, topics []string) (map[string]int32, error) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, topic := range topics {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, topic, []string{maxMessageBytes}
		req.Resources = append(req.Resources, r)
	}
	resp, err := req.RequestWith(ctx, client)
	if errors.As(err, new(*kerr.Error)) {
		return nil, nil // they do not want to tell; what else is wrong will be said of the records
	}
	if err != nil {
		return nil, err
	}
	found := make(map[string]int32)
	for _, r := range resp.Resources {
		switch kerr.ErrorForCode(r.ErrorCode) {
		case nil, kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed:
			found[r.ResourceName] = configured(r, maxMessageBytes)
		}
	}
	return found, nil
}

// configured returns a number of a resource's configuration, 0 if it is not
// there.
func configured(r kmsg.DescribeConfigsResponseResource, name string) int32 {
	for _, c := range r.Configs {
		if c.Name != name || c.Value == nil {
			continue
		}
		if n, err := strconv.ParseInt(*c.Value, 10, 32); err == nil && n > 0 {
			return int32(n)
		}
	}
	return 0
}
