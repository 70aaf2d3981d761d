package uplinktest

import (
	"context"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/uplink"
)

// cutInTheMiddle: a connection that breaks inside a message is a transient
// failure, and the re-send arrives whole over a new one.
func (d Door) cutInTheMiddle(t *testing.T) {
	verdicts := newScript(Accept)
	link := newLink(t, d.Peer(t, verdicts.judge))
	sink := d.sink(t, link.address())
	m := message(1, 256<<10)
	link.cutAfter(64 << 10)
	mustBeTransient(t, sink.Send(within(t), m))
	link.heal()
	if err := sink.Send(within(t), m); err != nil {
		t.Fatalf("after the link came back: %v", err)
	}
	received := verdicts.received()
	if len(received) != 1 {
		t.Fatalf("%d messages arrived whole, want 1", len(received))
	}
	checkReceived(t, received[0], m)
}

// silenceEndsWithTheContext: a peer that is never heard again (half-open) holds
// a Send no longer than its context, and the sink does not stay with the dead
// connection afterwards.
func (d Door) silenceEndsWithTheContext(t *testing.T) {
	verdicts := newScript(Accept)
	link := newLink(t, d.Peer(t, verdicts.judge))
	sink := d.sink(t, link.address())
	if err := sink.Send(within(t), message(1, 1000)); err != nil {
		t.Fatalf("before the silence: %v", err)
	}
	link.silence()
	before, calls := link.passed(), link.dialled()
	// A Send whose context ended before it had begun has learnt nothing.
	for late := time.Now().Add(patience); link.passed()-before < 1000 && link.dialled() == calls && time.Now().Before(late); {
		mustEndWithContext(t, sink, message(2, 1000), 100*time.Millisecond)
	}
	link.heal()
	if err := sink.Send(within(t), message(2, 1000)); err != nil {
		t.Fatalf("after the link came back: %v", err)
	}
}

// mustEndWithContext sends to somebody who does not answer, with so much time.
func mustEndWithContext(t *testing.T, sink uplink.Sink, m uplink.Message, has time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), has)
	defer cancel()
	begun := time.Now()
	sent := make(chan error, 1)
	go func() { sent <- sink.Send(ctx, m) }()
	select {
	case err := <-sent:
		mustBeTransient(t, err)
		if err != nil {
			hinted(t, err)
		}
		if took := time.Since(begun); took > has+soon {
			t.Errorf("Send held on for %v; its context had %v", took, has)
		}
	case <-time.After(patience):
		t.Errorf("Send holds on for %v; its context had %v", time.Since(begun), has)
	}
}

// tooLate: a Send whose context has ended already costs the next one nothing, not
// even a connection that is about to be closed.
func (d Door) tooLate(t *testing.T) {
	sink := d.sink(t, d.Peer(t, newScript(Accept).judge))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for n := range 50 {
		if err := sink.Send(over, message(2*n, 1000)); err != nil {
			mustBeTransient(t, err)
		}
		if err := sink.Send(within(t), message(2*n+1, 1000)); err != nil {
			t.Fatalf("after %d that came too late: %v", n+1, err)
		}
	}
}

// tooLateAmongOthers: nor does it cost those anything that are under way. One that
// began too late has not listened, and cannot tell that nobody is there.
func (d Door) tooLateAmongOthers(t *testing.T) {
	verdicts := newScript(Accept)
	arrived, answer := make(chan struct{}, 1), make(chan struct{})
	sink := d.sink(t, d.Peer(t, func(r Received) Verdict {
		select {
		case arrived <- struct{}{}:
			<-answer
		default:
		}
		return verdicts.judge(r)
	}))
	sent := make(chan error, 1)
	go func() { sent <- sink.Send(within(t), message(1, 1000)) }()
	<-arrived
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for n := range 20 {
		mustBeTransient(t, sink.Send(over, message(n+2, 1000)))
	}
	close(answer)
	if err := <-sent; err != nil {
		t.Errorf("the one that was under way: %v", err)
	}
	for _, r := range verdicts.received() {
		if want := message(1, 1).Key.String(); r.Key != want {
			t.Errorf("the peer got %s from a Send whose time was over", r.Key)
		}
	}
}

// nobodyThere: a peer that is switched off is a transient failure, and needs no
// new Sink when it comes back.
func (d Door) nobodyThere(t *testing.T) {
	mustBeTransient(t, d.sink(t, porttest.For(t)).Send(within(t), message(1, 1000)))
}

func mustBeTransient(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Error("Send returned nil, and nobody has the message")
		return
	}
	if uplink.IsPermanent(err) {
		t.Errorf("permanent: %v", err)
	}
	if _, asked := uplink.RetryDelay(err); asked {
		t.Errorf("carries a delay that nobody asked for: %v", err)
	}
}

// doneEarly waits for a moment whether Send ends although nobody has answered.
func doneEarly(sent <-chan error) (error, bool) {
	select {
	case err := <-sent:
		return err, true
	case <-time.After(50 * time.Millisecond):
		return nil, false
	}
}
