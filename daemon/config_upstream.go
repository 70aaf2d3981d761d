package daemon

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/tlsclient"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
)

// Upstream holds the keys that every table of [uplink] has, whatever the door
// out speaks.
type Upstream struct {
	// Name names the uplink and its cursor: under a new name, everything that
	// the buffer holds is sent again.
	Name string `toml:"name"`
	// Encoding is packed (tidegate's own, the smallest) or one that others read.
	Encoding string `toml:"encoding"`
	// MessagePer says what a message is made of: batch, device, series or reading.
	MessagePer string `toml:"message_per"`
	// MaxBatch bounds the body of a message.
	MaxBatch conf.Size `toml:"max_batch"`
	// Window is how many messages may be under way at once.
	Window int `toml:"window"`
	// Timeout bounds one message.
	Timeout conf.Duration `toml:"timeout"`
	// Links are the ways to the network that are used, the best first; none stands
	// for the system's routing.
	Links []string `toml:"links"`
	// TLSCA, TLSCert and TLSKey are PEM files: who vouches for the other side,
	// and the gateway's own certificate. TLSServerName is the name that the other
	// side's certificate must have.
	TLSCA         string `toml:"tls_ca"`
	TLSCert       string `toml:"tls_cert"`
	TLSKey        string `toml:"tls_key"`
	TLSServerName string `toml:"tls_server_name"`
	// InsecureIKnow allows leaving this machine without encryption.
	InsecureIKnow bool `toml:"insecure_i_know"`
}

// defaultUpstream is what the keys are that a table leaves out.
func defaultUpstream() Upstream {
	return Upstream{
		Encoding:   "packed",
		MessagePer: "batch",
		MaxBatch:   256 * conf.KiB,
		Window:     16,
		Timeout:    conf.Duration(30 * time.Second),
	}
}

// doorOut is one table of [uplink], of any kind.
type doorOut interface {
	settings() Upstream
	// target is where the readings go, for people.
	target() string
	validate(r refuse, key string)
	// sink makes the door. It does not connect yet.
	sink(w way) (uplink.Sink, error)
}

// way is how a door out reaches the other side, and as whom.
type way struct {
	gateway string
	dial    uplink.Dial // nil: the network as it is
	tls     *tls.Config
	log     *slog.Logger
	// answered is given the acknowledgements of a door that others listen to; nil
	// for nobody.
	answered func(body []byte)
	// reserved is how many bytes the buffer may still need on the file system of
	// a folder.
	reserved func(dir string) int64
}

// secretKeeper is a door out that reads secrets from files.
type secretKeeper interface{ secretFiles() []string }

// upstream is a table of [uplink] and where it stands.
type upstream struct {
	key, kind string
	doorOut
}

// all returns the tables of all kinds, in the order of the kinds. It is the
// registry of the doors out.
func (u Uplink) all() []upstream {
	var all []upstream
	all = listed(all, "http", u.HTTP)
	all = listed(all, "mqtt", u.MQTT)
	all = listed(all, "kafka", u.Kafka)
	all = listed(all, "amqp", u.AMQP)
	all = listed(all, "amqp1", u.AMQP1)
	all = listed(all, "redis", u.Redis)
	all = listed(all, "websocket", u.WebSocket)
	all = listed(all, "file", u.File)
	all = listed(all, "stomp", u.STOMP)
	all = listed(all, "nats", u.NATS)
	return all
}

func listed[T doorOut](all []upstream, kind string, tables []T) []upstream {
	for i, t := range tables {
		all = append(all, upstreamAt(kind, i, t))
	}
	return all
}

func upstreamAt(kind string, i int, t doorOut) upstream {
	return upstream{fmt.Sprintf("uplink.%s[%d]", kind, i), kind, t}
}

func (u Uplink) validate(r refuse) {
	names := make(map[string]string)
	for _, up := range u.all() {
		up.validate(r, up.key)
		name := up.settings().Name
		if taken, ok := names[name]; ok && name != "" {
			r(up.key+".name", "give each uplink a name of its own: it names a place in the buffer", "%q is the name of %s", name, taken)
		}
		names[name] = up.key
	}
}

func (u Upstream) settings() Upstream { return u }

// validateSettings checks the keys that all doors out have. encodings are those
// that the door can send.
func (u Upstream) validateSettings(r refuse, key string, encodings ...string) {
	switch {
	case u.Name == "":
		r(key+".name", `write for example "cloud"`, "is missing")
	case !isName(u.Name):
		r(key+".name", nameHint, "%q is no valid name", u.Name)
	}
	r.oneOf(key+".encoding", u.Encoding, encodings...)
	r.oneOf(key+".message_per", u.MessagePer, "batch", "device", "series", "reading")
	u.validateCut(r, key)
	between(r, key+".max_batch", u.MaxBatch, conf.KiB, 4*conf.MiB)
	between(r, key+".window", u.Window, 1, 64)
	between(r, key+".timeout", u.Timeout, conf.Duration(time.Second), conf.Duration(10*time.Minute))
	if (u.TLSCert == "") != (u.TLSKey == "") {
		r(key+".tls_cert", "name both tls_cert and tls_key, or neither", "a certificate and its key belong together")
	}
}

// validateURL checks the URL of a door out. schemes are those of the protocol
// without and with TLS, "mqtt" and "mqtts".
func (u Upstream) validateURL(r refuse, key, text, example string, schemes ...string) {
	hint := fmt.Sprintf("write for example %q", example)
	if text == "" {
		r(key, hint, "is missing")
		return
	}
	at, err := url.Parse(text)
	switch {
	case err != nil:
		r(key, hint, "is no URL")
	case at.User != nil: // before anything that shows the text
		r(key, "put secrets into a file and name it in the key that ends in _file", "holds credentials, which end up in logs")
	case !slices.Contains(schemes, at.Scheme):
		r(key, hint, "%q begins with neither %s://", text, strings.Join(schemes, ":// nor "))
	case at.Hostname() == "":
		r(key, hint, "%q names no host", text)
	case !isPort(at.Port()):
		r(key, "write a number from 1 to 65535 after the colon", "%q has no valid port", text)
	case at.Fragment != "":
		r(key, "leave out what begins with #", "%q has a fragment, which is never sent", text)
	case !u.isSafe(at, schemes[0]):
		r(key, fmt.Sprintf("use %s://, ", schemes[len(schemes)-1])+insecure, "%q leaves this machine without encryption", text)
	}
}

// isSafe reports whether nobody on the way can read along, or this is meant.
func (u Upstream) isSafe(at *url.URL, plain string) bool {
	return at.Scheme != plain || isLoopback(at.Hostname()) || u.InsecureIKnow
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && n > 0
}

// validateTemplate checks an address that is made of names in messages.
func (u Upstream) validateTemplate(r refuse, key, text string) {
	t, err := uplink.ParseTemplate(text)
	if err != nil {
		r.because(key, err)
		return
	}
	needs := t.Needs()
	if needs == "device" && u.MessagePer == "batch" || needs == "metric" && (u.MessagePer == "batch" || u.MessagePer == "device") {
		r(key, `set message_per to "series" or "reading", or to "device" if the metric is not used`,
			"%q needs messages of one %s, and message_per is %q", text, needs, u.MessagePer)
	}
}

// tlsClient makes the TLS configuration, which says nothing of the server's name
// if the table does not.
func (u Upstream) tlsClient(floor time.Time, log *slog.Logger) (*tls.Config, error) {
	return tlsclient.Config{
		CA: u.TLSCA, Cert: u.TLSCert, Key: u.TLSKey, ServerName: u.TLSServerName, Floor: floor,
		Unread: func(err error) { log.Warn("the one before stays in use", "err", err) },
	}.Build()
}

// tlsFor returns the TLS configuration for a host, nil for a scheme without.
func (w way) tlsFor(at *url.URL, secure ...string) *tls.Config {
	if !slices.Contains(secure, at.Scheme) {
		return nil
	}
	c := w.tls.Clone()
	if c.ServerName == "" {
		c.ServerName = at.Hostname()
	}
	return c
}

// hostPort returns the address of a URL, with the port of its protocol if it
// names none.
func hostPort(at *url.URL, usual string) string {
	port := at.Port()
	if port == "" {
		port = usual
	}
	return net.JoinHostPort(at.Hostname(), port)
}

// piecewise is a door out that sends the parts of a message one by one.
type piecewise interface{ piecewise() }

// lineWriter is a door out that has more to say about the encoding line.
type lineWriter interface{ line() encode.LineConfig }

// encoder returns the encoder of an uplink.
func (u upstream) encoder(gateway string) (uplink.Encoder, error) {
	s := u.settings()
	cfg := encode.Config{Gateway: gateway, Encoding: s.Encoding}
	cfg.Per, _ = encode.ParsePer(s.MessagePer)
	_, cfg.Pieces = u.doorOut.(piecewise)
	if l, ok := u.doorOut.(lineWriter); ok {
		cfg.Line = l.line()
	}
	return encode.New(cfg)
}

// validateCut checks whether the encoding can be cut as asked for.
func (u Upstream) validateCut(r refuse, key string) {
	per, ok := encode.ParsePer(u.MessagePer)
	if !ok || !slices.Contains(encode.Encodings(), u.Encoding) {
		return
	}
	if _, err := encode.New(encode.Config{Encoding: u.Encoding, Per: per}); err != nil {
		r.because(key+".message_per", err)
	}
}
