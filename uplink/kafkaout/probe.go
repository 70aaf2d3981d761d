//go:build !nokafka

package kafkaout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidegate/tidegate/uplink"
)

// Probe connects and logs in as Send would. It describes the cluster and, where
// its name is known beforehand, the topic, and says what an acknowledgement of
// it is worth. What may be lost has a hint at the end.
func (s *Sink) Probe(ctx context.Context) (string, error) {
	k, err := s.aside()
	if err != nil {
		return "", fmt.Errorf("probe kafka at %s: %w", s.cfg.Brokers[0], err)
	}
	defer k.fail(errRetired)
	defer k.bind(ctx)()
	text, err := k.describe(ctx)
	if err != nil {
		err = k.because(err)
		judged, _ := judge(err, 0)
		return "", fmt.Errorf("probe kafka at %s: %w", s.cfg.Brokers[0], judged)
	}
	return text, nil
}

// aside opens a session that no Send uses: one that is given up with ctx.
func (s *Sink) aside() (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	k, err := s.openSession()
	if err != nil {
		return nil, err
	}
	k.users = 1
	return k, nil
}

// fixedTopic returns the topic, if no name in it depends on a message.
func (c Config) fixedTopic() (string, bool) {
	name := c.Topic.Expand(uplink.Message{}, uplink.Part{}, func(string) string { return "\x00" })
	return topicName(name), !strings.Contains(name, "\x00")
}

func (k *session) describe(ctx context.Context) (string, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	req.Topics = []kmsg.MetadataRequestTopic{} // none; nil would be all
	topic, fixed := k.sink.cfg.fixedTopic()
	if fixed {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &topic
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, k.client)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("Kafka cluster of %s", count(len(resp.Brokers), "broker"))
	if resp.ClusterID != nil {
		text = fmt.Sprintf("Kafka cluster %q of %s", *resp.ClusterID, count(len(resp.Brokers), "broker"))
	}
	if !fixed {
		return text, nil
	}
	for _, t := range resp.Topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		if errors.Is(err, kerr.UnknownTopicOrPartition) && k.sink.cfg.CreateTopics {
			return text + ", topic " + topic + " is not there yet", nil
		}
		if err != nil {
			return "", fmt.Errorf("topic %s: %w", topic, err)
		}
		text += k.describeTopic(ctx, topic, t)
	}
	return text, nil
}

func (k *session) describeTopic(ctx context.Context, topic string, t kmsg.MetadataResponseTopic) string {
	replicas := 0
	for i, p := range t.Partitions {
		if n := len(p.Replicas); i == 0 || n < replicas {
			replicas = n
		}
	}
	text := fmt.Sprintf(", topic %s of %s and %s", topic, count(len(t.Partitions), "partition"), count(replicas, "replica"))
	limit, insync := topicNumbers(ctx, k.client, topic)
	if limit > 0 {
		k.sink.limits.note(topic, limit, time.Now())
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
func topicNumbers(ctx context.Context, client *kgo.Client, topic string) (limit, insync int32) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, topic, []string{maxMessageBytes, minInsync}
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(ctx, client)
	if err != nil || len(resp.Resources) != 1 || resp.Resources[0].ErrorCode != 0 {
		return 0, 0
	}
	return configured(resp.Resources[0], maxMessageBytes), configured(resp.Resources[0], minInsync)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
