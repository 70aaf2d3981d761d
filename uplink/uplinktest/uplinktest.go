// Package uplinktest is the conformance suite that every door out passes:
//
//	func TestConformance(t *testing.T) {
//		uplinktest.Run(t, uplinktest.Door{New: newSink, Peer: newPeer})
//	}
//
// The door supplies its Sink, and a Peer: a small, real server of its protocol
// that asks a Judge what to answer. The suite supplies messages, judges, and a
// link between the two that it can cut.
package uplinktest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/internal/base/leaktest"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

// Verdict is what a Peer answers to a whole message.
type Verdict int

const (
	// Accept takes custody and says so.
	Accept Verdict = iota
	// Later refuses for now, without naming a delay.
	Later
	// Busy refuses and names a delay of BusyDelay.
	Busy
	// Never refuses these bytes for good.
	Never
	// Garbage answers something that is not of the protocol, or not an
	// acknowledgement.
	Garbage
)

// BusyDelay is the delay that Busy names.
const BusyDelay = 7 * time.Second

// Received is a message as it arrived at the Peer.
type Received struct {
	// Key is uplink.Key.String as the door carries it.
	Key string
	// Body is what was sent, any transfer encoding removed.
	Body []byte
}

// Judge decides about a message that has arrived whole. It may block: the peer
// must not answer before it returns. Several messages may be judged at once.
type Judge func(Received) Verdict

// Door is a door out under test.
type Door struct {
	// New returns a Sink that talks to the peer at address, host:port, through
	// dial; nil stands for the network as it is. The suite closes a Sink that is
	// an io.Closer.
	New func(t *testing.T, address string, dial uplink.Dial) uplink.Sink
	// Peer starts a server of the protocol that answers as judge says, and
	// returns its address, host:port. It stops with t.Cleanup.
	Peer func(t *testing.T, judge Judge) string
	// Lacks are the verdicts that the protocol has no answer for.
	Lacks []Verdict
}

// patience bounds everything that must happen soon, on a machine that has much else
// to do. A Sink's own bounds are shorter: whoever ignores his context is found out.
const patience = 30 * time.Second

// Run runs the suite as subtests of t.
func Run(t *testing.T, door Door) {
	t.Run("NilMeansCustody", door.nilMeansCustody)
	t.Run("FailuresHaveTheirClass", door.failuresHaveTheirClass)
	t.Run("ResendRepeatsEveryByte", door.resendRepeatsEveryByte)
	t.Run("CutInTheMiddle", door.cutInTheMiddle)
	t.Run("SilenceEndsWithTheContext", door.silenceEndsWithTheContext)
	t.Run("Stuck", door.stuck)
	t.Run("TooLate", door.tooLate)
	t.Run("TooLateAmongOthers", door.tooLateAmongOthers)
	t.Run("CutShort", door.cutShort)
	t.Run("CutShortAtFirst", door.cutShortAtFirst)
	t.Run("NobodyThere", door.nobodyThere)
	t.Run("NothingToSend", door.nothingToSend)
	t.Run("ManyAtOnce", door.manyAtOnce)
	t.Run("LeavesNothingBehind", door.leavesNothingBehind)
}

// sink returns a Sink that is closed at the end of the test.
func (d Door) sink(t *testing.T, address string) uplink.Sink {
	t.Helper()
	return d.sinkThrough(t, address, nil)
}

func (d Door) sinkThrough(t *testing.T, address string, dial uplink.Dial) uplink.Sink {
	t.Helper()
	s := d.New(t, address, dial)
	if c, ok := s.(io.Closer); ok {
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	return s
}

// message returns the n-th message: a body of size bytes that no transport can
// compress, the same for the same arguments.
func message(n, size int) uplink.Message {
	first := uint64(n)*100 + 1
	var body []byte
	for block := uint64(0); len(body) < size; block++ {
		seed := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, first), block)
		sum := sha256.Sum256(seed)
		body = append(body, sum[:]...)
	}
	return uplink.Message{
		Key:         uplink.Key{Gateway: "conformance", Epoch: 0xfeed0123, Lane: reading.Normal, First: first, Last: first + 99},
		Count:       100,
		ContentType: "application/vnd.tidegate.chunk",
		Body:        body[:size],
	}
}

// within returns a context that ends the test's patience.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// nothingToSend: an encoder that has no words for any reading of a message returns
// parts that are none. The message is delivered then, and nobody is bothered with it.
func (d Door) nothingToSend(t *testing.T) {
	sink := d.sink(t, d.Peer(t, func(r Received) Verdict {
		t.Errorf("the peer got %d bytes as %q", len(r.Body), r.Key)
		return Never
	}))
	m := message(1, 1)
	m.Body, m.Parts = nil, []uplink.Part{}
	ctx := within(t)
	if err := sink.Send(ctx, m); err != nil || ctx.Err() != nil {
		t.Errorf("nothing to send: %v, %v", err, ctx.Err())
	}
}

// leavesNothingBehind: a Sink that was used and closed has no goroutines left.
func (d Door) leavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("Use", func(t *testing.T) {
		sink := d.sink(t, d.Peer(t, func(Received) Verdict { return Accept }))
		if err := sink.Send(within(t), message(1, 1000)); err != nil {
			t.Fatal(err)
		}
	})
	leaktest.None(t, before)
}
