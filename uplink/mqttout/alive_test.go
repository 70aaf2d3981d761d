package mqttout

import (
	"bufio"
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// log is what a server got, and when.
type log struct {
	mu     sync.Mutex
	began  time.Time
	mute   bool
	events []event
}

type event struct {
	at   time.Duration
	what string
}

func (l *log) add(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, event{time.Since(l.began).Round(time.Second), what})
}

func (l *log) take() []event {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.events
	l.events = nil
	return all
}

// piped is a sink in a bubble of its own time, before a server that answers
// until it is mute.
func piped(t *testing.T, change func(*Config)) (*Sink, *log) {
	record := &log{began: time.Now()}
	cfg := basic("server:1883")
	change(&cfg)
	var tasks sync.WaitGroup
	cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		record.add("connection")
		tasks.Go(func() { record.serve(far) })
		return near, nil
	}
	t.Cleanup(tasks.Wait)
	return newSink(t, cfg), record
}

func (l *log) serve(conn net.Conn) {
	defer conn.Close()
	defer l.add("end")
	c := &puppetConn{Conn: conn}
	r := newReader(conn)
	for {
		pk, err := readAsServer(r, c.level)
		if err != nil {
			return
		}
		what := packets.PacketNames[pk.FixedHeader.Type]
		if pk.FixedHeader.Type == packets.Publish && pk.FixedHeader.Qos == 0 {
			what += " " + string(pk.Payload)
		}
		l.add(what)
		l.mu.Lock()
		mute := l.mute
		l.mu.Unlock()
		switch {
		case mute:
		case pk.FixedHeader.Type == packets.Connect:
			c.level = pk.ProtocolVersion
			c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connack}})
		case pk.FixedHeader.Type == packets.Pingreq:
			c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingresp}})
		case pk.FixedHeader.Type == packets.Disconnect:
			return
		default:
			acceptAll(c, pk)
		}
	}
}

func expect(t *testing.T, l *log, want ...event) {
	t.Helper()
	synctest.Wait()
	if got := l.take(); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestADeadServerIsNoticedInTime: an idle connection is asked for a sign of
// life, and given up within one and a half times keepalive after the last one.
func TestADeadServerIsNoticedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, record := piped(t, func(c *Config) { c.KeepAlive = time.Minute })
		if err := sink.Send(t.Context(), cut(0, 1)); err != nil {
			t.Fatal(err)
		}
		expect(t, record, event{0, "connection"}, event{0, "Connect"}, event{0, "Publish"})
		pass(150 * time.Second)
		expect(t, record, event{60 * time.Second, "Pingreq"}, event{120 * time.Second, "Pingreq"})
		if err := sink.Send(t.Context(), cut(1, 1)); err != nil {
			t.Fatal(err)
		}
		expect(t, record, event{150 * time.Second, "Publish"})
		record.mu.Lock()
		record.mute = true
		record.mu.Unlock()
		pass(100 * time.Second)
		expect(t, record, event{210 * time.Second, "Pingreq"}, event{240 * time.Second, "end"})
		record.mu.Lock()
		record.mute = false
		record.mu.Unlock()
		if err := sink.Send(t.Context(), cut(2, 1)); err != nil {
			t.Fatal(err)
		}
		expect(t, record, event{250 * time.Second, "connection"}, event{250 * time.Second, "Connect"}, event{250 * time.Second, "Publish"})
	})
}

// TestTheSendersTimeHoldsWhileSomethingIsUnderWay, however long that is: on a
// slow link nothing may come back for minutes.
func TestTheSendersTimeHoldsWhileSomethingIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, record := piped(t, func(c *Config) { c.KeepAlive = 10 * time.Second })
		if err := sink.Send(t.Context(), cut(0, 1)); err != nil {
			t.Fatal(err)
		}
		record.mu.Lock()
		record.mute = true
		record.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		begun := time.Now()
		if err := sink.Send(ctx, cut(1, 1)); err == nil || time.Since(begun) != 5*time.Minute {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		synctest.Wait()
		pings := 0
		for _, e := range record.take() {
			if e.what == "Pingreq" {
				pings++
			}
		}
		if pings < 29 || pings > 31 {
			t.Errorf("%d questions in five minutes of ten seconds each", pings)
		}
		if sink.current.alive() {
			t.Error("a connection over which nothing has come is kept")
		}
	})
}

// TestAnIdleConnectionIsClosed where connections cost, with a word about it.
func TestAnIdleConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, record := piped(t, func(c *Config) {
			c.IdleClose = 30 * time.Second
			c.State = &State{Topic: "state", Online: "online", Idle: "idle", Offline: "offline"}
		})
		for n := range 3 { // work puts the end off
			if err := sink.Send(t.Context(), cut(n, 1)); err != nil {
				t.Fatal(err)
			}
			pass(20 * time.Second)
		}
		expect(t, record, event{0, "connection"}, event{0, "Connect"}, event{0, "Publish online"}, event{0, "Publish"},
			event{20 * time.Second, "Publish"}, event{40 * time.Second, "Publish"})
		pass(time.Hour)
		expect(t, record, event{70 * time.Second, "Publish idle"}, event{70 * time.Second, "Disconnect"}, event{70 * time.Second, "end"})
		begun := 60*time.Second + time.Hour
		if err := sink.Send(t.Context(), cut(3, 1)); err != nil {
			t.Fatal(err)
		}
		if err := sink.Close(); err != nil {
			t.Fatal(err)
		}
		expect(t, record, event{begun, "connection"}, event{begun, "Connect"}, event{begun, "Publish online"}, event{begun, "Publish"},
			event{begun, "Publish offline"}, event{begun, "Disconnect"}, event{begun, "end"})
	})
}

// TestAServerThatDoesNotHangUpIsNotWaitedFor.
func TestAServerThatDoesNotHangUpIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, record := piped(t, func(*Config) {})
		if err := sink.Send(t.Context(), cut(0, 1)); err != nil {
			t.Fatal(err)
		}
		record.mu.Lock()
		record.mute = true
		record.mu.Unlock()
		begun := time.Now()
		if err := sink.Close(); err != nil || time.Since(begun) > 2*linger {
			t.Errorf("closed after %v: %v", time.Since(begun), err)
		}
	})
}

// TestWithoutWorkNoTimerRuns that is not asked for.
func TestWithoutWorkNoTimerRuns(t *testing.T) {
	w := watch{wrote: time.Now()}
	if d := w.next(signs{heard: time.Now(), idle: time.Now()}); d < far-time.Minute {
		t.Errorf("something is due in %v", d)
	}
}

func newReader(conn net.Conn) *bufio.Reader { return bufio.NewReader(conn) }

// pass lets time pass, which costs none in a bubble.
func pass(d time.Duration) { <-time.After(d) }
