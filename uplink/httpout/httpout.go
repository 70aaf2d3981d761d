// Package httpout is the door out over HTTP: one request a message.
//
//	POST /v1/ingest HTTP/1.1
//	Content-Type: application/vnd.tidegate.chunk
//	Tidegate-Key: north-7/00000000000004d2/normal/1-99
//	Authorization: Bearer ...
//
// A tidegate cloud answers, after its own fsync,
//
//	200 OK
//	{"acked":{"epoch":"00000000000004d2","lane":"normal","first":1,"last":99}}
//
// and nothing less counts as custody: captive portals and proxies answer 200 to
// anything. Other endpoints do not know this answer; Config.TrustStatus takes
// any 2xx of theirs for custody, unless it is a page of HTML. What every other
// answer means is in one place, the function judge.
//
// A message of several parts is several requests, as many at once as there are
// connections.
package httpout

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
)

// KeyHeader is the header that carries uplink.Key.String, or
// uplink.Message.PartKey.
const KeyHeader = "Tidegate-Key"

// Bounds of one request, and of the connections that are kept for the next.
const (
	dialTimeout = 10 * time.Second
	tlsTimeout  = 30 * time.Second // four kilobytes of certificates over a link that is thin and busy
	idleTimeout = 90 * time.Second
	maxAnswer   = 64 << 10
)

// Config says where to send and as whom. Only URL must be given.
type Config struct {
	// URL is the endpoint, http or https. Credentials in it are refused: they
	// would show up in logs.
	URL string
	// Method is the method of a request; empty stands for POST.
	Method string
	// Auth says who is sending.
	Auth Auth
	// UserAgent names the sender, for example "tidegate/0.3".
	UserAgent string
	// Headers are sent with every request, "Name: value".
	Headers []string
	// IdempotencyKey sends the key of a message in the header Idempotency-Key,
	// too, for endpoints that drop what they have had by that.
	IdempotencyKey bool
	// TrustStatus takes any 2xx answer as custody, unless it is a page of
	// HTML. Leave it false for a tidegate cloud, whose answer repeats what it
	// acknowledges.
	TrustStatus bool
	// Database says that the other side is a database which takes line protocol:
	// Probe writes nothing to it, to see whether it may.
	Database bool
	// Compression is how bodies are compressed.
	Compression Compression
	// Dial is how the sink reaches the network; nil stands for the network as it
	// is.
	Dial uplink.Dial
	// TLS is for https; nil stands for the system's authorities.
	TLS *tls.Config
	// Answered, if not nil, is given the body of each answer that takes custody, which
	// may say something else beside. It is called by the goroutine of the Send, and
	// the bytes are its own.
	Answered func(answer []byte)
	// Connections is how many connections are kept open: the window of the
	// Forwarder. 1 if zero.
	Connections int
}

// Sink sends messages. It is safe for concurrent use.
type Sink struct {
	cfg       Config
	url       *url.URL
	headers   http.Header
	auth      authorizer
	packer    packer
	transport *http.Transport
	limit     limit
}

// New returns a Sink. It reads the files that hold secrets, and does not connect
// yet.
func New(cfg Config) (*Sink, error) {
	u, err := endpoint("url", cfg.URL)
	if err != nil {
		return nil, err
	}
	s := &Sink{cfg: cfg, url: u, transport: newTransport(cfg)}
	if s.headers, err = parseHeaders(cfg.Headers); err != nil {
		return nil, fmt.Errorf("http uplink: %w", err)
	}
	if s.auth, err = cfg.Auth.open(cfg.Dial, cfg.TLS); err != nil {
		return nil, err
	}
	if s.packer, err = newPacker(cfg.Compression); err != nil {
		return nil, err
	}
	return s, nil
}

// endpoint checks a URL that is requested.
func endpoint(key, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil: // without its text, which quotes the url
		return nil, fmt.Errorf("http uplink: the %s cannot be read — hint: write https://host/path", key)
	case u.User != nil:
		return nil, fmt.Errorf("http uplink: credentials in the %s of %s — hint: put the token into a file of its own", key, u.Host)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("http uplink: %s %q — hint: write https://host/path", key, text)
	}
	return u, nil
}

// newTransport returns a transport of HTTP/1.1, which the program speaks only, that uses no proxy: a gateway's environment is
// nobody's configuration. Go's client speaks TLS 1.2 or later. How long an answer
// may take is for the context of Send to say: a body that has been written may
// still be in this machine's memory for minutes, if the link is thin.
func newTransport(cfg Config) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	return &http.Transport{
		DialContext:         dial,
		TLSClientConfig:     cfg.TLS.Clone(), // it gets the names of protocols
		TLSHandshakeTimeout: tlsTimeout,
		MaxIdleConnsPerHost: max(cfg.Connections, 1),
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true,
		Protocols:           protocols,
	}
}

// Close closes the connections that are kept open.
func (s *Sink) Close() error {
	s.transport.CloseIdleConnections()
	s.auth.close()
	s.packer.close()
	return nil
}

// Limit implements uplink.Limited: what the other side's refusals have taught.
func (s *Sink) Limit() int { return s.limit.bytes() }

// Send sends the message. It returns nil when the answer takes custody of the
// whole message, see the package comment.
func (s *Sink) Send(ctx context.Context, m uplink.Message) error {
	pieces := m.Pieces()
	if len(pieces) == 1 {
		return s.piece(ctx, m, pieces[0])
	}
	return s.pieces(ctx, m, pieces)
}

// piece sends one piece of the message.
func (s *Sink) piece(ctx context.Context, m uplink.Message, p uplink.Part) error {
	if len(p.Body) == 0 && s.cfg.Database {
		return nil // no reading in it can be said there
	}
	key := m.PartKey(p)
	resp, answer, err := s.authorized(ctx, key, m.ContentType, p.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", s.where(), err)
	}
	k := m.Key
	k.First, k.Last = p.First, p.Last
	err = judge(resp, answer, k, s.cfg.TrustStatus)
	switch {
	case err == nil:
		s.limit.accepted(len(p.Body))
		if s.cfg.Answered != nil {
			s.cfg.Answered(answer)
		}
		return nil
	case uplink.IsTooLarge(err):
		s.limit.refused(len(p.Body), answer)
	}
	return fmt.Errorf("%s: %w", s.where(), err)
}

func (s *Sink) where() string { return "send to " + s.url.Host }

// authorized makes the request. A token that is refused before its time gets one
// successor.
func (s *Sink) authorized(ctx context.Context, key, contentType string, body []byte) (*http.Response, []byte, error) {
	for again := false; ; again = true {
		header, err := s.auth.header(ctx)
		if err != nil {
			return nil, nil, err
		}
		req, err := s.request(ctx, key, contentType, body)
		if err != nil {
			return nil, nil, err
		}
		if header.name != "" {
			req.Header.Set(header.name, header.value)
		}
		resp, answer, err := s.roundTrip(req)
		if err != nil {
			return nil, nil, err
		}
		if resp.StatusCode != http.StatusUnauthorized || again || !s.auth.refused(ctx, header) {
			return resp, answer, nil
		}
	}
}

// roundTrip uses the transport itself, not a Client: redirects are not followed,
// because what they lead to did not promise to keep anything.
func (s *Sink) roundTrip(req *http.Request) (*http.Response, []byte, error) {
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return nil, nil, netfault.Explain(err)
	}
	answer, err := answerOf(resp, maxAnswer)
	return resp, answer, err
}

// answerOf reads what an answer says, up to a number of bytes. One that changes the
// protocol says nothing: its body would be the connection itself, to read from which
// does not end with the request's context.
func answerOf(resp *http.Response, most int64) ([]byte, error) {
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, nil
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", netfault.Explain(err))
	}
	return answer, nil
}

// pieces sends all pieces, some at a time. The first that fails ends it, because
// everything will be sent again; of those that were under way then, the worst
// decides.
func (s *Sink) pieces(ctx context.Context, m uplink.Message, pieces []uplink.Part) error {
	workers := min(max(s.cfg.Connections, 1), len(pieces))
	next := make(chan uplink.Part)
	failed := make(chan error, workers)
	for range workers {
		go func() {
			for p := range next {
				if err := s.piece(ctx, m, p); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	var worst error
	for _, p := range pieces {
		if worst = hand(next, p, failed, &workers); worst != nil {
			break
		}
	}
	close(next)
	for range workers {
		worst = uplink.Worse(worst, <-failed)
	}
	return worst
}

// hand gives a piece to a worker, or returns the error of one that has failed.
func hand(next chan<- uplink.Part, p uplink.Part, failed <-chan error, workers *int) error {
	select {
	case next <- p:
		return nil
	case err := <-failed:
		*workers--
		return err
	}
}
