//go:build !nokafka

package kafkaout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/kafka"
	"github.com/tidegate/tidegate/uplink"
)

// Probe connects, logs in and gets a producer's number as Send would, over
// connections of its own. It describes the cluster and, where its name is known
// beforehand, the topic, and says what an acknowledgement of it is worth. What may
// be lost has a hint at the end.
func (s *Sink) Probe(ctx context.Context) (string, error) {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return "", fmt.Errorf("probe kafka at %s: %w", s.cfg.Brokers[0], err)
	}
	defer leave()
	aside := newSinkOf(s.cfg, s.limits)
	defer aside.Close()
	text, err := aside.describe(ctx)
	if err != nil {
		return "", fmt.Errorf("probe kafka at %s: %w", s.cfg.Brokers[0], judge(err, 0))
	}
	return text, nil
}

// fixedTopic returns the topic, if no name in it depends on a message.
func (c Config) fixedTopic() (string, bool) {
	name := c.Topic.Expand(uplink.Message{}, uplink.Part{}, func(string) string { return "\x00" })
	return topicName(name), !strings.Contains(name, "\x00")
}

func (s *Sink) describe(ctx context.Context) (string, error) {
	l, _, err := s.anyLink(ctx)
	if err != nil {
		return "", err
	}
	topic, fixed := s.cfg.fixedTopic()
	var topics []string // none; all would be another question
	if fixed {
		topics = append(topics, topic)
	}
	answer, err := l.ask(ctx, kafka.Metadata, 4, func(dst []byte) []byte { return kafka.AppendMetadata(dst, topics, false) })
	if err != nil {
		return "", err
	}
	c, err := kafka.ParseMetadata(answer)
	if err != nil {
		return "", err
	}
	number := l.start(&call{key: kafka.InitProducerID, body: func(dst []byte) ([]byte, error) { return kafka.AppendInitProducerID(dst), nil }})
	if err := s.heardNumber(ctx, l, number); err != nil {
		return "", err
	}
	text := fmt.Sprintf("Kafka cluster of %s", count(len(c.Brokers), "broker"))
	if c.ID != "" {
		text = fmt.Sprintf("Kafka cluster %q of %s", c.ID, count(len(c.Brokers), "broker"))
	}
	for _, t := range c.Topics {
		if errors.Is(t.Code, kafka.UnknownTopicOrPartition) && s.cfg.CreateTopics {
			return text + ", topic " + topic + " is not there yet", nil
		}
		if t.Code != 0 {
			return "", fmt.Errorf("topic %s: %w", topic, t.Code)
		}
		text += s.describeTopic(ctx, l, t)
	}
	return text, nil
}

func (s *Sink) describeTopic(ctx context.Context, l *link, t kafka.Topic) string {
	replicas := 0
	for i, p := range t.Partitions {
		if i == 0 || p.Replicas < replicas {
			replicas = p.Replicas
		}
	}
	text := fmt.Sprintf(", topic %s of %s and %s", t.Name, count(len(t.Partitions), "partition"), count(replicas, "replica"))
	limit, insync := s.topicNumbers(ctx, l, t.Name)
	if limit > 0 {
		s.limits.note(t.Name, limit, time.Now())
		text += fmt.Sprintf(", messages of up to %d bytes", limit)
	}
	if insync > 0 {
		text += fmt.Sprintf(", an acknowledgement means %s", count(int(insync), "broker"))
	}
	switch {
	case replicas == 1:
		text += "\nthe topic has one replica: what it has acknowledged is lost with that broker, and its last seconds with a power cut — hint: give it more replicas"
	case insync == 1:
		text += "\none broker is enough for an acknowledgement — hint: set min.insync.replicas of the topic to 2, so that what it acknowledges outlives a broker"
	}
	return text
}

// minInsync is how many replicas have what is acknowledged, at the least.
const minInsync = "min.insync.replicas"

// topicNumbers returns the topic's limit and replicas in sync, 0 where the
// brokers do not tell.
func (s *Sink) topicNumbers(ctx context.Context, l *link, topic string) (limit, insync int32) {
	if _, ok := l.versions.Best(kafka.DescribeConfigs); !ok {
		return 0, 0
	}
	answer, err := l.wait(ctx, l.start(askLimits([]string{topic}, minInsync)))
	if err != nil {
		return 0, 0
	}
	all, _, err := kafka.ParseDescribeConfigs(answer)
	if err != nil || len(all) != 1 || all[0].Code != 0 {
		return 0, 0
	}
	return configured(all[0], maxMessageBytes), configured(all[0], minInsync)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
