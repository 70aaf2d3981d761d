package mqttin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/internal/base/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// While custody commits nothing, only so much is read from a connection.
func TestUnacknowledgedMessagesAreBounded(t *testing.T) {
	for _, retain := range []bool{false, true} { // express, and by way of the broker
		custody := ingesttest.NewCustody()
		src := start(t, custody, Config{MaxUnacked: 100})
		c := connect(t, src, 4, "device")
		var stream []byte
		for id := range uint16(20_000) {
			pk := publishPacket("d", "21.5", 1, id+1)
			pk.FixedHeader.Retain = retain
			stream = append(stream, c.encode(pk)...)
		}
		sent := make(chan error, 1)
		go func() {
			_, err := c.Write(stream)
			sent <- err
		}()
		custody.Taken(t, 100)
		c.silent()
		if n := len(custody.Taken(t, 0)); n > 100+maxBatchMessages {
			t.Errorf("retain %v: %d messages were read", retain, n)
		}
		custody.CommitAtOnce()
		for id := range uint16(20_000) {
			c.expect(packets.Puback, id+1)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
}

// A client that never reads its acknowledgements costs a bounded queue and is
// disconnected.
func TestClientThatNeverReadsAcksIsDisconnected(t *testing.T) {
	custody := instant()
	src := start(t, custody, Config{MaxUnacked: 100, WriteTimeout: 200 * time.Millisecond})
	src.Addr(t.Context())
	ours, theirs := net.Pipe() // which holds nothing
	served := make(chan struct{})
	go func() {
		src.ServeConn(theirs)
		close(served)
	}()
	c := &client{Conn: ours, t: t, version: 4}
	ours.SetDeadline(time.Now().Add(ingesttest.Patience))
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, Connect: packets.ConnectParams{
		ProtocolName: []byte("MQTT"), ClientIdentifier: "c", Clean: true,
	}})
	io.ReadFull(ours, make([]byte, 4))
	packet := c.encode(publishPacket("d", "21.5", 1, 1))
	for {
		if _, err := ours.Write(packet); err != nil {
			break
		}
	}
	<-served
	if n := len(custody.Taken(t, 0)); n > 100+maxBatchMessages {
		t.Errorf("%d messages were read", n)
	}
}

func TestStopDoesNotWaitForIdlePeers(t *testing.T) {
	src, stop := run(t, instant(), Config{Anonymous: true, Linger: time.Hour})
	src.Addr(t.Context())
	ours, theirs := net.Pipe()
	go src.ServeConn(theirs)
	c := &client{Conn: ours, t: t, in: bufio.NewReader(ours), version: 4}
	c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "c", Clean: true}})
	stop()
	c.hungUp()
}

func TestTwoHundredConnections(t *testing.T) {
	src := start(t, instant(), Config{})
	var all sync.WaitGroup
	for n := range 200 {
		c := connect(t, src, 4+byte(n%2), fmt.Sprint("c", n))
		all.Go(func() {
			for id := range uint16(10) {
				c.publish("d", "1", 1, id+1)
			}
			for id := range uint16(10) {
				if pk, err := c.next(ingesttest.Patience); err != nil || pk.PacketID != id+1 {
					t.Errorf("got %+v, %v", pk, err)
				}
			}
		})
	}
	all.Wait()
	if s := src.Stats(); s.Clients != 200 || s.Received != [3]uint64{0, 2000, 0} {
		t.Errorf("counted %+v", s)
	}
}

func TestTooManyConnectionsAreTurnedAway(t *testing.T) {
	for _, cfg := range []Config{{MaxClients: 2}, {MaxPerHost: 2}} {
		src := start(t, instant(), cfg)
		connect(t, src, 4, "a")
		gone := connect(t, src, 4, "b")
		dial(t, src).hungUp()
		gone.Close()
		retry(t, func() bool { return src.Stats().Clients == 1 })
		retry(t, func() bool {
			c := dial(t, src)
			_, err := c.Write(c.encode(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect},
				Connect: packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: "c", Clean: true}}))
			if err == nil {
				_, err = c.next(ingesttest.Patience)
			}
			return err == nil
		})
		if src.Stats().TurnedAway == 0 {
			t.Error("nobody was counted")
		}
	}
}

// retry calls until it returns true.
func retry(t *testing.T, until func() bool) {
	t.Helper()
	for end := time.Now().Add(ingesttest.Patience); !until(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("did not happen")
		}
	}
}

func TestOnlyTheAuthorizedConnect(t *testing.T) {
	src := start(t, instant(), Config{Authorize: func(_ context.Context, user string, password []byte) bool {
		return user == "u" && string(password) == "p"
	}})
	for password, want := range map[string]byte{"p": 0, "q": 5} {
		c := dial(t, src)
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, Connect: packets.ConnectParams{
			ProtocolName: []byte("MQTT"), ClientIdentifier: "c", Clean: true,
			UsernameFlag: true, Username: []byte("u"), PasswordFlag: true, Password: []byte(password),
		}})
		if ack := c.expect(packets.Connack, 0); ack.ReasonCode != want {
			t.Errorf("password %s: CONNACK says %d, want %d", password, ack.ReasonCode, want)
		}
	}
}

func TestNobodyConnectsByDefault(t *testing.T) {
	src, stop := run(t, instant(), Config{Linger: ingesttest.Patience})
	t.Cleanup(stop)
	c := dial(t, src)
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, Connect: packets.ConnectParams{
		ProtocolName: []byte("MQTT"), ClientIdentifier: "c", Clean: true,
	}})
	if ack := c.expect(packets.Connack, 0); ack.ReasonCode != 5 {
		t.Errorf("CONNACK says %d", ack.ReasonCode)
	}
}

func TestSubscriptionsOfAClientAreBounded(t *testing.T) {
	src := start(t, instant(), Config{})
	c := connect(t, src, 4, "c")
	for i := range maxSubscriptions {
		c.subscribe(1, 0, fmt.Sprint(i))
	}
	c.subscribe(1, 0, "0") // again
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 2,
		Filters: packets.Subscriptions{{Filter: "more"}}})
	if ack := c.expect(packets.Suback, 2); ack.ReasonCodes[0] != 0x80 {
		t.Errorf("SUBACK says %#x", ack.ReasonCodes)
	}
}

func TestRetainedMessagesAreBounded(t *testing.T) {
	var r retained
	retain := func(topic int, payload []byte) bool {
		m := &message{topic: fmt.Sprint(topic), payload: payload}
		room, news := r.admits(m)
		if room && news {
			r.set(m, nil)
		}
		return room
	}
	large := make([]byte, 1<<20-1024)
	admitted := 0
	for i := range 20 {
		if retain(i, large) {
			admitted++
		}
	}
	if admitted != 8 {
		t.Errorf("%d messages of 1 MiB were retained", admitted)
	}
	for i := range 20 {
		retain(i, nil)
	}
	if r.bytes != 0 || len(r.messages) != 0 {
		t.Errorf("%d bytes of %d messages are left of none", r.bytes, len(r.messages))
	}
	for i := range maxRetained + 1 {
		if retain(i, []byte("x")) != (i < maxRetained) {
			t.Fatalf("message %d", i)
		}
	}
	if !retain(0, []byte("yy")) {
		t.Error("a message in place of an older one was refused")
	}
}

func TestSessionsOfAbsentClientsAreBounded(t *testing.T) {
	src := start(t, instant(), Config{MaxClients: 10})
	for i := range 50 {
		c := resume(t, src, 4, fmt.Sprint(i))
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
		c.hungUp()
		c.Close()
	}
	if n := src.broker.server.Clients.Len(); n > maxAbsent*10+1 {
		t.Errorf("%d sessions are kept", n)
	}
}

// A few bytes must not reserve much memory, whatever they announce.
func TestAnnouncedSizesCostNothing(t *testing.T) {
	src := start(t, instant(), Config{})
	dial(t, src).Write([]byte("\x10\xff\xff\xff\x7f")) // CONNECT of 256 MiB
	clients := make([]*client, 100)
	for i := range clients {
		clients[i] = connect(t, src, 4, fmt.Sprint("c", i))
	}
	before := heap()
	for _, c := range clients {
		c.Write([]byte("\x30\xf0\xff\x0f\x00\x01d" + strings.Repeat("x", inputSize))) // of a publish of 256 KiB
	}
	retry(t, func() bool { return src.Stats().Bytes >= 100*inputSize })
	if grown := heap() - before; grown > 100*64<<10 {
		t.Errorf("heap grew by %d KiB", grown>>10)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
