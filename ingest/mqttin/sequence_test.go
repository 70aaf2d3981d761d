package mqttin

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// slow is a custody for which one note takes its time.
type slow struct {
	*ingesttest.Custody
	mu    sync.Mutex
	which func(reading.Note) bool // nil for none
	came  chan struct{}           // closed when it has come
	goOn  chan struct{}
}

func newSlow() *slow { return &slow{Custody: instant()} }

// holdUp makes custody take its time for the next such note: came is closed when
// it has come, and it is taken when goOn is.
func (s *slow) holdUp(which func(reading.Note) bool) (came, goOn chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.which, s.came, s.goOn = which, make(chan struct{}), make(chan struct{})
	return s.came, s.goOn
}

// Accept implements ingest.Custody.
func (s *slow) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	if goOn := s.meets(notes); goOn != nil {
		<-goOn
	}
	return s.Custody.Accept(ctx, rs, notes...)
}

func (s *slow) meets(notes []reading.Note) (goOn chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range notes {
		if s.which != nil && s.which(n) {
			s.which = nil
			close(s.came)
			return s.goOn
		}
	}
	return nil
}

// ofSession says whether a note is what a session is, and not that it has ended.
func ofSession(n reading.Note) bool { return strings.HasPrefix(n.Key, sessionNotes) && n.Value != nil }

// notedSession is the one session that is noted.
func notedSession(t *testing.T, noted map[string][]byte) (n sessionNote) {
	t.Helper()
	found := 0
	for key, value := range noted {
		if !strings.HasPrefix(key, sessionNotes) {
			continue
		}
		found++
		var err error
		if n, err = parseSessionNote(value, machineClock()); err != nil {
			t.Fatal(err)
		}
	}
	if found != 1 {
		t.Fatalf("%d sessions are noted, want 1", found)
	}
	return n
}

// lasting is the CONNECT of a client of MQTT 5 whose session lasts.
func lasting(id string, clean bool, seconds uint32) packets.Packet {
	return packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Connect},
		Connect:     packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: id, Clean: clean, Keepalive: 60},
		Properties:  packets.Properties{SessionExpiryInterval: seconds, SessionExpiryIntervalFlag: true},
	}
}

// gone waits until no client of a source is connected.
func gone(t *testing.T, src *Source) {
	t.Helper()
	(&world{t: t, src: src}).gone()
}

// A client that begins anew is not sent what it had subscribed to before, not even
// what is published while it begins.
func TestNothingOfTheOldSessionReachesTheNewOne(t *testing.T) {
	custody := newSlow()
	src := start(t, custody, Config{})
	reader := dial(t, src)
	reader.version = 5
	reader.hello(lasting("reader", true, 100))
	reader.subscribe(1, 1, "a")
	bye(reader)
	gone(t, src)
	writer := connect(t, src, 4, "writer")
	came, goOn := custody.holdUp(ofSession)
	reader = dial(t, src)
	reader.version = 5
	reader.send(lasting("reader", true, 100))
	<-came
	publishAcked(writer, "a", "1")
	close(goOn)
	if ack := reader.read(); ack.FixedHeader.Type != packets.Connack || ack.SessionPresent {
		t.Fatalf("got %+v", ack)
	}
	if n, _ := serving(src).session("reader").holds(); n != 0 {
		t.Errorf("%d messages wait for a client that has subscribed to nothing", n)
	}
}

// A delayed will is published, and the client comes back at the same time: what is
// noted of the session in the end is that it is there, with what it has subscribed to.
func TestADelayedWillDoesNotOverwriteWhoComesBack(t *testing.T) {
	f := &fakeClock{up: time.Hour, time: time.Now(), synced: true}
	custody := newSlow()
	src, stop := runAt(t, custody, Config{Anonymous: true, SysInterval: -1}, f.clock())
	t.Cleanup(stop)
	c := willing(&world{t: t, src: src}, "c", 100, 10)
	c.Close()
	gone(t, src)
	f.pass(20 * time.Second)
	came, goOn := custody.holdUp(ofSession)
	tended := make(chan struct{})
	go func() { defer close(tended); serving(src).tendOnce() }()
	<-came // with the will
	back := make(chan struct{})
	c = dial(t, src)
	c.version = 5
	go func() {
		defer close(back)
		c.hello(lasting("c", false, 100))
		c.subscribe(1, 1, "x")
	}()
	select {
	case <-back: // it does not wait
	case <-time.After(ingesttest.Impatience):
	}
	close(goOn)
	<-tended
	<-back
	if n := notedSession(t, custody.Noted()); !n.connected || len(n.subscriptions) != 1 {
		t.Errorf("noted is %+v", n)
	}
}

// Between two connections a session does not lose what it has subscribed to, not
// even for a moment: not in what is noted of it, and for no message.
func TestASessionMovesWithItsSubscriptions(t *testing.T) {
	src := start(t, instant(), Config{})
	reader := resume(t, src, 4, "reader")
	reader.subscribe(1, 1, "a/+/#")
	bye(reader)
	gone(t, src)
	b := serving(src)
	s := b.session("reader")
	before := s.client
	cl := b.server.NewClient(nil, "mqtt", "reader", false)
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	c := newConn(b, far, false)
	c.version = 4
	s.resume(c, cl, packets.Packet{ProtocolVersion: 4})
	before.State.Subscriptions.Delete("a/+/#") // as the server does, before it knows the new one
	n, err := parseSessionNote(s.note().Value, b.clock)
	if err != nil || !n.connected || len(n.subscriptions) != 1 {
		t.Errorf("noted is %+v, %v", n, err)
	}
	if _, found := b.subscribersTo("a/b").Subscriptions["reader"]; !found {
		t.Error("a message would pass by the session")
	}
	s.detach()
}

// A session that ends before its client heard of it has ended for the server, too.
func TestASessionEndsWhoseConnectionEndsBeforeConnack(t *testing.T) {
	custody := newSlow()
	src := start(t, custody, Config{})
	reader := dial(t, src)
	reader.version = 5
	reader.hello(lasting("reader", true, 100))
	reader.subscribe(1, 1, "a")
	bye(reader)
	gone(t, src)
	came, goOn := custody.holdUp(ofSession)
	reader = dial(t, src)
	reader.version = 5
	reader.send(lasting("reader", false, 0)) // it ends with this connection
	<-came
	serving(src).session("reader").connection().gate.Close()
	close(goOn)
	reader.hungUp()
	reader.Close()
	gone(t, src)
	if found := serving(src).subscribersTo("a").Subscriptions; len(found) != 0 {
		t.Errorf("subscribed are %+v", found)
	}
	reader = dial(t, src)
	reader.version = 5
	if reader.hello(lasting("reader", false, 100)).SessionPresent {
		t.Error("the session that has ended is there")
	}
}
