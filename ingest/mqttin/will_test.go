package mqttin

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// willing connects a client with a will. delay and the session's time are in
// seconds; no time stands for a session that ends with its connection.
func willing(w *world, id string, lasts, delay uint32) *client {
	w.t.Helper()
	c := dial(w.t, w.src)
	c.version = 5
	c.hello(packets.Packet{
		Connect: packets.ConnectParams{ClientIdentifier: id, Keepalive: 60, Clean: lasts == 0,
			WillFlag: true, WillTopic: "status/" + id, WillPayload: []byte("offline"), WillQos: 1, WillRetain: true,
			WillProperties: packets.Properties{WillDelayInterval: delay, ContentType: "text"}},
		Properties: packets.Properties{SessionExpiryInterval: lasts, SessionExpiryIntervalFlag: lasts > 0},
	})
	return c
}

// wills returns how many wills were taken for readings.
func (w *world) wills() (n int) {
	for _, r := range w.custody.Taken(w.t, 0) {
		if r.Value.Text() == "offline" {
			n++
		}
	}
	return n
}

// retainedStatus returns the retained status of a client, empty for none.
func (w *world) retainedStatus(id string) string {
	m := serving(w.src).retained.get("status/" + id)
	if m == nil {
		return ""
	}
	return string(m.payload)
}

// The power went while the client was connected: its connection ended without
// DISCONNECT. The will is published once, whatever comes after.
func TestWillOfACrashIsPublished(t *testing.T) {
	for _, lasts := range []uint32{0, 3600} {
		w := newWorld(t, Config{})
		willing(w, "c", lasts, 0)
		watcher := resume(t, w.src, 5, "watcher")
		watcher.subscribe(1, 1, "status/#")
		bye(watcher)
		w.crash()
		watcher = resume(t, w.src, 5, "watcher")
		got := watcher.read()
		if string(got.Payload) != "offline" || got.Properties.ContentType != "text" || got.FixedHeader.Qos != 1 {
			t.Errorf("got %+v", got)
		}
		watcher.puback(got.PacketID)
		if w.wills() != 1 || w.retainedStatus("c") != "offline" {
			t.Errorf("%d wills, status %q", w.wills(), w.retainedStatus("c"))
		}
		w.crash()
		w.crash()
		if n := w.wills(); n != 1 {
			t.Errorf("after two more crashes %d wills", n)
		}
	}
}

func TestNoWillIsPublishedByAGatewayThatIsStopped(t *testing.T) {
	for _, lasts := range []uint32{0, 3600} {
		w := newWorld(t, Config{})
		willing(w, "c", lasts, 0)
		willing(w, "delayed", 3600, 60)
		w.restart()
		w.flush()
		if n := w.wills(); n != 0 {
			t.Errorf("%d wills", n)
		}
	}
}

// DISCONNECT takes the will away, for the time after a crash, too.
func TestNoWillAfterDisconnectAndCrash(t *testing.T) {
	w := newWorld(t, Config{})
	c := willing(w, "c", 3600, 0)
	bye(c)
	w.gone()
	w.crash()
	w.flush()
	if n := w.wills(); n != 0 {
		t.Errorf("%d wills", n)
	}
}

// clocked returns a world whose clock is the test's.
func clocked(t *testing.T, f *fakeClock) *world {
	w := newWorld(t, Config{SessionExpiry: 48 * time.Hour})
	w.clock = f
	w.restart()
	return w
}

func TestDelayedWills(t *testing.T) {
	for name, tt := range map[string]struct {
		meanwhile func(w *world, f *fakeClock)
		want      int
	}{
		"the delay is over": {func(w *world, f *fakeClock) { w.pass(61 * time.Second) }, 1},
		"not yet":           {func(w *world, f *fakeClock) { w.pass(59 * time.Second) }, 0},
		"it came back":      {func(w *world, f *fakeClock) { resume(w.t, w.src, 5, "c"); w.pass(61 * time.Second) }, 0},
		"it began anew":     {func(w *world, f *fakeClock) { connect(w.t, w.src, 5, "c") }, 1},
		"a crash in between": {func(w *world, f *fakeClock) {
			w.crash()
			w.pass(61 * time.Second)
			w.crash()
			w.pass(61 * time.Second)
		}, 1},
		"it came back after a crash": {func(w *world, f *fakeClock) {
			w.crash()
			resume(w.t, w.src, 5, "c")
			w.pass(61 * time.Second)
		}, 0},
		"the clock jumps": {func(w *world, f *fakeClock) { f.jump(); w.flush() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeClock{boot: 1, up: time.Hour, time: time.Unix(0, 0)}
			w := clocked(t, f)
			willing(w, "c", 3600, 60).Close()
			w.gone()
			tt.meanwhile(w, f)
			if n := w.wills(); n != tt.want {
				t.Errorf("%d wills, want %d", n, tt.want)
			}
		})
	}
}

// A session ends when its time is over, by a clock that cannot be set, and
// across restarts by the wall clock only where that could be believed.
func TestSessionsEndInTheirTime(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		synced bool
		later  func(w *world, f *fakeClock)
		lives  bool
	}{
		"soon": {true, func(w *world, f *fakeClock) { w.pass(47 * time.Hour) }, true},
		"later": {true, func(w *world, f *fakeClock) {
			w.pass(49 * time.Hour)
			if n := w.src.Stats().Expired; n != 1 {
				w.t.Errorf("%d expired", n)
			}
		}, false},
		"the clock jumps": {false, func(w *world, f *fakeClock) { f.jump(); w.flush() }, true},
		"restarted in the same boot": {false, func(w *world, f *fakeClock) {
			f.pass(49 * time.Hour)
			w.restart()
			w.flush()
		}, false},
		"off for long, and the clock was right": {true, func(w *world, f *fakeClock) {
			w.restart()
			f.reboot(49*time.Hour, true)
			w.restart()
			w.flush()
		}, false},
		"off for long, and the clock is not right yet": {true, func(w *world, f *fakeClock) {
			w.restart()
			f.reboot(49*time.Hour, false)
			w.restart()
			w.flush()
		}, true},
		"off, and the clock had been wrong": {false, func(w *world, f *fakeClock) {
			w.restart()
			f.reboot(50*365*24*time.Hour, true)
			w.restart()
			w.flush()
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeClock{boot: 1, up: time.Hour, time: begin, synced: tt.synced}
			w := clocked(t, f)
			c := resume(t, w.src, 4, "c")
			c.subscribe(1, 1, "#")
			bye(c)
			w.gone()
			tt.later(w, f)
			c = dial(t, w.src)
			ack := c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "c", Keepalive: 60}})
			if ack.SessionPresent != tt.lives {
				t.Errorf("session present: %v", ack.SessionPresent)
			}
		})
	}
}

// MQTT 5 clients are told when they get less than they wanted.
func TestConnackSaysHowLongASessionLasts(t *testing.T) {
	w := newWorld(t, Config{SessionExpiry: time.Hour})
	for wanted, told := range map[uint32]uint32{60: 0, 3600: 0, 7200: 3600, 0xFFFFFFFF: 3600} {
		c := dial(t, w.src)
		c.version = 5
		ack := c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: fmt.Sprint(wanted)},
			Properties: packets.Properties{SessionExpiryInterval: wanted, SessionExpiryIntervalFlag: true}})
		if got := ack.Properties.SessionExpiryInterval; got != told {
			t.Errorf("wanted %d s, was told %d", wanted, got)
		}
	}
}

// Messages and retained messages of MQTT 5 expire while nobody is there, and by
// the same clock.
func TestMessagesExpire(t *testing.T) {
	f := &fakeClock{boot: 1, up: time.Hour, time: time.Unix(0, 0)}
	w := clocked(t, f)
	c := resume(t, w.src, 5, "c")
	c.subscribe(1, 1, "#")
	bye(c)
	w.gone()
	writer := connect(t, w.src, 5, "writer")
	for i, seconds := range []uint32{10, 100} {
		pk := publishPacket(fmt.Sprint("d", i), "x", 1, 1)
		pk.FixedHeader.Retain = true
		pk.Properties.MessageExpiryInterval = seconds
		writer.send(pk)
		writer.expect(packets.Puback, 1)
	}
	w.pass(5 * time.Second)
	w.crash()
	w.pass(6 * time.Second)
	c = resume(t, w.src, 5, "c")
	if got := c.read(); got.TopicName != "d1" || got.Properties.MessageExpiryInterval != 89 {
		t.Errorf("got %+v", got)
	}
	c.silent()
	if n := serving(w.src).retained.count(); n != 1 {
		t.Errorf("%d are retained", n)
	}
}

// Messages that nobody will be sent any more take nobody's room.
func TestExpiredMessagesMakeRoom(t *testing.T) {
	f := &fakeClock{boot: 1, up: time.Hour, time: time.Unix(0, 0)}
	w := clocked(t, f)
	c := resume(t, w.src, 5, "c")
	c.subscribe(1, 1, "#")
	bye(c)
	w.gone()
	writer := connect(t, w.src, 5, "writer")
	pk := publishPacket("d", "old", 1, 1)
	pk.Properties.MessageExpiryInterval = 10
	for range maxWaiting {
		writer.send(pk)
		writer.expect(packets.Puback, 1)
	}
	w.pass(11 * time.Second)
	publishAcked(writer, "d", "new")
	if got := resume(t, w.src, 5, "c").read(); string(got.Payload) != "new" {
		t.Errorf("got %+v", got)
	}
	if n := w.src.Stats().Undelivered; n != 0 {
		t.Errorf("%d undelivered", n)
	}
}

// With a Receive Maximum of MQTT 5, no more than that is under way, in order.
func TestReceiveMaximumIsHonoured(t *testing.T) {
	w := newWorld(t, Config{})
	c := dial(t, w.src)
	c.version = 5
	c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "c", Clean: true},
		Properties: packets.Properties{ReceiveMaximum: 3, MaximumPacketSize: 100}})
	c.subscribe(1, 1, "d")
	writer := connect(t, w.src, 4, "writer")
	for i := range 10 {
		publishAcked(writer, "d", fmt.Sprint(i))
		publishAcked(writer, "d", fmt.Sprintf("%0100d", i)) // larger than the client takes
	}
	var ids []uint16
	for i := range 10 {
		got := c.read()
		if string(got.Payload) != fmt.Sprint(i) {
			t.Fatalf("got %s, want %d", got.Payload, i)
		}
		if ids = append(ids, got.PacketID); len(ids) == 3 {
			c.silent()
			for _, id := range ids {
				c.puback(id)
			}
			ids = nil
		}
	}
}
