package uplinktest

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink"
)

// frozen: a server that is there and does nothing holds a Send no longer than its
// context; the connection is given up, and the message arrives when it goes on.
func (r Real) frozen(t *testing.T) {
	s, b := r.Server(t), r.batch()
	link := newLink(t, s.Addr(r.Protocol))
	sink := closing(t, r.New(t, link.address()))
	sent := newLog(b)
	first, second := b.message(1, 1000), b.message(2, 1000)
	if err := sink.Send(within(t), first); err != nil {
		t.Fatal(err)
	}
	sent.acked(first)
	s.Freeze()
	before := link.dialled()
	// Over the old connection, then over one that nobody accepts. A Send whose context
	// ended before it had begun has given up nothing.
	for n, late := 0, time.Now().Add(patience); n < 2 || link.dialled() == before && time.Now().Before(late); n++ {
		mustEndWithContext(t, sink, second, 300*time.Millisecond)
		sent.fail(second)
	}
	s.Thaw()
	sent.acked(r.insist(t, sink, second))
	if link.dialled() == before {
		t.Error("the Sink has stayed with the connection that was silent")
	}
	sent.check(t, r.Read(t, s.Addr(r.Protocol)))
}

// slowLink: what needs seconds for its way arrives, nevertheless.
func (r Real) slowLink(t *testing.T) {
	s, b := r.Server(t), r.batch()
	link := newLink(t, s.Addr(r.Protocol))
	link.slow(24<<10, 30*time.Millisecond)
	sink := closing(t, r.New(t, link.address()))
	sent := newLog(b)
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	m := b.message(1, 64<<10)
	if err := sink.Send(ctx, m); err != nil {
		t.Fatalf("64 KiB over 24 KiB/s: %v", err)
	}
	sent.acked(m)
	sent.check(t, r.Read(t, s.Addr(r.Protocol)))
}

// probe: a door that can be tried out describes the server, and says what is wrong
// when there is none.
func (r Real) probe(t *testing.T) {
	s := r.Server(t)
	prober, ok := closing(t, r.New(t, s.Addr(r.Protocol))).(uplink.Prober)
	if !ok {
		t.Skip("the Sink cannot be tried out")
	}
	said, err := prober.Probe(within(t))
	if err != nil || said == "" {
		t.Errorf("Probe says %q, %v", said, err)
	}
	t.Logf("the other side: %s", said)
	closed, ok := closing(t, r.New(t, porttest.For(t))).(uplink.Prober)
	if !ok {
		t.Fatal("another Sink cannot be tried out")
	}
	_, err = closed.Probe(within(t))
	hinted(t, err)
}

// tooLarge: the server's limit is known by its name, and costs nobody else.
func (r Real) tooLarge(t *testing.T) {
	s, b := r.Server(t), r.batch()
	sink := closing(t, r.New(t, s.Addr(r.Protocol)))
	err := sink.Send(within(t), b.message(1, r.TooLarge))
	if !uplink.IsTooLarge(err) {
		t.Errorf("%d bytes: not marked as too large: %v", r.TooLarge, err)
	} else {
		hinted(t, err)
	}
	if l, ok := sink.(uplink.Limited); ok && (l.Limit() <= 0 || l.Limit() >= r.TooLarge) {
		t.Errorf("the Sink says that the limit is %d, and %d is too large", l.Limit(), r.TooLarge)
	}
	sent := newLog(b)
	sent.acked(r.insist(t, sink, b.message(2, 1000)))
	sent.check(t, r.Read(t, s.Addr(r.Protocol)))
}

// wrongPassword: it is said what to correct, and the readings wait until somebody
// has.
func (r Real) wrongPassword(t *testing.T) {
	s, b := r.Server(t), r.batch()
	sink := closing(t, r.BadPassword(t, s.Addr(r.Protocol)))
	err := sink.Send(within(t), b.message(1, 1000))
	t.Logf("%v", err)
	hinted(t, err)
	if uplink.IsPermanent(err) {
		t.Errorf("permanent: the readings would be set aside for a wrong password: %v", err)
	}
	if _, asked := uplink.RetryDelay(err); !asked {
		t.Errorf("no delay: the server would be pestered: %v", err)
	}
	if p, ok := sink.(uplink.Prober); ok {
		_, err := p.Probe(within(t))
		hinted(t, err)
	}
	if got := newLog(b).copies(r.Read(t, s.Addr(r.Protocol))); len(got) > 0 {
		t.Errorf("the server has taken %v, with a wrong password", got)
	}
}

// certificates: with a good one the message arrives, with a bad one nothing is said
// to the server, and the error says which kind of bad it is.
func (r Real) certificates(t *testing.T) {
	ours, others := servertest.NewAuthority(t), servertest.NewAuthority(t)
	for _, c := range []struct {
		name string
		pair servertest.Pair
		want string // in the error; empty for none
	}{
		{"Good", ours.Issue(servertest.Certificate{}), ""},
		{"Expired", ours.Expired(), "expired"},
		{"WrongHost", ours.Issue(servertest.Certificate{Hosts: []string{"other.example"}}), "127.0.0.1"},
		{"UnknownAuthority", others.Issue(servertest.Certificate{}), "unknown authority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			address, b := r.secured(t, ours, c.pair), r.batch()
			sink := closing(t, r.TLS(t, address, &tls.Config{RootCAs: ours.Pool(), MinVersion: tls.VersionTLS12}))
			err := sink.Send(within(t), b.message(1, 1000))
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			t.Logf("%v", err)
			hinted(t, err)
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error does not say %q: %v", c.want, err)
			}
			if uplink.IsPermanent(err) {
				t.Errorf("permanent: the readings would be set aside for a certificate: %v", err)
			}
		})
	}
}

// secured returns the address of a server that shows the certificate.
func (r Real) secured(t *testing.T, a *servertest.Authority, pair servertest.Pair) string {
	t.Helper()
	if r.Secure != nil {
		return r.Secure(t, servertest.TLSWith(a, pair))
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{pair.TLS}, MinVersion: tls.VersionTLS12}
	return newFront(t, r.Server(t).Addr(r.Protocol), cfg).address()
}

// full: a server that has no room for more takes nothing and says so, or says
// nothing; when there is room again, everything arrives.
func (r Real) full(t *testing.T, fill func(*testing.T, *servertest.Server) (clear func())) {
	s, b := r.Server(t), r.batch()
	sink := closing(t, r.New(t, s.Addr(r.Protocol)))
	sent := newLog(b)
	sent.acked(r.insist(t, sink, b.message(1, 1000)))
	clear := fill(t, s)
	second := b.message(2, 1000)
	err := r.untilRefused(t, sink, sent)
	t.Logf("full: %v", err)
	if uplink.IsPermanent(err) {
		t.Errorf("permanent: the readings would be set aside because the server is full: %v", err)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		hinted(t, err)
	}
	clear()
	sent.acked(r.insist(t, sink, second))
	sent.check(t, r.Read(t, s.Addr(r.Protocol)))
}

// untilRefused sends to a server that was made full until it takes no more: it may
// still have a little room.
func (r Real) untilRefused(t *testing.T, sink uplink.Sink, sent *log) error {
	t.Helper()
	for n := range 200 {
		m := sent.batch.message(100+n, 64<<10)
		err := sendWithin(t.Context(), inAHurry, sink, m)
		if err != nil {
			sent.fail(m)
			// The first error may be the connection that went with the restart.
			if err = sendWithin(t.Context(), inAHurry, sink, m); err != nil {
				return err
			}
		}
		sent.acked(m)
	}
	t.Fatal("the server was made full, and has taken 200 messages of 64 KiB")
	return nil
}
