package mqttin

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Of a/+/#, the server forgot that it matches a/b, and of a/# that it matches
// what is retained on a.
func TestTrapHashMatchesTheLevelAbove(t *testing.T) {
	src := start(t, instant(), Config{})
	writer := connect(t, src, 4, "writer")
	for filter, topic := range map[string]string{"a/+/#": "a/b", "+/#": "x", "+/+/#": "x/y", "$share/g/v/+/#": "v/w", "q/#": "q"} {
		c := connect(t, src, 4, "reader")
		c.subscribe(1, 1, filter)
		publishAcked(writer, topic, "1")
		if got := c.read(); got.TopicName != topic {
			t.Errorf("%s: got %s, want %s", filter, got.TopicName, topic)
		}
		c.Close()
	}
	for _, topic := range []string{"r", "r/s", "r/s/t"} {
		pk := publishPacket(topic, "1", 1, 1)
		pk.FixedHeader.Retain = true
		writer.send(pk)
		writer.expect(packets.Puback, 1)
	}
	for filter, want := range map[string]int{"r/#": 3, "+/#": 3, "r/+/#": 2, "r/s/#": 2, "#": 3, "r": 1} {
		c := connect(t, src, 4, "reader")
		c.subscribe(1, 0, filter)
		for range want {
			if got := c.read(); !covers(filter, got.TopicName) {
				t.Errorf("%s: got %s", filter, got.TopicName)
			}
		}
		c.silent()
		c.Close()
	}
}

// Who is found for a topic is who has a filter that matches it.
func TestSubscribersAreWhoMatches(t *testing.T) {
	src := start(t, instant(), Config{})
	src.Addr(t.Context())
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(levels ...string) string {
		name := make([]string, 1+random.IntN(3))
		for i := range name {
			name[i] = levels[random.IntN(len(levels))]
		}
		return strings.Join(name, "/")
	}
	for range 40 {
		c := connect(t, src, 4, "c")
		filters := make([]string, 1+random.IntN(3))
		for i := range filters {
			filters[i] = pick("a", "b", "+")
			if random.IntN(2) == 0 {
				filters[i] += "/#"
			}
		}
		c.subscribe(1, 0, filters...)
		for range 30 {
			topic := pick("a", "b", "c")
			_, got := src.broker.subscribersTo(topic).Subscriptions["c"]
			if want := slices.ContainsFunc(filters, func(f string) bool { return covers(f, topic) }); got != want {
				t.Fatalf("%q and %s: %v, want %v", filters, topic, got, want)
			}
		}
		c.Close()
	}
}
