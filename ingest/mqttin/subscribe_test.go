package mqttin

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// The express lane passes by the broker, and with it by its subscribers: a
// subscription must reach every connection before its SUBACK leaves.
func TestSubscriberGetsEverythingAfterItsSuback(t *testing.T) {
	src := start(t, instant(), Config{})
	writer := connect(t, src, 4, "writer")
	var next atomic.Int64 // the number that is sent next
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n := next.Add(1) - 1
			pk := publishPacket("counter", fmt.Sprint(n), 1, 1)
			writer.send(pk)
			if _, err := writer.next(ingesttest.Patience); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for round := range 20 {
		reader := connect(t, src, 4, fmt.Sprint("reader", round))
		reader.subscribe(1, 0, "counter")
		want := next.Load() // sent after SUBACK was read
		for got := int64(-1); got < want+20; {
			n, err := strconv.ParseInt(string(reader.read().Payload), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if got >= 0 && n != got+1 || got < 0 && n > want {
				t.Fatalf("got %d after %d; subscribed at %d", n, got, want)
			}
			got = n
		}
		reader.Close()
	}
	close(stop)
	<-stopped
}

// When the last subscriber has left, publishes take the express lane again.
func TestUnsubscribedTopicsAreExpress(t *testing.T) {
	src := start(t, instant(), Config{})
	reader, writer := connect(t, src, 4, "reader"), connect(t, src, 4, "writer")
	oneByOne := func() uint64 { // publishes that did not take the express lane
		before := src.broker.memory.next.Load()
		writer.publish("d", "1", 1, 1)
		writer.expect(packets.Puback, 1)
		return src.broker.memory.next.Load() - before
	}
	if oneByOne() != 0 {
		t.Error("without subscribers, the publish did not take the express lane")
	}
	reader.subscribe(1, 0, "#")
	if oneByOne() != 1 {
		t.Error("with a subscriber, the publish took the express lane")
	}
	reader.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 2,
		Filters: packets.Subscriptions{{Filter: "#"}}})
	for reader.read().FixedHeader.Type != packets.Unsuback {
	}
	if oneByOne() != 0 {
		t.Error("after unsubscribing, the publish did not take the express lane")
	}
}

func TestRetainedMessageIsDelivered(t *testing.T) {
	src := start(t, instant(), Config{})
	c := connect(t, src, 4, "writer")
	pk := publishPacket("state", "on", 1, 1)
	pk.FixedHeader.Retain = true
	c.send(pk)
	c.expect(packets.Puback, 1)
	reader := connect(t, src, 4, "reader")
	reader.subscribe(1, 1, "+")
	got := reader.read()
	if string(got.Payload) != "on" || !got.FixedHeader.Retain || got.FixedHeader.Qos != 1 {
		t.Fatalf("got %+v", got)
	}
	pk = publishPacket("state", "", 1, 2)
	pk.FixedHeader.Retain = true
	c.send(pk)
	c.expect(packets.Puback, 2)
	late := connect(t, src, 4, "late")
	late.subscribe(1, 1, "+")
	late.silent()
}

// Who subscribes while a retained message changes is sent each state from one on,
// once and in order: what was retained, then what was published since.
func TestASubscriberSeesEachStateOnce(t *testing.T) {
	src := start(t, instant(), Config{})
	writer := connect(t, src, 4, "writer")
	const states = "abcd"
	for round := range 300 {
		reader := connect(t, src, 4, fmt.Sprint("reader", round))
		topic, joins := fmt.Sprint("state/", round), round%len(states)
		for i, state := range states {
			if i == joins {
				reader.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1,
					Filters: packets.Subscriptions{{Filter: topic, Qos: byte(round / len(states) % 2)}}})
			}
			retain(writer, topic, string(state)) // while the broker subscribes
		}
		reader.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		got := ""
		for pk := reader.read(); pk.FixedHeader.Type != packets.Pingresp; pk = reader.read() {
			got += string(pk.Payload)
		}
		if !strings.HasSuffix(states, got) || got == "" {
			t.Errorf("subscribed before %q: got %q", states[joins:], got)
		}
		reader.Close()
	}
}

func TestSharedSubscriptionDeliversOnce(t *testing.T) {
	src := start(t, instant(), Config{})
	readers := []*client{connect(t, src, 4, "a"), connect(t, src, 4, "b")}
	for _, r := range readers {
		r.subscribe(1, 0, "$share/group/jobs/#")
	}
	c := connect(t, src, 4, "writer")
	c.publish("jobs/1", "x", 1, 1)
	c.expect(packets.Puback, 1)
	got := 0
	for _, r := range readers {
		r.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		for r.read().FixedHeader.Type != packets.Pingresp {
			got++
		}
	}
	if got != 1 {
		t.Errorf("delivered %d times", got)
	}
}

func TestQoS2ToSubscriber(t *testing.T) {
	src := start(t, instant(), Config{})
	reader, writer := connect(t, src, 5, "reader"), connect(t, src, 5, "writer")
	reader.subscribe(1, 2, "#")
	writer.publish("d", "1", 2, 3)
	writer.expect(packets.Pubrec, 3)
	writer.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, PacketID: 3})
	writer.expect(packets.Pubcomp, 3)
	got := reader.read()
	if got.FixedHeader.Qos != 2 {
		t.Fatalf("got %+v", got)
	}
	reader.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrec}, PacketID: got.PacketID})
	reader.expect(packets.Pubrel, got.PacketID)
	reader.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubcomp}, PacketID: got.PacketID})
	reader.silent()
}

// The clients that people have at hand must work.
func TestMosquittoClients(t *testing.T) {
	for _, tool := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing: apt-get install mosquitto-clients", tool)
		}
	}
	custody := instant()
	src := start(t, custody, Config{})
	host, port, _ := strings.Cut(src.Addr(t.Context()).String(), ":")
	for i, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		for qos := range 3 {
			topic := fmt.Sprintf("m/%s/%d", version, qos)
			pub := exec.CommandContext(t.Context(), "mosquitto_pub", "-h", host, "-p", port, "-V", version,
				"-q", fmt.Sprint(qos), "-t", topic, "-m", "21.5", "-r")
			if out, err := pub.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", pub.Args, err, out)
			}
			custody.Taken(t, i*3+qos+1)
			sub := exec.CommandContext(t.Context(), "mosquitto_sub", "-h", host, "-p", port, "-V", version,
				"-q", fmt.Sprint(qos), "-t", topic, "-C", "1", "-W", "60")
			if out, err := sub.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "21.5" {
				t.Fatalf("%v: %v\n%s", sub.Args, err, out)
			}
		}
	}
}
