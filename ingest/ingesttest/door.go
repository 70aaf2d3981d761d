package ingesttest

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/internal/base/leaktest"
)

// Door is how the suite gets to know a door in.
type Door struct {
	// New returns a source that does not run yet.
	New func(t *testing.T) ingest.Source
	// Speak connects a peer to a running source, waiting until it can. The
	// peer closes with the test.
	Speak func(t *testing.T, source ingest.Source) Peer
	// Silent says that the transport has no acknowledgements: only what
	// concerns stopping and hostile bytes is tested then.
	Silent bool
}

// Peer is a device at the other end of a door.
type Peer interface {
	// Send hands over the n-th message, which carries one reading, without
	// waiting for anything. n counts from zero.
	Send(n int)
	// Acked waits for the next positive acknowledgement and returns the number
	// of its message. An error means that there was none by the end of ctx, or
	// that a negative one came, or that the connection ended.
	Acked(ctx context.Context) (n int, err error)
	// Garbage sends bytes as they are. The door may close the connection.
	Garbage(b []byte)
}

// Run tests a door.
func Run(t *testing.T, door Door) {
	t.Run("StopsPromptly", door.stopsPromptly)
	t.Run("SurvivesHostileBytes", door.survivesHostileBytes)
	if door.Silent {
		return
	}
	t.Run("NoAckBeforeReceipt", door.noAckBeforeReceipt)
	t.Run("NoAckWhenRefused", door.noAckWhenRefused)
	t.Run("NoAckWhenCommitFails", door.noAckWhenCommitFails)
}

func (d Door) noAckBeforeReceipt(t *testing.T) {
	custody := NewCustody()
	peer := d.Speak(t, d.start(t, custody))
	const messages = 5
	for n := range messages {
		peer.Send(n)
	}
	custody.Taken(t, messages)
	mustNotAck(t, peer)
	custody.Commit()
	for n := range messages {
		mustAck(t, peer, n)
	}
}

func (d Door) noAckWhenRefused(t *testing.T) {
	custody := NewCustody()
	peer := d.Speak(t, d.start(t, custody))
	custody.Refuse(ingest.ErrFull)
	peer.Send(0)
	mustNotAck(t, peer)
}

func (d Door) noAckWhenCommitFails(t *testing.T) {
	custody := NewCustody()
	peer := d.Speak(t, d.start(t, custody))
	peer.Send(0)
	custody.Taken(t, 1)
	custody.Fail(errors.New("disk is gone"))
	mustNotAck(t, peer)
}

func (d Door) stopsPromptly(t *testing.T) {
	defer leaktest.None(t, goleak.IgnoreCurrent())
	custody := NewCustody() // whose receipts never resolve
	source := d.New(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx, ingest.NewIntake(custody, nil, time.Now)) }()
	d.Speak(t, source).Send(0)
	custody.Taken(t, 1)
	cancel()
	mustEnd(t, ended)
}

func (d Door) survivesHostileBytes(t *testing.T) {
	custody := NewCustody()
	source := d.start(t, custody)
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		b := make([]byte, random.IntN(2000))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		d.Speak(t, source).Garbage(b)
	}
	before := len(custody.Taken(t, 0))
	d.Speak(t, source).Send(0)
	custody.Taken(t, before+1)
}

// start runs a new source until the test ends.
func (d Door) start(t *testing.T, custody ingest.Custody) ingest.Source {
	t.Helper()
	source := d.New(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx, ingest.NewIntake(custody, nil, time.Now)) }()
	t.Cleanup(func() {
		cancel()
		mustEnd(t, ended)
	})
	return source
}

func mustEnd(t *testing.T, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("run: %v", err)
		}
	case <-time.After(Patience):
		t.Error("run did not return")
	}
}

func mustAck(t *testing.T, peer Peer, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	if n, err := peer.Acked(ctx); err != nil || n != want {
		t.Fatalf("acknowledged: %d, %v; want %d", n, err, want)
	}
}

func mustNotAck(t *testing.T, peer Peer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Impatience)
	defer cancel()
	if n, err := peer.Acked(ctx); err == nil {
		t.Fatalf("message %d was acknowledged", n)
	}
}
