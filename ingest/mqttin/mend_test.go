package mqttin

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest/ingesttest"
)

var errDisk = errors.New("disk is gone")

// A publish of QoS 2 whose commit failed is sent again by its publisher: who
// subscribed must not have it from the first time, too.
func TestFailedCommitDoesNotRepeatQoS2(t *testing.T) {
	w := newWorld(t, Config{})
	reader := resume(t, w.src, 4, "reader")
	reader.subscribe(1, 2, "d")
	bye(reader)
	w.gone()
	writer := resume(t, w.src, 4, "writer")
	w.custody.CommitNever()
	writer.publish("d", "1", 2, 5)
	w.custody.Taken(t, 1)
	w.custody.Fail(errDisk)
	writer.hungUp()
	w.custody.CommitAtOnce()
	w.flush()
	writer = resume(t, w.src, 4, "writer")
	writer.publish("d", "1", 2, 5)
	writer.expect(packets.Pubrec, 5)
	if reader = resume(t, w.src, 4, "reader"); string(reader.read().Payload) != "1" {
		t.Error("the message was lost")
	}
	reader.silent()
}

// Not only sessions that last have messages of QoS 2 once.
func TestQoS2IsSentAfterTheCommit(t *testing.T) {
	custody := instant()
	src := start(t, custody, Config{})
	reader, writer := connect(t, src, 4, "reader"), connect(t, src, 4, "writer")
	reader.subscribe(1, 2, "d")
	custody.CommitNever()
	writer.publish("d", "1", 2, 5)
	custody.Taken(t, 1)
	reader.silent()
	custody.Commit()
	if got := reader.read(); string(got.Payload) != "1" || got.FixedHeader.Qos != 2 {
		t.Errorf("got %+v", got)
	}
}

// When the commit of a release failed, the exchange is still noted; PUBCOMP must
// not leave before it is not.
func TestReleaseIsNotedAfterAFailedCommit(t *testing.T) {
	w := newWorld(t, Config{})
	c := resume(t, w.src, 4, "c")
	c.publish("d", "1", 2, 5)
	c.expect(packets.Pubrec, 5)
	w.custody.CommitNever()
	pubrel := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, PacketID: 5}
	c.send(pubrel)
	retry(t, func() bool { return serving(w.src).session("c").exchanges() == 0 })
	w.custody.Fail(errDisk)
	c.hungUp()
	w.custody.CommitAtOnce()
	w.flush()
	c = resume(t, w.src, 4, "c")
	c.send(pubrel)
	c.expect(packets.Pubcomp, 5)
	for key := range w.custody.Noted() {
		if strings.HasPrefix(key, arrivalNotes) {
			t.Errorf("%s is noted", key)
		}
	}
}

// What was retained is not retained again after a crash because the commit that
// took it away failed, whether the client sends that again or not.
func TestRetainedIsTakenAwayAfterAFailedCommit(t *testing.T) {
	for _, again := range []bool{false, true} {
		w := newWorld(t, Config{})
		c := connect(t, w.src, 4, "c")
		retain(c, "state", "on")
		w.custody.CommitNever()
		pk := publishPacket("state", "", 1, 2)
		pk.FixedHeader.Retain = true
		c.send(pk)
		w.custody.Taken(t, 2)
		w.custody.Fail(errDisk)
		c.hungUp()
		w.custody.CommitAtOnce()
		if again {
			retain(connect(t, w.src, 4, "c"), "state", "")
		} else {
			w.flush()
		}
		if _, noted := w.custody.Noted()[retainedKey("state")]; noted {
			t.Errorf("sent again %v: it is noted", again)
		}
	}
}

// Who asks and does not read the answers is not read any more.
func TestAnswersAreBounded(t *testing.T) {
	src := start(t, instant(), Config{MaxUnacked: 10})
	src.Addr(t.Context())
	for name, pk := range map[string]packets.Packet{
		"releases":       {FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, PacketID: 5},
		"receipts":       {FixedHeader: packets.FixedHeader{Type: packets.Pubrec}, PacketID: 5},
		"the same again": publishPacket("d", "1", 2, 5),
	} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe() // which holds nothing
			served := make(chan struct{})
			go func() { defer close(served); src.ServeConn(far) }()
			c := newClient(t, near)
			c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "c", Clean: true}})
			bytes, n := c.encode(pk), 0
			for ; n < 1000; n++ {
				c.SetWriteDeadline(time.Now().Add(ingesttest.Impatience))
				if _, err := c.Write(bytes); err != nil {
					break
				}
			}
			if n == 1000 {
				t.Error("all were taken")
			}
			near.Close()
			<-served
		})
	}
}
