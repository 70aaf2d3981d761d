package mqttin

import (
	"bufio"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// idle runs a test in virtual time, with a broker that has had nothing to do for so long
// that it sleeps. join connects a client whose session lasts for a hundred seconds.
func idle(t *testing.T, test func(b *broker, custody *ingesttest.Custody, join func(will *packets.ConnectParams) *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		custody, began := instant(), time.Now()
		src := New(Config{Routes: testRoutes(t), Anonymous: true, SysInterval: -1}, slog.New(slog.DiscardHandler))
		src.clock.uptime = func() time.Duration { return time.Since(began) }
		b, err := newBroker(t.Context(), src, ingest.NewIntake(custody, nil, time.Now))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*tendRest + tendRest/10)
		test(b, custody, func(will *packets.ConnectParams) *client {
			ours, theirs := net.Pipe()
			b.ended.Go(func() { b.serve(theirs, false) })
			c := &client{Conn: ours, t: t, in: bufio.NewReader(ours), version: 5}
			hello := packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "c", Clean: true}}
			if will != nil {
				hello.Connect = *will
			}
			hello.Properties.SessionExpiryInterval, hello.Properties.SessionExpiryIntervalFlag = 100, true
			c.hello(hello)
			return c
		})
		b.stop()
	})
}

// due says that something becomes so at a time from now, give or take what tend waits.
func due(t *testing.T, what string, at time.Duration, is func() bool) {
	t.Helper()
	time.Sleep(at - tendInterval)
	if is() {
		t.Errorf("%s too early", what)
	}
	time.Sleep(3 * tendInterval)
	if !is() {
		t.Errorf("%s not in time", what)
	}
}

func TestASessionEndsInTimeWhenNothingElseHappens(t *testing.T) {
	idle(t, func(b *broker, _ *ingesttest.Custody, join func(*packets.ConnectParams) *client) {
		join(nil).Close()
		due(t, "the session ended", 100*time.Second, func() bool { return b.session("c") == nil })
	})
}

func TestAWillIsPublishedInTimeWhenNothingElseHappens(t *testing.T) {
	idle(t, func(b *broker, custody *ingesttest.Custody, join func(*packets.ConnectParams) *client) {
		join(&packets.ConnectParams{ClientIdentifier: "c", Clean: true, WillFlag: true, WillTopic: "d", WillPayload: []byte(`{"gone":1}`),
			WillProperties: packets.Properties{WillDelayInterval: 30}}).Close()
		due(t, "the will was published", 30*time.Second, func() bool { return len(custody.Stored()) == 1 })
	})
}

func TestARetainedMessageGoesInTimeWhenNothingElseHappens(t *testing.T) {
	idle(t, func(b *broker, custody *ingesttest.Custody, join func(*packets.ConnectParams) *client) {
		c := join(nil)
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1, Retain: true}, TopicName: "d", PacketID: 1,
			Payload: []byte("21.5"), ProtocolVersion: 5, Properties: packets.Properties{MessageExpiryInterval: 20}})
		c.expect(packets.Puback, 1)
		due(t, "the message went", 20*time.Second, func() bool { return b.retained.get("d") == nil && len(custody.Noted()) == 1 })
		c.Close()
	})
}

// Somebody has taken a note along, and custody has refused that: it is noted soon all
// the same.
func TestANoteThatComesBackIsNotedSoon(t *testing.T) {
	idle(t, func(b *broker, custody *ingesttest.Custody, _ func(*packets.ConnectParams) *client) {
		b.memory.later(reading.Note{Key: messageKey(1), Value: []byte{0}})
		taken := b.memory.company(nil)
		time.Sleep(10 * tendInterval)
		b.memory.again(taken)
		time.Sleep(2 * tendInterval)
		if len(custody.Noted()) != 1 {
			t.Error("it is not")
		}
	})
}
