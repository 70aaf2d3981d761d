// Package httpout is the door out over HTTP: one POST a message.
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
// status means is in one place, the function judge.
package httpout

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
)

// KeyHeader is the header that carries uplink.Key.String.
const KeyHeader = "Tidegate-Key"

// jsonType is the one media type of bodies that are worth compressing here.
const jsonType = "application/json"

// Bounds of one request, and of the connections that are kept for the next.
const (
	dialTimeout   = 10 * time.Second
	tlsTimeout    = 10 * time.Second
	answerTimeout = 30 * time.Second // from the last byte sent to the headers of the answer
	idleTimeout   = 90 * time.Second
	maxAnswer     = 64 << 10
	minCompress   = 1 << 10
)

// Config says where to POST and as whom.
type Config struct {
	// URL is the endpoint, http or https. Credentials in it are refused: they
	// would show up in logs.
	URL string
	// Token is sent as "Authorization: Bearer", unless it is zero.
	Token conf.Secret
	// UserAgent names the sender, for example "tidegate/0.3".
	UserAgent string
	// TrustStatus takes any 2xx answer as custody, unless it is a page of
	// HTML. Leave it false for a tidegate cloud, whose answer repeats what it
	// acknowledges.
	TrustStatus bool
	// Gzip compresses JSON bodies. Packed ones are compressed already.
	Gzip bool
	// Dial is how the sink reaches the network; nil stands for the network as it
	// is.
	Dial uplink.Dial
	// TLS is for https; nil stands for the system's authorities.
	TLS *tls.Config
	// Connections is how many connections are kept open: the window of the
	// Forwarder. 1 if zero.
	Connections int
}

// Sink POSTs messages. It is safe for concurrent use.
type Sink struct {
	cfg       Config
	url       *url.URL
	transport *http.Transport
}

// New returns a Sink. It does not connect yet.
func New(cfg Config) (*Sink, error) {
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil: // without its text, which quotes the url
		return nil, errors.New("http uplink: the url cannot be read — hint: write https://host/path")
	case u.User != nil:
		return nil, fmt.Errorf("http uplink: credentials in the url of %s — hint: put the token into a file of its own", u.Host)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("http uplink: url %q — hint: write https://host/path", cfg.URL)
	}
	return &Sink{cfg: cfg, url: u, transport: newTransport(cfg)}, nil
}

// newTransport returns a transport of HTTP/1.1 that uses no proxy: a gateway's
// environment is nobody's configuration. Go's client speaks TLS 1.2 or later.
func newTransport(cfg Config) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	return &http.Transport{
		DialContext:           dial,
		TLSClientConfig:       cfg.TLS,
		TLSHandshakeTimeout:   tlsTimeout,
		ResponseHeaderTimeout: answerTimeout,
		MaxIdleConnsPerHost:   max(cfg.Connections, 1),
		IdleConnTimeout:       idleTimeout,
		DisableCompression:    true,
		Protocols:             protocols,
	}
}

// Close closes the connections that are kept open.
func (s *Sink) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// Probe connects as Send would, and asks nothing: what a POST would be answered
// only a POST can tell.
func (s *Sink) Probe(ctx context.Context) (string, error) {
	port := s.url.Port()
	if port == "" {
		port = s.url.Scheme // "http" and "https" are names of their ports
	}
	conn, err := s.transport.DialContext(ctx, "tcp", net.JoinHostPort(s.url.Hostname(), port))
	if err != nil {
		return "", netfault.Explain(err)
	}
	defer conn.Close()
	if s.url.Scheme == "http" {
		return s.url.Host + " answers, without encryption", nil
	}
	secure := s.cfg.TLS.Clone()
	if secure == nil {
		secure = new(tls.Config)
	}
	if secure.ServerName == "" {
		secure.ServerName = s.url.Hostname()
	}
	if err := tls.Client(conn, secure).HandshakeContext(ctx); err != nil {
		return "", fmt.Errorf("%s answers, but not safely: %w", s.url.Host, netfault.Explain(err))
	}
	return s.url.Host + " answers", nil
}

// Send POSTs the message. It returns nil when the answer takes custody of the
// whole message, see the package comment.
func (s *Sink) Send(ctx context.Context, m uplink.Message) error {
	req, err := s.request(ctx, m)
	if err != nil {
		return fmt.Errorf("post to %s: %w", s.url.Host, err)
	}
	// The transport itself, not a Client: redirects are not followed, because
	// what they lead to did not promise to keep anything.
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("post to %s: %w", s.url.Host, netfault.Explain(err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("post to %s: read answer: %w", s.url.Host, netfault.Explain(err))
	}
	if err := judge(resp, answer, m.Key, s.cfg.TrustStatus); err != nil {
		return fmt.Errorf("post to %s: %w", s.url.Host, err)
	}
	return nil
}

func (s *Sink) request(ctx context.Context, m uplink.Message) (*http.Request, error) {
	body, encoding, err := s.compress(m)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", m.ContentType)
	req.Header.Set(KeyHeader, m.Key.String())
	req.Header.Set("User-Agent", s.cfg.UserAgent)
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	if !s.cfg.Token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+s.cfg.Token.Reveal())
	}
	// Not sent, but it tells the transport that this POST may be repeated:
	// one that meets a kept connection which the other side has just closed
	// goes out again at once, instead of counting as an outage.
	req.Header["Idempotency-Key"] = []string{}
	return req, nil
}

func (s *Sink) compress(m uplink.Message) (body []byte, encoding string, err error) {
	if !s.cfg.Gzip || m.ContentType != jsonType || len(m.Body) < minCompress {
		return m.Body, "", nil
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err = z.Write(m.Body)
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, "", fmt.Errorf("compress: %w", err)
	}
	return packed.Bytes(), "gzip", nil
}
