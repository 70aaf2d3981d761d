package linein

import (
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// Replies are told apart by their order alone: that to a frame which leaves nothing
// to wait for is not sent before those of the frames before it.
func TestNoReplyOvertakesAnother(t *testing.T) {
	cfg := config()
	cfg.Reply, cfg.Target.KeepOpaque = "+\n", false
	custody := ingesttest.NewCustody()
	w := startOn(t, cfg, custody)
	conn := dial(t, "tcp", w.Source)
	w.send(conn, "1\n")
	custody.Taken(t, 1)
	w.send(conn, "no JSON\n")
	w.until("dropped", func(s Stats) bool { return s.Dropped == 1 })
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		b := make([]byte, 10)
		n, _ := conn.Read(b)
		got <- string(b[:n])
		rest, _ := io.ReadAll(conn)
		got <- string(rest)
	}()
	select {
	case early := <-got:
		t.Fatalf("%q came before anything was stored", early)
	case <-time.After(50 * time.Millisecond):
	}
	custody.CommitAtOnce()
	if all := <-got + <-got; all != "+\n+\n" {
		t.Errorf("%q", all)
	}
}

func TestPeersThatReadNoRepliesAreClosed(t *testing.T) {
	cfg := config()
	cfg.Reply, cfg.WriteTimeout = strings.Repeat("r", MaxReply), 50*time.Millisecond
	w := start(t, cfg)
	crowd(t, w, 1, strings.Repeat("1\n", 400_000))
	w.until("closed", func(s Stats) bool { return s.Slow == 1 && s.Clients == 0 })
}

// A stop waits neither for peers that say nothing nor for handshakes.
func TestAStopWaitsForNobody(t *testing.T) {
	for name, secure := range map[string]bool{"silent": false, "in a handshake": true} {
		cfg := config()
		if secure {
			cfg.TLS, cfg.ConnectTimeout = serverTLS(t), time.Hour
		}
		w := start(t, cfg)
		for range 3 {
			dial(t, "tcp", w.Source)
		}
		w.until("all", func(s Stats) bool { return s.Clients == 3 })
		w.stop()
		select {
		case err := <-w.ended:
			w.ended <- err
		case <-time.After(ingesttest.Patience):
			t.Errorf("%s: it waits", name)
		}
	}
}

// What the gateway makes a peer wait for is not the time of the frame under way.
func TestWaitsAreNotTheTimeOfAFrame(t *testing.T) {
	cfg := config()
	cfg.MaxRate, cfg.FrameTimeout = 1, time.Second
	got := hearIn(t, cfg, committing(), &scripted{events: []event{
		{text: "1\n2\n3\n4\n5"}, {after: 100 * time.Millisecond, text: "6"}, {text: "7\n"}, {after: time.Hour, err: io.EOF},
	}}, nil)
	if want := []string{"m=1", "m=2", "m=3", "m=4", "m=567"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	cfg.MaxRate = 0
	got = hearIn(t, cfg, committing(), &scripted{events: []event{
		{text: "1\n2"}, {after: 100 * time.Millisecond, text: "3"}, {text: "4\n"}, {after: time.Hour, err: io.EOF},
	}}, func(d *door) { // somebody else has all of the room meanwhile
		<-time.After(50 * time.Millisecond) // of the bubble
		if err := d.room.take(context.Background(), inHand); err != nil {
			t.Error(err)
		}
		<-time.After(5 * time.Second)
		d.room.give(inHand)
	})
	if want := []string{"m=1", "m=234"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The addresses of those who have left are forgotten.
func TestHostsAreForgotten(t *testing.T) {
	d := newDoor(newSource(t, config()), nil)
	for range 3 {
		leave, ok := d.admit(&scripted{})
		if !ok || len(d.hosts.open) != 1 {
			t.Fatal(ok, d.hosts.open)
		}
		leave()
	}
	if len(d.hosts.open) > 0 || d.stats.clients.Load() != 0 {
		t.Error(d.hosts.open)
	}
}

// Room that was given to somebody who has gone is given back.
func TestRoomThatComesTooLateIsGivenBack(t *testing.T) {
	r := room{}
	late := &waiter{want: 5, ready: make(chan struct{})}
	r.waiting = []*waiter{late}
	r.give(5)
	<-late.ready
	if r.leave(late); r.left != 5 {
		t.Errorf("%d are left of 5", r.left)
	}
}

// What waits in the queue when the gateway stops goes to custody, whichever of the
// two is noticed first.
func TestAStopTakesTheQueueAlong(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for range 50 {
		custody := ingesttest.NewCustody()
		r := newReceiver(newDoor(newSource(t, udpConfig(frame.Gap)), ingest.NewIntake(custody, nil, time.Now)), nil)
		q := &queue{limit: 1 << 10, filling: new(slab), ready: make(chan struct{}, 1)}
		for _, text := range []string{"1", "2"} {
			if !q.put(netip.AddrPort{}, []byte(text)) {
				t.Fatal("no room")
			}
		}
		r.run(stopped, q)
		if got := len(custody.Taken(t, 0)); got != 2 {
			t.Fatalf("%d were taken of 2", got)
		}
	}
}

// What the kernel lost before this program looked is in the counts of the door.
func TestTheDoorCountsWhatTheKernelLost(t *testing.T) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn := packets.(*net.UDPConn)
	deepen(conn, 4096)
	to := dialUDP(t, conn)
	for range 1000 {
		if _, err := to.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{Source: newSource(t, udpConfig(frame.Gap)), t: t}
	d := newDoor(w.Source, nil)
	filled := make(chan error, 1)
	q := &queue{limit: 1 << 20, filling: new(slab), ready: make(chan struct{}, 1)}
	go func() { filled <- d.fill(conn, q) }()
	w.until("told", func(s Stats) bool {
		_, err := to.Write([]byte("y")) // with which the kernel tells
		return err != nil || s.Missed > 0
	})
	conn.Close()
	<-filled
	if all := w.Stats().Missed + uint64(len(q.filling.list)); all < 1000 {
		t.Errorf("%d of 1000 are accounted for", all)
	}
}

func dialUDP(t *testing.T, to *net.UDPConn) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", to.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
