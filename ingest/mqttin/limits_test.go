package mqttin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// limit is one bound, what goes beyond it, and what becomes of that.
type limit struct {
	name string
	cfg  Config
	// exceed goes beyond the bound and returns what the client was answered.
	exceed func(t *testing.T, src *Source, version byte) string
	// want is the answer to MQTT 3.1.1 and to MQTT 5.
	want    [2]string
	counted func(s Stats) uint64
}

const (
	nothingSaid = "hung up"
	goesOn      = "PINGRESP" // the connection goes on
)

var limits = []limit{
	{
		name: "packet", cfg: Config{MaxPacket: 1000},
		exceed: func(t *testing.T, src *Source, version byte) string {
			return replyTo(connect(t, src, version, "c"), wire(0x30, "d", make([]byte, 1000)))
		},
		want: [2]string{nothingSaid, "Disconnect 0x95"}, counted: malformedOnes,
	},
	{
		name: "CONNECT", cfg: Config{MaxConnect: 100},
		exceed: func(t *testing.T, src *Source, _ byte) string {
			return replyTo(dial(t, src), hi(v4, strings.Repeat("c", 200)))
		},
		want: [2]string{nothingSaid, nothingSaid}, counted: malformedOnes,
	},
	{
		name: "levels of a topic",
		exceed: func(t *testing.T, src *Source, version byte) string {
			c := connect(t, src, version, "c")
			return replyTo(c, c.encode(publishPacket(strings.Repeat("a/", maxLevels)+"a", "1", 1, 1)))
		},
		want: [2]string{nothingSaid, "Disconnect 0x90"}, counted: malformedOnes,
	},
	{
		name: "levels of a filter",
		exceed: func(t *testing.T, src *Source, version byte) string {
			return replyTo(connect(t, src, version, "c"), subscribePacket(version, strings.Repeat("a/", maxLevels)+"#"))
		},
		want: [2]string{nothingSaid, "Disconnect 0x8f"}, counted: malformedOnes,
	},
	{
		name: "subscriptions",
		exceed: func(t *testing.T, src *Source, version byte) string {
			c := connect(t, src, version, "c")
			for i := range maxSubscriptions {
				c.subscribe(uint16(i+1), 0, fmt.Sprint(i))
			}
			return replyTo(c, subscribePacket(version, "more"))
		},
		want: [2]string{"Suback 0x80", "Suback 0x97"}, counted: func(s Stats) uint64 { return s.Oversubscribed },
	},
	{
		name: "connections", cfg: Config{MaxClients: 1},
		exceed: func(t *testing.T, src *Source, version byte) string {
			connect(t, src, version, "c")
			return replyTo(dial(t, src), nil)
		},
		want: [2]string{nothingSaid, nothingSaid}, counted: func(s Stats) uint64 { return s.TurnedAway },
	},
	{
		name: "QoS 2 exchanges",
		exceed: func(t *testing.T, src *Source, version byte) string {
			c := connect(t, src, version, "c")
			for id := range uint16(maxExchanges) {
				c.publish("d", "1", 2, id+1)
				c.expect(packets.Pubrec, id+1)
			}
			return replyTo(c, c.encode(publishPacket("d", "1", 2, maxExchanges+1)))
		},
		want: [2]string{nothingSaid, "Disconnect 0x93"}, counted: malformedOnes,
	},
	{
		name: "messages that wait for who is away",
		exceed: func(t *testing.T, src *Source, version byte) string {
			c := resume(t, src, version, "reader")
			c.subscribe(1, 1, "d")
			c.Close()
			gone(t, src)
			writer := connect(t, src, version, "writer")
			for range maxWaiting + 1 {
				publishAcked(writer, "d", "1")
			}
			return replyTo(writer, []byte("\xc0\x00"))
		},
		want: [2]string{goesOn, goesOn}, counted: func(s Stats) uint64 { return s.Undelivered },
	},
	{
		name: "retained messages",
		exceed: func(t *testing.T, src *Source, version byte) string {
			writer := connect(t, src, version, "writer")
			pk := publishPacket("", strings.Repeat("x", 200<<10), 1, 1)
			pk.FixedHeader.Retain = true
			for i := range maxRetainedBytes/(200<<10) + 1 {
				pk.TopicName = fmt.Sprint(i)
				writer.send(pk)
				writer.expect(packets.Puback, 1)
			}
			return replyTo(writer, []byte("\xc0\x00"))
		},
		want: [2]string{goesOn, goesOn}, counted: func(s Stats) uint64 { return s.NotRetained },
	},
	{
		name: "sessions", cfg: Config{MaxClients: 2},
		exceed: func(t *testing.T, src *Source, version byte) string {
			for i := range 2*maxAbsent + 1 {
				c := resume(t, src, version, fmt.Sprint(i))
				c.Close()
				gone(t, src)
			}
			return replyTo(connect(t, src, version, "c"), []byte("\xc0\x00"))
		},
		want: [2]string{goesOn, goesOn}, counted: func(s Stats) uint64 { return s.Forgotten },
	},
	{
		name: "packets in a second", cfg: Config{MaxRate: 10},
		exceed: func(t *testing.T, src *Source, version byte) string {
			c := connect(t, src, version, "c")
			var burst []byte
			for range 12 {
				burst = append(burst, c.encode(publishPacket("d", "1", 0, 0))...)
			}
			c.Write(burst)
			return replyTo(c, []byte("\xc0\x00"))
		},
		want: [2]string{goesOn, goesOn}, counted: func(s Stats) uint64 { return s.Slowed },
	},
}

func malformedOnes(s Stats) uint64 { return s.Malformed }

func subscribePacket(version byte, filter string) []byte {
	if version == 5 {
		return wire(0x82, uint16(99), props(), filter, 0)
	}
	return wire(0x82, uint16(99), filter, 0)
}

// replyTo sends a packet and says what the next answer is.
func replyTo(c *client, packet []byte) string {
	c.Write(packet)
	pk, err := c.next(ingesttest.Patience)
	switch {
	case err != nil:
		return nothingSaid
	case pk.FixedHeader.Type == packets.Pingresp:
		return goesOn
	case len(pk.ReasonCodes) > 0:
		return fmt.Sprintf("%s %#x", packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCodes[0])
	}
	return fmt.Sprintf("%s %#x", packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode)
}

// Whoever goes beyond a bound is told so as well as his version of MQTT can, and
// it is counted.
func TestEveryLimitHasItsRefusalAndCounter(t *testing.T) {
	for _, l := range limits {
		for i, version := range []byte{4, 5} {
			t.Run(fmt.Sprintf("%s/v%d", l.name, version), func(t *testing.T) {
				src := start(t, instant(), l.cfg)
				if got := l.exceed(t, src, version); got != l.want[i] {
					t.Errorf("got %s, want %s", got, l.want[i])
				}
				retry(t, func() bool { return l.counted(src.Stats()) > 0 })
			})
		}
	}
}
