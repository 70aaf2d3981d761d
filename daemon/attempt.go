package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tidegate/tidegate/internal/bootclock"
	"github.com/tidegate/tidegate/internal/netcheck"
	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/carrier"
)

// attempt connects and logs in as an uplink would, by the same way, and sends nothing.
// What it finds goes into its report, step by step: "tidegate check" and the
// diagnosis of a link tell it each in their way.
type attempt struct {
	gateway string
	up      upstream
	path    *carrier.Path
	floor   time.Time // has passed for certain: see tlsclient
	now     func() time.Time
	synced  func() bool
	// ask is how questions beside the way reach the network: that of the path, outside
	// tests.
	ask    netcheck.Dial
	report *netcheck.Report
	trace  netcheck.Trace

	mu        sync.Mutex
	connected bool
	address   string // that was dialled last
	later     error  // a dial behind the first that connected
	own       *x509.Certificate
}

// newAttempt prepares one over the path, with the machine's clock.
func newAttempt(gateway string, u upstream, path *carrier.Path, floor time.Time, report *netcheck.Report) *attempt {
	return &attempt{
		gateway: gateway, up: u, path: path, floor: floor, report: report,
		now: time.Now, synced: bootclock.Synced, ask: netcheck.Dial(path.Dial),
	}
}

// run tries the uplink until it is known whether it could send. It returns what the
// other side is.
func (t *attempt) run(ctx context.Context) (about string, err error) {
	log := slog.New(slog.DiscardHandler)
	secure, err := t.up.settings().tlsClient(t.floor, log)
	if err != nil {
		t.end(netcheck.Secure, err)
		return "", err
	}
	t.watch(secure)
	sink, err := t.up.sink(way{gateway: t.gateway, dial: t.dial, tls: secure, log: log})
	if err != nil {
		t.end(netcheck.Login, err)
		return "", err
	}
	defer closer(sink)()
	if about, err = tryOut(ctx, sink); err != nil {
		t.blame(ctx, err)
		return "", err
	}
	t.praise(about)
	return about, nil
}

// tryOut asks a sink whether it could send.
func tryOut(ctx context.Context, sink uplink.Sink) (string, error) {
	p, ok := sink.(uplink.Prober)
	if !ok {
		return "", nil
	}
	return p.Probe(ctx)
}

// watch lets the trial see how handshakes go.
func (t *attempt) watch(secure *tls.Config) {
	secure.Time = t.clock
	if secure.GetClientCertificate != nil {
		if pair, err := secure.GetClientCertificate(new(tls.CertificateRequestInfo)); err == nil {
			t.own = pair.Leaf
		}
	}
	t.trace.Encrypts = func() { t.report.Begin(netcheck.Secure) }
	secure.VerifyConnection = func(s tls.ConnectionState) error {
		if _, again := t.trace.Verified(); !again {
			t.report.End(netcheck.Secure, netcheck.OfHandshake(s, t.clock()))
			t.report.Begin(netcheck.Login)
		}
		return t.trace.Verify(s)
	}
}

// clock is the time that certificates are judged by.
func (t *attempt) clock() time.Time {
	if now := t.now(); now.After(t.floor) {
		return now
	}
	return t.floor
}

// known is what can be said of the clock.
func (t *attempt) known() netcheck.Clock {
	c := netcheck.Clock{Now: t.now(), Synced: t.synced(), Past: bootclock.Written()}
	if t.floor.After(c.Past) {
		c.Past = t.floor
	}
	return c
}

// dial is how the sink reaches the network meanwhile: its first connection is looked
// at in its parts.
func (t *attempt) dial(ctx context.Context, network, address string) (net.Conn, error) {
	t.mu.Lock()
	first := !t.connected
	t.address = address
	t.mu.Unlock()
	if !first {
		c, err := t.path.Dial(ctx, network, address)
		if err != nil {
			t.mu.Lock()
			t.later = err
			t.mu.Unlock()
			return nil, err
		}
		return t.trace.Watch(c), nil
	}
	if err := t.lookUp(ctx, network, address); err != nil {
		return nil, err
	}
	return t.connect(ctx, network, address)
}

// lookUp asks for the name. What it finds, Dial uses.
func (t *attempt) lookUp(ctx context.Context, network, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		t.end(netcheck.Name, err)
		return err
	}
	t.report.Begin(netcheck.Name)
	found, err := t.path.Lookup(ctx, network, host)
	switch {
	case errors.Is(err, carrier.ErrClosed):
		t.end(netcheck.Way, err)
	case err == nil && found.Failed != nil:
		t.report.End(netcheck.Name, netcheck.OfOldName(host, found.Addrs, found.Ago, found.Failed))
	default:
		t.report.End(netcheck.Name, netcheck.OfName(host, found.Servers, found.Addrs, err))
	}
	return err
}

func (t *attempt) connect(ctx context.Context, network, address string) (net.Conn, error) {
	t.report.Begin(netcheck.Connect)
	began := time.Now()
	c, err := t.path.Dial(ctx, network, address)
	switch {
	case errors.Is(err, carrier.ErrClosed):
		t.end(netcheck.Way, err)
		return nil, err
	case err != nil:
		t.report.End(netcheck.Connect, netcheck.OfConnect(address, err, time.Since(began)))
		return nil, err
	}
	t.mu.Lock()
	t.connected = true
	t.mu.Unlock()
	over := usual
	if o, ok := c.(interface{ Over() string }); ok {
		over = o.Over()
	}
	t.report.End(netcheck.Connect, netcheck.Fine("%s answers, from here as %s over %s", c.RemoteAddr(), c.LocalAddr(), over))
	t.report.End(netcheck.Time, t.known().Judge())
	return t.trace.Watch(c), nil
}

// end says that an error ends a step.
func (t *attempt) end(step string, err error) {
	what, hint := netcheck.Cut(netfault.Explain(err))
	t.report.End(step, netcheck.Wrong(hint, "%s", what))
}

// praise says that the uplink could send.
func (t *attempt) praise(about string) {
	t.mu.Lock()
	connected := t.connected
	t.mu.Unlock()
	_, _, encrypts := t.trace.Heard()
	switch {
	case !connected:
		t.report.End(netcheck.Name, netcheck.Fine("nothing to look up: it is a folder"))
		for _, step := range []string{netcheck.Connect, netcheck.Time, netcheck.Secure} {
			t.report.End(step, netcheck.Fine("not needed"))
		}
	case !encrypts:
		t.report.End(netcheck.Secure, netcheck.Fine("there is none, as configured"))
	}
	about, cautions, _ := strings.Cut(about, "\n")
	if about == "" {
		about = t.up.target()
	}
	caution, _, _ := strings.Cut(cautions, "\n")
	if caution == "" {
		t.report.End(netcheck.Login, netcheck.Fine("%s", about))
		return
	}
	what, hint, _ := strings.Cut(caution, " — hint: ")
	t.report.End(netcheck.Login, netcheck.Weak(hint, "%s; %s", about, what))
}

// blame finds the step that an error is of.
func (t *attempt) blame(ctx context.Context, err error) {
	t.mu.Lock()
	connected, later := t.connected, t.later
	t.mu.Unlock()
	head, _, encrypts := t.trace.Heard()
	_, verified := t.trace.Verified()
	switch {
	case !connected && t.report.Failed(): // said already
	case !connected:
		step, f := ofSend(err)
		t.report.End(step, f)
	case encrypts && (!verified || netcheck.IsOfTLS(err)):
		t.blameHandshake(ctx, err)
	case !encrypts && t.blameTalk(ctx, head):
	default:
		step, f := ofSend(err)
		if !encrypts {
			t.report.End(netcheck.Secure, netcheck.Fine("there is none, as configured"))
		}
		if later != nil {
			f.Text += "; it sends the gateway on to another address, which cannot be reached: " + later.Error()
		}
		if step == netcheck.Quota {
			t.report.End(netcheck.Login, netcheck.Fine("it answers"))
		}
		t.report.End(step, f)
	}
}

// blameTalk looks whether something else has answered, or would.
func (t *attempt) blameTalk(ctx context.Context, head []byte) bool {
	f, odd := netcheck.OfTalk(t.address, head, t.speaksHTTP())
	if len(head) == 0 {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reachTimeout)
		defer cancel()
		host, _, _ := net.SplitHostPort(t.address)
		if where := netcheck.AskLogin(ctx, t.ask, host); where != "" {
			f, odd = netcheck.OfLogin(t.address, where), true
		}
	}
	if odd {
		t.report.End(netcheck.Connect, f)
	}
	return odd
}

func (t *attempt) speaksHTTP() bool {
	at, err := url.Parse(t.up.target())
	return err == nil && (strings.HasPrefix(at.Scheme, "http") || strings.HasPrefix(at.Scheme, "ws"))
}

// blameHandshake says why there is no encryption. The other side's clock and a page
// that stands in its place are looked for, where that decides who is wrong.
func (t *attempt) blameHandshake(ctx context.Context, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reachTimeout) // the time of the trial may be over
	defer cancel()
	host, _, _ := net.SplitHostPort(t.address)
	h := netcheck.Handshake{
		Address: t.address, Name: host, Clock: t.known(), OwnCA: t.up.settings().TLSCA != "", Own: t.own,
	}
	if name := t.up.settings().TLSServerName; name != "" {
		h.Name = name
	}
	h.Head, h.Received, _ = t.trace.Heard()
	switch _, shown := errors.AsType[*tls.CertificateVerificationError](err); {
	case h.NeedsTheirClock(err):
		if t.speaksHTTP() {
			h.Theirs = netcheck.AskTime(ctx, t.ask, t.address, h.Name)
		}
	case shown || !netcheck.IsOfTLS(err):
		h.Login = netcheck.AskLogin(ctx, t.ask, host)
	}
	f, step := h.Judge(err)
	if step == netcheck.Time {
		t.report.End(netcheck.Secure, netcheck.Finding{State: netcheck.Skipped, Text: "cannot be judged with this clock"})
	}
	t.report.End(step, f)
}

// ofSend is about an error of a sink that was connected: which step it is of.
func ofSend(err error) (step string, f netcheck.Finding) {
	what, hint := netcheck.Cut(netfault.Explain(err))
	delay, asked := uplink.RetryDelay(err)
	var timeout net.Error
	ok := errors.As(err, &timeout)
	switch {
	case uplink.IsMisconfigured(err):
		return netcheck.Login, netcheck.Wrong(hint, "it does not take readings from this gateway as it is set up: %s", what)
	case uplink.IsTooLarge(err):
		return netcheck.Size, netcheck.Wrong(hint, "it takes no message of this size: %s", what)
	case uplink.IsPermanent(err):
		return netcheck.Size, netcheck.Wrong(hint, "it refuses what is sent: %s", what)
	case asked && delay > 0:
		return netcheck.Quota, netcheck.Wrong(waiting(hint), "it has enough for now and asks to wait for %v: %s", delay.Round(time.Second), what)
	case ok && timeout.Timeout():
		return netcheck.Login, netcheck.Wrong("is it the right port? Is the server overloaded? See its log", "it takes the connection and does not answer in time: %s", what)
	}
	return netcheck.Login, netcheck.Wrong(hint, "it answers, and something is wrong with it: %s", what)
}

func waiting(hint string) string {
	const more = "the gateway waits and goes on by itself; if that happens often, ask for a larger plan, or send less: see [[refine]]"
	if hint == "" {
		return more
	}
	return hint + "; " + more
}
