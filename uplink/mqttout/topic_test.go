package mqttout

import (
	"context"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

func TestTopicsOfRawParts(t *testing.T) {
	cfg := basic("a:1")
	cfg.Raw, cfg.StripPrefix, cfg.Prefix = true, "site/", "plant/7/"
	sink := newSink(t, cfg)
	for _, c := range []struct{ device, metric, want string }{
		{"site/hall/temp", "raw", "plant/7/hall/temp"},
		{"zigbee2mqtt/lamp", "raw", "plant/7/zigbee2mqtt/lamp"},
		{"boiler", "temp", "plant/7/boiler/temp"},
		{"site/", "raw", "plant/7/"},
		{"a+b", "c#", "plant/7/a%2Bb/c%23"},
		{"100%", "raw", "plant/7/100%"},
	} {
		if got := sink.topicOf(uplink.Part{Device: c.device, Metric: c.metric}); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.device, c.metric, got, c.want)
		}
	}
	cfg.Prefix, cfg.StripPrefix = "", ""
	sink = newSink(t, cfg)
	if got := sink.topicOf(uplink.Part{Device: "$SYS/uptime", Metric: "raw"}); got != "%24SYS/uptime" {
		t.Error(got)
	}
	for _, device := range []string{"", strings.Repeat("x", 65536)} {
		m := uplink.Message{Parts: []uplink.Part{{Device: device, Metric: "raw", Count: 1}}}
		if err := sink.Send(t.Context(), m); classOf(err) != "permanent" || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("a topic of %d bytes: %v", len(device), err)
		}
	}
}

// TestABacklogDoesNotTurnRetainedMessagesBack: what is older than what has been
// sent to a topic is sent without the flag.
func TestABacklogDoesNotTurnRetainedMessagesBack(t *testing.T) {
	p := newPuppet(t)
	got := make(chan string, 10)
	p.taken = func(c *puppetConn, pk packets.Packet) {
		got <- map[bool]string{true: "retained ", false: ""}[pk.FixedHeader.Retain] + string(pk.Payload)
		acceptAll(c, pk)
	}
	cfg := basic(p.start())
	cfg.Raw = true
	sink := newSink(t, cfg)
	publish := func(seq uint64, payload string) {
		t.Helper()
		m := uplink.Message{
			Key:   uplink.Key{Gateway: "g", Epoch: 1, First: seq, Last: seq},
			Parts: []uplink.Part{{Body: []byte(payload), First: seq, Last: seq, Count: 1, Device: "door", Metric: "raw", Flags: reading.Retained.WithQoS(1)}},
		}
		if err := sink.Send(within(t), m); err != nil {
			t.Fatal(err)
		}
	}
	publish(10, "open")
	publish(3, "shut") // out of the backlog
	publish(10, "open")
	publish(11, "ajar")
	for _, want := range []string{"retained open", "shut", "retained open", "retained ajar"} {
		if have := <-got; have != want {
			t.Errorf("%q, want %q", have, want)
		}
	}
}

// TestPartsThatHaveArrivedAreNotSentAgain, unless the message is cut anew.
func TestPartsThatHaveArrivedAreNotSentAgain(t *testing.T) {
	p := newPuppet(t)
	got := make(chan string, 100)
	refuse := true
	p.taken = func(c *puppetConn, pk packets.Packet) {
		got <- string(pk.Payload)
		if string(pk.Payload) == `{"seq":4}` && refuse {
			refuse = false
			c.answer(packets.Puback, pk.PacketID, packets.ErrQuotaExceeded.Code)
			return
		}
		acceptAll(c, pk)
	}
	sink := newSink(t, basic(p.start()))
	send := func(m uplink.Message, fails bool, want ...string) {
		t.Helper()
		if err := sink.Send(within(t), m); (err != nil) != fails {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Errorf("%d publications, want %d", len(got), len(want))
		}
		for range len(got) {
			if have := <-got; len(want) > 0 && have != want[0] {
				t.Errorf("%s, want %s", have, want[0])
			} else if len(want) > 0 {
				want = want[1:]
			}
		}
	}
	m := cut(0, 5)
	send(m, true, `{"seq":1}`, `{"seq":2}`, `{"seq":3}`, `{"seq":4}`, `{"seq":5}`)
	other := cut(0, 5)
	other.Parts[1].Body = []byte("other") // the same key, other content
	send(other, false, "other", `{"seq":4}`)
	send(m, false, `{"seq":1}`, `{"seq":2}`, `{"seq":3}`, `{"seq":4}`, `{"seq":5}`) // it had arrived: this is a new attempt
	if len(sink.partly.known) != 0 || len(sink.partly.order) != 0 {
		t.Errorf("%d messages are remembered", len(sink.partly.known))
	}
}

// TestAnswersThatNeverComeDoNotUseUpTheConnection: when half of its places are
// taken by publications that nobody answers, it is given up, alive or not.
func TestAnswersThatNeverComeDoNotUseUpTheConnection(t *testing.T) {
	p, ignored := newPuppet(t), make(chan bool, 10)
	p.taken = func(c *puppetConn, pk packets.Packet) {
		if string(pk.Payload) != `{"seq":1}` || len(p.versions()) > 1 {
			acceptAll(c, pk)
			return
		}
		ignored <- true
	}
	cfg := basic(p.start())
	cfg.MaxInflight = 3
	sink := newSink(t, cfg)
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		sent := make(chan error, 1)
		go func() { sent <- sink.Send(ctx, cut(0, 1)) }()
		<-ignored
		if err := sink.Send(within(t), cut(6, 1)); err != nil { // the server is alive
			t.Fatal(err)
		}
		cancel()
		if err := <-sent; err == nil {
			t.Fatal("nil without an answer")
		}
	}
	if err := sink.Send(within(t), cut(0, 1)); err != nil || len(p.versions()) != 2 {
		t.Errorf("%v after %d logins", err, len(p.versions()))
	}
}
