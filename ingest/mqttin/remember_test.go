package mqttin

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

func bye(c *client) {
	c.t.Helper()
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
	c.hungUp()
	c.Close()
}

func retain(c *client, topic, payload string) {
	c.t.Helper()
	pk := publishPacket(topic, payload, 1, 1)
	pk.FixedHeader.Retain = true
	c.send(pk)
	c.expect(packets.Puback, 1)
}

func (c *client) puback(id uint16) {
	c.t.Helper()
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: id})
}

func TestRetainedMessagesSurviveACrash(t *testing.T) {
	w := newWorld(t, Config{})
	c := connect(t, w.src, 5, "writer")
	retain(c, "gone", "x")
	retain(c, "gone", "")
	retain(c, "kept", "old")
	pk := publishPacket("kept", "new", 1, 1)
	pk.FixedHeader.Retain = true
	pk.Properties = packets.Properties{ContentType: "text", User: []packets.UserProperty{{Key: "k", Val: "v"}}, MessageExpiryInterval: 1000}
	c.send(pk)
	c.expect(packets.Puback, 1)
	w.crash()
	reader := connect(t, w.src, 5, "reader")
	reader.subscribe(1, 1, "#")
	got := reader.read()
	left := got.Properties.MessageExpiryInterval
	if string(got.Payload) != "new" || !got.FixedHeader.Retain || got.Properties.ContentType != "text" ||
		len(got.Properties.User) != 1 || left < 900 || left > 1000 {
		t.Fatalf("got %+v", got)
	}
	reader.silent()
}

// subscribeWith subscribes with all options of MQTT 5.
func subscribeWith(c *client, sub packets.Subscription) {
	c.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1, Filters: packets.Subscriptions{sub}}
	if sub.Identifier > 0 {
		pk.Properties.SubscriptionIdentifier = []int{sub.Identifier}
	}
	c.send(pk)
	if ack := c.expect(packets.Suback, 1); ack.ReasonCodes[0] != sub.Qos {
		c.t.Fatalf("SUBACK says %#x", ack.ReasonCodes)
	}
}

func TestSubscriptionsSurviveWithTheirOptions(t *testing.T) {
	w := newWorld(t, Config{})
	c := resume(t, w.src, 5, "c")
	subscribeWith(c, packets.Subscription{Filter: "a", Qos: 1, NoLocal: true, Identifier: 7})
	subscribeWith(c, packets.Subscription{Filter: "b", Qos: 2, RetainAsPublished: true, RetainHandling: 1})
	subscribeWith(c, packets.Subscription{Filter: "$share/g/s", Qos: 0})
	w.crash()
	c = resume(t, w.src, 5, "c")
	c.publish("a", "mine", 1, 1) // which NoLocal keeps away
	c.expect(packets.Puback, 1)
	other := connect(t, w.src, 5, "other")
	publishAcked(other, "a", "1")
	if got := c.read(); string(got.Payload) != "1" || got.FixedHeader.Qos != 1 || !slices.Equal(got.Properties.SubscriptionIdentifier, []int{7}) {
		t.Errorf("got %+v", got)
	} else {
		c.puback(got.PacketID)
	}
	retain(other, "b", "2")
	if got := c.read(); string(got.Payload) != "2" || !got.FixedHeader.Retain {
		t.Errorf("got %+v", got)
	} else {
		c.puback(got.PacketID)
	}
	publishAcked(other, "s", "3")
	if got := c.read(); string(got.Payload) != "3" || got.FixedHeader.Qos != 0 {
		t.Errorf("got %+v", got)
	}
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 2,
		Filters: packets.Subscriptions{{Filter: "a"}}})
	c.expect(packets.Unsuback, 2)
	w.crash()
	publishAcked(connect(t, w.src, 5, "other"), "a", "4")
	resume(t, w.src, 5, "c").silent()
}

// What waits for a client comes in its order, and once it has been acknowledged
// never again.
func TestMessagesForAnAbsentClientSurvive(t *testing.T) {
	for _, version := range []byte{4, 5} {
		w := newWorld(t, Config{})
		c := resume(t, w.src, version, "c")
		c.subscribe(1, 1, "#")
		bye(c)
		w.gone()
		writer := connect(t, w.src, 4, "writer")
		const messages = 50
		for i := range messages / 2 {
			publishAcked(writer, "d", fmt.Sprint(i))
		}
		w.crash()
		writer = connect(t, w.src, 4, "writer")
		for i := messages / 2; i < messages; i++ {
			publishAcked(writer, "d", fmt.Sprint(i))
		}
		c = resume(t, w.src, version, "c")
		for i := range messages {
			got := c.read()
			if string(got.Payload) != fmt.Sprint(i) {
				t.Fatalf("got %s, want %d", got.Payload, i)
			}
			if i%2 == 0 {
				c.puback(got.PacketID)
			}
		}
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		c.expect(packets.Pingresp, 0)
		w.crash()
		c = resume(t, w.src, version, "c")
		for i := 1; i < messages; i += 2 {
			if got := c.read(); string(got.Payload) != fmt.Sprint(i) || !got.FixedHeader.Dup {
				t.Fatalf("got %s, want %d again", got.Payload, i)
			}
		}
		c.silent()
	}
}

func TestSessionWithoutAfterlifeLeavesNothingBehind(t *testing.T) {
	w := newWorld(t, Config{})
	c := connect(t, w.src, 5, "c")
	c.subscribe(1, 2, "d")
	c.publish("d", "1", 2, 9)
	c.expect(packets.Publish, 1)
	c.expect(packets.Pubrec, 9)
	if n := w.custody.Noted(); len(n) != 0 {
		t.Errorf("noted: %q", n)
	}
	c.Close()
	w.gone()
	w.flush()
	if n := w.custody.Noted(); len(n) != 0 {
		t.Errorf("noted at the end: %q", n)
	}
}

// However a session that lasts ends, it leaves nothing behind either.
func TestEndedSessionLeavesNothingBehind(t *testing.T) {
	ends := map[string]func(w *world, c *client){
		"clean start": func(w *world, c *client) { c.Close(); connect(w.t, w.src, 5, "c").Close() },
		"disconnect": func(w *world, c *client) {
			c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect},
				Properties: packets.Properties{SessionExpiryIntervalFlag: true}})
			c.hungUp()
			retry(w.t, func() bool { return len(w.custody.Noted()) == 0 }) // nobody is told that it has ended
		},
		"crash, then clean start": func(w *world, c *client) {
			w.crash()
			connect(w.t, w.src, 5, "c").Close()
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{})
			c := resume(t, w.src, 5, "c")
			c.subscribe(1, 2, "d")
			c.publish("d", "1", 2, 9)
			c.expect(packets.Publish, 1)
			c.expect(packets.Pubrec, 9)
			publishAcked(connect(t, w.src, 4, "writer"), "d", "2")
			if len(w.custody.Noted()) == 0 {
				t.Fatal("nothing was noted")
			}
			end(w, c)
			w.crash()
			w.flush()
			if n := w.custody.Noted(); len(n) != 0 {
				t.Errorf("noted: %q", n)
			}
			if got := connect(t, w.src, 5, "c"); len(serving(w.src).everySession()) != 1 {
				t.Error("the session is there again", got)
			}
		})
	}
}

// After PUBCOMP the identifier is free: the same bytes under it are a new
// message, whenever the power is cut.
func TestReleasedIdentifierIsFreeAfterACrash(t *testing.T) {
	w := newWorld(t, Config{})
	c := resume(t, w.src, 4, "c")
	c.publish("d", "1", 2, 5)
	c.expect(packets.Pubrec, 5)
	w.custody.CommitNever()
	pubrel := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, PacketID: 5}
	c.send(pubrel)
	c.silent() // before that is on flash
	w.custody.CommitAtOnce()
	c.expect(packets.Pubcomp, 5)
	w.crash()
	c = resume(t, w.src, 4, "c")
	c.publish("d", "1", 2, 5)
	c.expect(packets.Pubrec, 5)
	if n := len(w.custody.Stored()); n != 2 {
		t.Errorf("stored %d messages, want 2", n)
	}
	w.crash()
	c = resume(t, w.src, 5, "c")
	c.publish("d", "2", 2, 5) // the client lost its memory: another message
	c.expect(packets.Pubrec, 5)
	c.send(pubrel)
	c.expect(packets.Pubcomp, 5)
	c.send(pubrel)
	if got := c.expect(packets.Pubcomp, 5); got.ReasonCode != codePacketIDNotFound {
		t.Errorf("PUBCOMP of what is unknown says %#x", got.ReasonCode)
	}
	if n := len(w.custody.Stored()); n != 3 {
		t.Errorf("stored %d messages, want 3", n)
	}
}

func TestSessionBelongsToItsUserAfterACrash(t *testing.T) {
	cfg := ruled()
	cfg.Linger = ingesttest.Patience // the answer has time, though the connection ends with it
	w := newWorld(t, cfg)
	anna := dial(t, w.src)
	anna.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "c", Keepalive: 60,
		UsernameFlag: true, Username: []byte("anna"), PasswordFlag: true, Password: []byte("a")}})
	anna.subscribe(1, 1, "cmd/anna/#", "all/#")
	anna.Close()
	w.gone()
	w.crash()
	ben := dial(t, w.src)
	ben.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, Connect: packets.ConnectParams{
		ProtocolName: []byte("MQTT"), ClientIdentifier: "c", Keepalive: 60,
		UsernameFlag: true, Username: []byte("ben"), PasswordFlag: true, Password: []byte("b")}})
	if ack := ben.expect(packets.Connack, 0); ack.ReasonCode == 0 {
		t.Error("a session was given to another user")
	}
}

// Notes that cannot be understood cost themselves, and are forgotten.
func TestDamagedNotesAreLeftOut(t *testing.T) {
	w := newWorld(t, Config{})
	c := resume(t, w.src, 5, "c")
	c.subscribe(1, 1, "#")
	c.Close()
	w.gone()
	publishAcked(connect(t, w.src, 4, "writer"), "d", "1")
	good := w.custody.Noted()
	damaged := []string{"mqtt/", "mqtt/x/1", "mqtt/s/zz", "mqtt/s/77", "mqtt/q/1/2/3", "mqtt/q/99/98", "mqtt/i/1/0", "mqtt/r/a/b", "mqtt/m/55"}
	for _, key := range damaged {
		w.custody.Accept(t.Context(), nil, reading.Note{Key: key, Value: []byte("\x01garbage")})
	}
	w.custody.Accept(t.Context(), nil, reading.Note{Key: "serial/1", Value: []byte("x")})
	w.crash()
	if n := w.src.Stats().DamagedNotes; n < uint64(len(damaged)-1) {
		t.Errorf("counted %d", n)
	}
	w.flush()
	for key := range w.custody.Noted() {
		if _, was := good[key]; !was && key != "serial/1" {
			t.Errorf("still noted: %s", key)
		}
	}
	if got := resume(t, w.src, 5, "c").read(); string(got.Payload) != "1" {
		t.Errorf("got %+v", got)
	}
}

// After a failed commit the notes say what is so again.
func TestNotesAreMendedAfterAFailedCommit(t *testing.T) {
	w := newWorld(t, Config{})
	c := resume(t, w.src, 4, "c")
	c.subscribe(1, 1, "q/#")
	bye(c)
	w.gone()
	writer := connect(t, w.src, 4, "writer")
	publishAcked(writer, "q/1", "kept")
	w.custody.CommitNever()
	pk := publishPacket("q/2", "lost", 1, 2)
	pk.FixedHeader.Retain = true
	before := len(w.custody.Taken(t, 0))
	writer.send(pk)
	w.custody.Taken(t, before+1)
	w.custody.Fail(errors.New("disk is gone"))
	writer.hungUp()
	w.custody.CommitAtOnce()
	w.crash()
	c = resume(t, w.src, 4, "c")
	for _, want := range []string{"kept", "lost"} {
		if got := c.read(); string(got.Payload) != want {
			t.Fatalf("got %s, want %s", got.Payload, want)
		}
	}
	reader := connect(t, w.src, 4, "reader")
	reader.subscribe(1, 0, "#")
	if got := reader.read(); string(got.Payload) != "lost" {
		t.Errorf("retained: %+v", got)
	}
}

// A client that is away is not given room without end.
func TestMessagesForAnAbsentClientAreBounded(t *testing.T) {
	w := newWorld(t, Config{})
	c := resume(t, w.src, 4, "c")
	c.subscribe(1, 1, "#")
	bye(c)
	w.gone()
	writer := connect(t, w.src, 4, "writer")
	for i := range maxWaiting + 5 {
		publishAcked(writer, "d", fmt.Sprint(i))
	}
	if n := w.src.Stats().Undelivered; n != 5 {
		t.Errorf("counted %d undelivered, want 5", n)
	}
	large := strings.Repeat("x", 200<<10)
	c = resume(t, w.src, 4, "large")
	c.subscribe(1, 1, "large")
	bye(c)
	w.onlyOne()
	for range maxQueued/(200<<10) + 3 {
		publishAcked(writer, "large", large)
	}
	if n := w.src.Stats().Undelivered; n < 5+2 {
		t.Errorf("counted %d undelivered of large ones", n-5)
	}
}

// A session gets nothing that the rules of the moment do not allow, whatever
// they were when it subscribed.
func TestRulesOfTheMomentCountForARestoredSession(t *testing.T) {
	rules := func(subscribe ...string) []Rule {
		return []Rule{{User: Everybody, Publish: []string{"#"}, Subscribe: subscribe}}
	}
	w := newWorld(t, Config{Rules: rules("a/#", "b/#")})
	c := resume(t, w.src, 4, "c")
	c.subscribe(1, 1, "a/#")
	c.subscribe(2, 1, "b/#")
	bye(c)
	w.gone()
	writer := connect(t, w.src, 4, "writer")
	publishAcked(writer, "b/1", "not any more")
	publishAcked(writer, "a/1", "first")
	w.cfg.Rules = rules("a/#")
	w.crash()
	c = resume(t, w.src, 4, "c")
	if got := c.read(); string(got.Payload) != "first" {
		t.Fatalf("got %+v", got)
	}
	writer = connect(t, w.src, 4, "writer")
	publishAcked(writer, "b/1", "not any more")
	publishAcked(writer, "a/1", "second")
	if got := c.read(); string(got.Payload) != "second" {
		t.Errorf("got %+v", got)
	}
}
