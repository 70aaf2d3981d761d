package mqttin

import (
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// "#" also matches the level above it [4.7.1.2]: a/+/# matches a/b. The server
// overlooks that after a +, and for retained messages always.

// subscribersTo returns who is subscribed to a topic. Those whom the server
// overlooks are among those whom it finds for a topic one level below.
func (b *broker) subscribersTo(topic string) *mqtt.Subscribers {
	found := b.server.Topics.Subscribers(topic)
	below := b.server.Topics.Subscribers(topic + "/" + nobodys)
	for id := range below.Subscriptions {
		s := b.session(id)
		if s == nil {
			continue
		}
		_, filters := s.holds()
		for filter, sub := range filters {
			if matchesAsParent(filter, topic) {
				merge(found.Subscriptions, id, sub)
			}
		}
	}
	for filter, group := range below.Shared {
		if matchesAsParent(behindShare(filter), topic) {
			found.Shared[filter] = group
		}
	}
	return found
}

// merge adds one more subscription of a client to those that were found.
func merge(found map[string]packets.Subscription, id string, sub packets.Subscription) {
	first, again := found[id]
	if !again {
		first = sub
	}
	found[id] = first.Merge(sub)
}

// matchesAsParent says whether a topic is the level above the # of a filter, and
// the one that a + before it stands for.
func matchesAsParent(filter, topic string) bool {
	return strings.HasSuffix(filter, "+/#") && strings.Count(filter, "/") == strings.Count(topic, "/")+1 && covers(filter, topic)
}

// behindShare is what a shared subscription subscribes to.
func behindShare(filter string) string { return strings.SplitN(filter, "/", 3)[2] }

// retainedFor returns what the server knows of the retained messages that a
// filter matches.
func (b *broker) retainedFor(filter string) []packets.Packet {
	found := b.server.Topics.Messages(filter)
	if parent, ok := strings.CutSuffix(filter, "/#"); ok {
		found = append(found, b.server.Topics.Messages(parent)...)
	}
	return found
}
