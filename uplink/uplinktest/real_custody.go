package uplinktest

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/internal/base/leaktest"
	"github.com/tidegate/tidegate/uplink"
)

// takesAndKeeps: what the server has taken is there, byte for byte, after it was
// killed and started again; and the Sink goes on with the server that came back.
func (r Real) takesAndKeeps(t *testing.T) {
	s, b := r.Server(t), r.batch()
	sink := closing(t, r.New(t, s.Addr(r.Protocol)))
	sizes := []int{1000, 17, 4096, 65_000}
	sent := newLog(b)
	var tasks sync.WaitGroup
	ctx := within(t)
	for n, size := range sizes {
		tasks.Go(func() {
			m := b.message(n, size)
			if err := sink.Send(ctx, m); err != nil {
				t.Errorf("message %d of %d bytes: %v", n, size, err)
				return
			}
			sent.acked(m)
		})
	}
	tasks.Wait()
	r.stopHard(s)
	s.Start()
	after := b.message(len(sizes), 1000)
	sent.acked(r.insist(t, sink, after))
	sent.check(t, r.Read(t, s.Addr(r.Protocol)))
}

// insist sends until the server has the message. A Sink that still holds a dead
// connection may fail once or twice, never for good.
func (r Real) insist(t *testing.T, sink uplink.Sink, m uplink.Message) uplink.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	for hurry := inAHurry; ; hurry = min(2*hurry, patience) {
		err := sendWithin(ctx, hurry, sink, m)
		if err == nil {
			return m
		}
		if uplink.IsPermanent(err) {
			t.Fatalf("%s: permanent: %v", m.Key, err)
		}
		if !pause(ctx) {
			t.Fatalf("%s: still not sent: %v", m.Key, err)
		}
	}
}

// inAHurry is the patience of a forwarder that is.
const inAHurry = 3 * time.Second

func sendWithin(ctx context.Context, hurry time.Duration, sink uplink.Sink, m uplink.Message) error {
	ctx, cancel := context.WithTimeout(ctx, hurry)
	defer cancel()
	return sink.Send(ctx, m)
}

// pause waits between two attempts, and reports whether there may be another.
func pause(ctx context.Context) bool {
	timer := time.NewTimer(50 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// twiceInEffect: a message whose acknowledgement is lost is sent again under the
// same key and with the same bytes, so that its receiver can count it once.
func (r Real) twiceInEffect(t *testing.T) {
	s, b := r.Server(t), r.batch()
	link := newLink(t, s.Addr(r.Protocol))
	sink := closing(t, r.New(t, link.address()))
	sent := newLog(b)
	first := b.message(1, 1000)
	if err := sink.Send(within(t), first); err != nil {
		t.Fatal(err)
	}
	sent.acked(first)
	link.silence()
	lost := b.message(2, 1000)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	mustBeTransient(t, sink.Send(ctx, lost))
	link.heal()
	sent.acked(r.insist(t, sink, lost))
	received := r.Read(t, s.Addr(r.Protocol))
	sent.check(t, received)
	copies := sent.copies(received)[lost.Key.String()]
	t.Logf("the message whose acknowledgement was lost is there %d times", copies)
	if r.Dedups && copies > 1 {
		t.Errorf("the server drops re-sends, and has %d copies", copies)
	}
}

// pieces: a message that is cut into parts arrives in parts, all of them and each
// under a key of its own, also when it is sent twice.
func (r Real) pieces(t *testing.T) {
	s, b := r.Server(t), r.batch()
	sink := closing(t, r.New(t, s.Addr(r.Protocol)))
	m := b.message(1, 12_000)
	m.Parts = []uplink.Part{
		{Device: "boiler", Metric: "temp", Time: 1_700_000_000_000_000_000, First: m.First, Last: m.First, Count: 1},
		{Device: "boiler", First: m.First + 1, Last: m.Last, Count: 50},
		{Device: "a/b ü#+", First: m.First + 2, Last: m.Last - 1, Count: 49},
	}
	for i := range m.Parts {
		m.Parts[i].Body = m.Body[i*4000 : (i+1)*4000]
	}
	m.Count = 100
	sent := newLog(b)
	for range 2 {
		if err := sink.Send(within(t), m); err != nil {
			t.Fatal(err)
		}
		sent.acked(m)
	}
	sent.check(t, r.Read(t, s.Addr(r.Protocol)))
}

// killInMidStream: several senders repeat what fails while the server is killed
// and started again. What was acknowledged is there, and in the end everything is.
func (r Real) killInMidStream(t *testing.T) {
	const senders, between = 4, 40
	const fewest, most, long = 2, 10, 15 * time.Second // kills, and for how long
	s, b := r.Server(t), r.batch()
	address := s.Addr(r.Protocol)
	sink := closing(t, r.New(t, address))
	sent := newLog(b)
	stop := make(chan struct{})
	var tasks sync.WaitGroup
	finish := sync.OnceFunc(func() {
		close(stop)
		tasks.Wait()
	})
	defer finish()
	for n := range senders {
		tasks.Go(func() { r.stream(t, sink, sent, n*1_000_000, stop) })
	}
	begun, kills := time.Now(), 0
	for ; kills < fewest || kills < most && time.Since(begun) < long; kills++ {
		sent.await(t, between)
		r.stopHard(s)
		s.Start()
	}
	sent.await(t, between)
	finish()
	if sent.failed() == 0 {
		t.Error("no Send has failed, although the server was killed under it")
	}
	received := r.Read(t, address)
	sent.check(t, received)
	repeated := 0
	for _, n := range sent.copies(received) {
		repeated += n - 1
	}
	t.Logf("%d kills, %d messages acknowledged, %d attempts failed, %d copies more than needed", kills, sent.size(), sent.failed(), repeated)
}

// plenty is how many messages are enough for a case: after them, senders do not
// hurry, because a reader needs its time.
const plenty = 2000

// stream sends one message after the other, each until it is acknowledged or the
// case has failed.
func (r Real) stream(t *testing.T, sink uplink.Sink, sent *log, n int, stop <-chan struct{}) {
	for ; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		m := sent.batch.message(n, 700+n%600)
		for hurry := inAHurry; ; hurry = min(2*hurry, patience) {
			err := sendWithin(t.Context(), hurry, sink, m)
			if err == nil {
				sent.acked(m)
				break
			}
			if uplink.IsPermanent(err) {
				t.Errorf("%s: permanent, because the server was killed: %v", m.Key, err)
				sent.giveUp()
				return
			}
			sent.fail(m)
			if !pause(t.Context()) || t.Failed() {
				return
			}
		}
		if sent.size() > plenty && !pause(t.Context()) {
			return
		}
	}
}

// leavesNothingBehind: a Sink whose server died under it, and that was closed, has
// no goroutines left.
func (r Real) leavesNothingBehind(t *testing.T) {
	s, b := r.Server(t), r.batch()
	before := goleak.IgnoreCurrent()
	t.Run("Use", func(t *testing.T) {
		link := newLink(t, s.Addr(r.Protocol))
		sink := closing(t, r.New(t, link.address()))
		if err := sink.Send(within(t), b.message(1, 1000)); err != nil {
			t.Fatal(err)
		}
		link.cutAfter(0)
		if err := sendWithin(t.Context(), inAHurry, sink, b.message(2, 1000)); err == nil {
			t.Error("Send returned nil over a link that is cut")
		}
	})
	leaktest.None(t, before)
}
