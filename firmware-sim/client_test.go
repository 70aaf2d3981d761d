package firmwaresim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// acks collects the tags that OnAck reports.
type acks struct {
	mu   sync.Mutex
	tags []uint64
}

func (a *acks) add(tag uint64, _ time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tags = append(a.tags, tag)
}

func (a *acks) sorted() []uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(slices.Values(a.tags))
}

// runClient runs a client for the length of the test.
func runClient(tb testing.TB, cfg ClientConfig) *Client {
	tb.Helper()
	client := NewClient(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- client.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("the client ended with %v", err)
		}
	})
	return client
}

func deadline(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// publishAll publishes the tags first to last as payloads and drains.
func publishAll(tb testing.TB, client *Client, qos byte, first, last uint64) {
	tb.Helper()
	ctx := deadline(tb)
	for tag := first; tag <= last; tag++ {
		m := Message{Topic: "t", Payload: fmt.Append(nil, tag), QoS: qos, Tag: tag}
		if err := client.Publish(ctx, m); err != nil {
			tb.Fatal(err)
		}
	}
	if err := client.Drain(ctx); err != nil {
		tb.Fatal(err)
	}
}

func TestEveryVersionAndQoSArrivesOnceAndIsAcknowledgedOnce(t *testing.T) {
	for _, version := range []byte{MQTT3, MQTT5} {
		for qos := range byte(3) {
			t.Run(fmt.Sprintf("v%d qos%d", version, qos), func(t *testing.T) {
				addr, got := startMochi(t, true)
				var acked acks
				client := runClient(t, ClientConfig{
					Addr: addr, ClientID: "c", Username: "sensor", Password: "secret",
					Version: version, Window: 10, OnAck: acked.add,
				})
				publishAll(t, client, qos, 1, 500)
				eventually(t, func() bool { return got.distinct() == 500 })
				for tag := 1; tag <= 500; tag++ {
					if n := got.count(fmt.Sprint("t ", tag)); n != 1 {
						t.Fatalf("message %d arrived %d times", tag, n)
					}
				}
				want := 500
				if qos == 0 {
					want = 0
				}
				if tags := slices.Compact(acked.sorted()); len(tags) != want || len(acked.tags) != want {
					t.Fatalf("%d acknowledgements of %d messages, want %d", len(acked.tags), len(tags), want)
				}
				if s := client.Stats(); s.Published != 500 || s.Acked != uint64(want) || s.Unexpected != 0 || s.Republished != 0 {
					t.Fatalf("counted %+v", s)
				}
			})
		}
	}
}

// eventually polls a condition that another goroutine makes true.
func eventually(tb testing.TB, condition func() bool) {
	tb.Helper()
	ctx := deadline(tb)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatal("it never became true")
		}
	}
}

func TestRefusedClientSaysSoAndStops(t *testing.T) {
	for _, version := range []byte{MQTT3, MQTT5} {
		addr, _ := startMochi(t, true)
		err := NewClient(ClientConfig{Addr: addr, ClientID: "c", Username: "sensor", Password: "wrong", Version: version}).Run(deadline(t))
		if !errors.Is(err, ErrRefused) {
			t.Fatalf("version %d: got %v, want ErrRefused", version, err)
		}
	}
}

func TestWindowFollowsTheBrokersReceiveMaximum(t *testing.T) {
	addr, _ := startMochi(t, false)
	var acked acks
	client := runClient(t, ClientConfig{Addr: addr, ClientID: "c", Version: MQTT5, Window: 5000, OnAck: acked.add})
	publishAll(t, client, 1, 1, 20_000) // a broker disconnects who exceeds its maximum
	if s := client.Stats(); s.Connects != 1 || s.Acked != 20_000 {
		t.Fatalf("counted %+v", s)
	}
}

func TestUnacknowledgedIsPublishedAgainInOrderWithDup(t *testing.T) {
	for _, clean := range []bool{false, true} {
		t.Run(fmt.Sprint("clean ", clean), func(t *testing.T) {
			listener := listen(t)
			var acked, again acks
			client := runClient(t, ClientConfig{
				Addr: listener.Addr().String(), ClientID: "c", Window: 8, CleanSession: clean,
				OnAck: acked.add, OnRepublish: func(tag uint64) { again.add(tag, 0) },
			})
			var publishing sync.WaitGroup
			publishing.Go(func() { publishAll(t, client, 1, 1, 5) })

			broker := accept(t, listener)
			ids := make(map[string]uint16)
			for range 5 {
				_, id, payload := broker.publish()
				ids[payload] = id
			}
			broker.ack(packetPuback, ids["1"])
			broker.ack(packetPuback, ids["3"])
			eventually(t, func() bool { return len(acked.sorted()) == 2 })
			broker.conn.Close()

			broker = accept(t, listener)
			for _, want := range []string{"2", "4", "5"} {
				first, id, payload := broker.publish()
				if dup := first&publishDup != 0; payload != want || id != ids[want] || dup == clean {
					t.Fatalf("got %q with id %d, DUP %v; want %q with id %d", payload, id, dup, want, ids[want])
				}
				broker.ack(packetPuback, id)
			}
			publishing.Wait()
			if got := acked.sorted(); !slices.Equal(got, []uint64{1, 2, 3, 4, 5}) {
				t.Fatalf("acknowledged %v", got)
			}
			if got := again.sorted(); !slices.Equal(got, []uint64{2, 4, 5}) {
				t.Fatalf("published again %v", got)
			}
		})
	}
}

func TestQoS2ResumesWithPubrelAfterPubrec(t *testing.T) {
	listener := listen(t)
	var acked acks
	client := runClient(t, ClientConfig{Addr: listener.Addr().String(), ClientID: "c", OnAck: acked.add})
	var publishing sync.WaitGroup
	publishing.Go(func() { publishAll(t, client, 2, 1, 1) })

	broker := accept(t, listener)
	_, id, _ := broker.publish()
	broker.ack(packetPubrec, id)
	if first, _ := broker.packet(); first != packetPubrel {
		t.Fatalf("PUBREC was answered with %#x", first)
	}
	broker.conn.Close()

	broker = accept(t, listener)
	first, body := broker.packet()
	if first != packetPubrel || binary.BigEndian.Uint16(body) != id {
		t.Fatalf("resumed with %#x %v, want PUBREL of %d", first, body, id)
	}
	broker.ack(packetPubcomp, id)
	publishing.Wait()
	if got := acked.sorted(); len(got) != 1 {
		t.Fatalf("%d acknowledgements of one message", len(got))
	}
}

func TestStrayAndRepeatedAcknowledgementsAreNotCredited(t *testing.T) {
	listener := listen(t)
	var acked acks
	client := runClient(t, ClientConfig{Addr: listener.Addr().String(), ClientID: "c", Window: 2, OnAck: acked.add})
	var publishing sync.WaitGroup
	publishing.Go(func() { publishAll(t, client, 1, 1, 2) })

	broker := accept(t, listener)
	_, one, _ := broker.publish()
	_, two, _ := broker.publish()
	broker.ack(packetPuback, 999)
	broker.ack(packetPuback, one)
	broker.ack(packetPuback, one)
	broker.ack(packetPubrec, two)
	eventually(t, func() bool { return client.Stats().Unexpected == 3 })
	if got := acked.sorted(); !slices.Equal(got, []uint64{1}) {
		t.Fatalf("credited %v", got)
	}
	broker.ack(packetPuback, two)
	publishing.Wait()
}

func TestReasonCodeOfFailureIsNotAnAcknowledgement(t *testing.T) {
	listener := listen(t)
	var acked acks
	client := runClient(t, ClientConfig{Addr: listener.Addr().String(), ClientID: "c", Version: MQTT5, OnAck: acked.add})
	var publishing sync.WaitGroup
	publishing.Go(func() { publishAll(t, client, 1, 1, 1) })
	broker := accept5(t, listener)
	_, id, _ := broker.publish()
	broker.conn.Write([]byte{packetPuback, 3, byte(id >> 8), byte(id), 0x97}) // quota exceeded
	publishing.Wait()
	if s := client.Stats(); s.Refused != 1 || s.Acked != 0 || len(acked.sorted()) != 0 {
		t.Fatalf("counted %+v", s)
	}
}

func TestSilentBrokerIsPingedAndThenLeft(t *testing.T) {
	listener := listen(t)
	runClient(t, ClientConfig{Addr: listener.Addr().String(), ClientID: "c", KeepAlive: 2 * time.Second})
	broker := accept(t, listener)
	if first, _ := broker.packet(); first != packetPingreq {
		t.Fatalf("got %#x, want PINGREQ", first)
	}
	broker.conn.Write([]byte{packetPingresp, 0})
	if first, _ := broker.packet(); first != packetPingreq {
		t.Fatalf("got %#x, want PINGREQ", first)
	}
	accept(t, listener) // no answer this time, so it connects anew
}

func TestBrokenLinkLosesNothingAcked(t *testing.T) {
	addr, got := startMochi(t, false)
	link := startLink(t, addr)
	var acked acks
	client := runClient(t, ClientConfig{Addr: link.Addr(), ClientID: "c", Window: 50, OnAck: acked.add})
	for round := range uint64(5) {
		link.CutAfter(int64(777 + 400*round))
		var restoring sync.WaitGroup
		restoring.Go(func() {
			eventually(t, func() bool { return client.Stats().Connects > round && !client.Stats().Connected })
			link.Restore()
		})
		publishAll(t, client, 1, 1000*round+1, 1000*round+1000)
		restoring.Wait()
	}
	tags := acked.sorted()
	if len(tags) != 5000 || len(slices.Compact(tags)) != 5000 {
		t.Fatalf("%d acknowledgements for 5000 messages", len(tags))
	}
	for _, tag := range tags {
		if got.count(fmt.Sprint("t ", tag)) == 0 {
			t.Fatalf("message %d was acknowledged, and the broker does not have it", tag)
		}
	}
	if s := client.Stats(); s.Republished == 0 || s.Connects < 5 {
		t.Fatalf("counted %+v", s)
	}
}

func TestPublishingAllocatesNothing(t *testing.T) {
	client := NewClient(ClientConfig{Addr: "unused", Window: 4})
	near, far := net.Pipe()
	defer near.Close()
	var draining sync.WaitGroup
	draining.Go(func() { io.Copy(io.Discard, far) })
	defer draining.Wait()
	defer far.Close()
	connack := []byte{packetConnack, 2, 0, 0}
	if _, _, err := client.take(near, connack); err != nil {
		t.Fatal(err)
	}
	message := Message{Topic: "site/sim/dev/dev-0000/telemetry", Payload: make([]byte, 92), QoS: 1}
	puback := []byte{packetPuback, 2, 0, 0}
	id := uint16(0)
	allocated := testing.AllocsPerRun(1000, func() {
		client.Publish(context.Background(), message)
		client.Flush()
		id++
		binary.BigEndian.PutUint16(puback[2:], id)
		client.take(near, puback)
	})
	if allocated > 0 {
		t.Fatalf("%v allocations a message", allocated)
	}
	if s := client.Stats(); s.Unexpected != 0 || s.Acked != s.Published {
		t.Fatalf("counted %+v", s)
	}
}
