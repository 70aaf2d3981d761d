package stompout

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"github.com/tidegate/tidegate/uplink/onelink"
)

// A receipt that comes twice is that of one part only.
func TestReceiptCountsOnce(t *testing.T) {
	address, _, arrived := collector(t)
	sink := newSink(t, Config{Address: address})
	ctx := within(t, soon)
	ended := begin(ctx, sink, inParts(message(0, 30), "a", "b", "c"))
	all := []sent{receive(t, arrived), receive(t, arrived), receive(t, arrived)}
	for range 3 {
		all[0].receipt()
	}
	// Receipts are heard in their order, so those three have been when this one is.
	marker := begin(ctx, sink, message(1, 30))
	receive(t, arrived).receipt()
	if err := receive(t, marker); err != nil {
		t.Fatal(err)
	}
	l := linkOf(t, sink)
	l.mu.Lock()
	if len(l.flying) != 1 {
		t.Error("it has ended, and two parts have no receipt")
	}
	l.mu.Unlock()
	all[1].receipt()
	all[2].receipt()
	if err := receive(t, ended); err != nil {
		t.Error(err)
	}
}

// What has not been written yet cannot have been confirmed, whatever a server says.
func TestReceiptForWhatWasNotSentIsNone(t *testing.T) {
	f := &flight{first: 1, count: 1, missing: 1, done: make(chan struct{})}
	l := &link{receipts: map[uint64]*flight{1: f}, flying: map[*flight]struct{}{f: {}}}
	l.land("1")
	select {
	case <-f.done:
		t.Error("it was taken for custody")
	default:
	}
	f.begun = true
	l.land("1")
	<-f.done
}

// What nobody waits for any more, and of which nothing was written, is not written.
func TestWhatIsGivenUpInTimeIsNotSent(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	l := &link{wire: onelink.Over(near), stir: make(chan struct{}, 1), gone: make(chan struct{}), flying: make(map[*flight]struct{}), receipts: make(map[uint64]*flight), left: newLeftovers()}
	f, err := l.depart(message(0, 10))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.giveUp(ctx, f, message(0, 10), -1); !errors.Is(err, context.Canceled) { // something else was heard
		t.Error(err)
	}
	if next, _ := l.next(); next != nil || len(l.receipts) != 0 || len(l.flying) != 0 {
		t.Errorf("%+v is sent, %d receipts are waited for, %d messages under way", next, len(l.receipts), len(l.flying))
	}
}

// What has failed while nobody waited is sent again.
func TestFailedLeftoverIsNotClaimed(t *testing.T) {
	left, m := newLeftovers(), message(0, 10)
	f := &flight{err: errors.New("refused"), done: make(chan struct{})}
	close(f.done)
	left.keep(m, f)
	if got := left.claim(m); got != nil {
		t.Errorf("%+v", got)
	}
}

// Small messages share packets: what is sent in one go is written in few writes.
func TestPartsShareWrites(t *testing.T) {
	address := (&fakeServer{answer: func(c *fakeConn, f *frame) { c.say(receiptCommand, "", "receipt-id", f.get("receipt")) }}).serve(t)
	var writes atomic.Int32
	sink := newSink(t, Config{Address: address, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return counter{c, &writes}, err
	}})
	if err := sink.Send(within(t, soon), message(0, 10)); err != nil {
		t.Fatal(err)
	}
	before := writes.Load()
	if err := sink.Send(within(t, soon), inParts(message(1, 500), make([]string, 500)...)); err != nil {
		t.Fatal(err)
	}
	if n := writes.Load() - before; n > 20 {
		t.Errorf("500 messages took %d writes", n)
	}
}

type counter struct {
	net.Conn
	writes *atomic.Int32
}

func (c counter) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}
