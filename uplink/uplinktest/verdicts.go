package uplinktest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/uplink"
)

// nilMeansCustody: Send returns only after the peer has answered, and what the
// peer has is what was sent.
func (d Door) nilMeansCustody(t *testing.T) {
	arrived, release := make(chan Received, 1), make(chan struct{})
	sink := d.sink(t, d.Peer(t, func(r Received) Verdict {
		arrived <- r
		<-release
		return Accept
	}))
	m, sent := message(1, 64<<10), make(chan error, 1)
	go func() { sent <- sink.Send(within(t), m) }()
	var got Received
	select {
	case got = <-arrived:
	case err := <-sent:
		t.Fatalf("Send returned %v before the peer had the message", err)
	}
	// The peer has every byte and has not answered. A Sink that believes its
	// own writes is done now; give it the chance to say so.
	if err, done := doneEarly(sent); done {
		t.Errorf("Send returned %v before the peer had answered", err)
	}
	close(release)
	if err := <-sent; err != nil {
		t.Fatalf("Send: %v, want nil after the peer took custody", err)
	}
	checkReceived(t, got, m)
}

func checkReceived(t *testing.T, got Received, want uplink.Message) {
	t.Helper()
	if got.Key != want.Key.String() {
		t.Errorf("key %q, want %q", got.Key, want.Key)
	}
	if !bytes.Equal(got.Body, want.Body) {
		t.Errorf("%s: a body of %d bytes arrived, want the %d that were sent", want.Key, len(got.Body), len(want.Body))
	}
}

// failuresHaveTheirClass: what the peer says becomes the class that the
// Forwarder acts on, and the next message finds the sink in working order.
func (d Door) failuresHaveTheirClass(t *testing.T) {
	for _, c := range []struct {
		name      string
		verdict   Verdict
		permanent bool
	}{
		{"Later", Later, false},
		{"Busy", Busy, false},
		{"Never", Never, true},
		{"Garbage", Garbage, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if slices.Contains(d.Lacks, c.verdict) {
				t.Skip("the protocol has no such answer")
			}
			verdicts := newScript(c.verdict, Accept)
			sink := d.sink(t, d.Peer(t, verdicts.judge))
			err := sink.Send(within(t), message(1, 1000))
			if err == nil {
				t.Fatal("Send returned nil")
			}
			if uplink.IsPermanent(err) != c.permanent {
				t.Errorf("permanent is %v, want %v: %v", !c.permanent, c.permanent, err)
			}
			delay, asked := uplink.RetryDelay(err)
			if wantAsked := c.verdict == Busy; asked != wantAsked || asked && delay != BusyDelay {
				t.Errorf("the delay asked for is %v (%v): %v", delay, asked, err)
			}
			if err := sink.Send(within(t), message(2, 1000)); err != nil {
				t.Errorf("the next message: %v", err)
			}
		})
	}
}

// resendRepeatsEveryByte: a receiver can tell a re-send by its key, and trust
// that the bytes are the same.
func (d Door) resendRepeatsEveryByte(t *testing.T) {
	verdicts := newScript(Garbage, Accept)
	if slices.Contains(d.Lacks, Garbage) {
		verdicts = newScript(Later, Accept)
	}
	sink := d.sink(t, d.Peer(t, verdicts.judge))
	m := message(1, 10_000)
	if err := sink.Send(within(t), m); err == nil {
		t.Fatal("the first Send returned nil")
	}
	if err := sink.Send(within(t), m); err != nil {
		t.Fatalf("the second Send: %v", err)
	}
	received := verdicts.received()
	if len(received) != 2 {
		t.Fatalf("%d messages arrived, want 2", len(received))
	}
	checkReceived(t, received[0], m)
	checkReceived(t, received[1], m)
}

// manyAtOnce: messages in flight together do not mix.
func (d Door) manyAtOnce(t *testing.T) {
	const senders, each = 8, 5
	verdicts := newScript(Accept)
	sink := d.sink(t, d.Peer(t, verdicts.judge))
	ctx := within(t)
	var tasks sync.WaitGroup
	for s := range senders {
		tasks.Go(func() {
			for i := range each {
				if err := sink.Send(ctx, message(s*each+i, 1000+s*777)); err != nil {
					t.Errorf("sender %d, message %d: %v", s, i, err)
				}
			}
		})
	}
	tasks.Wait()
	arrived := map[string]Received{}
	for _, r := range verdicts.received() {
		arrived[r.Key] = r
	}
	if len(arrived) != senders*each {
		t.Fatalf("%d different keys arrived, want %d", len(arrived), senders*each)
	}
	for s := range senders {
		for i := range each {
			m := message(s*each+i, 1000+s*777)
			checkReceived(t, arrived[m.Key.String()], m)
		}
	}
}

// script gives one verdict a message, the last one for ever.
type script struct {
	mu       sync.Mutex
	verdicts []Verdict
	got      []Received
}

func newScript(verdicts ...Verdict) *script { return &script{verdicts: verdicts} }

func (s *script) judge(r Received) Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, r)
	v := s.verdicts[0]
	if len(s.verdicts) > 1 {
		s.verdicts = s.verdicts[1:]
	}
	return v
}

func (s *script) received() []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// String names the verdict in failures.
func (v Verdict) String() string {
	names := [...]string{"accept", "later", "busy", "never", "garbage"}
	if v < 0 || int(v) >= len(names) {
		return fmt.Sprintf("verdict %d", int(v))
	}
	return names[v]
}
