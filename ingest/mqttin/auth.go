package mqttin

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// login decides whether the peer of a CONNECT may come in. It returns zero, or
// the reason of MQTT 5 for which it may not; the connection holds the claim to
// its session when it may.
func (c *conn) login(cl *mqtt.Client, pk packets.Packet) (reason byte) {
	if c.probe {
		if !c.broker.own.named(cl.ID) {
			return codeNotAuthorized // it connects again, and from another address
		}
		c.session, _ = c.broker.claimSession(c, cl.ID)
		return 0
	}
	if c.user, reason = c.identify(pk.Connect); reason != 0 {
		return reason
	}
	cfg := &c.broker.cfg
	if cfg.MatchClientID && !ownsClientID(c.user, pk.Connect.ClientIdentifier) {
		return codeClientIDInvalid
	}
	c.rights = rightsOf(cfg.Rules, c.user, cl.ID)
	if pk.Connect.WillFlag && !c.rights.mayPublish(pk.Connect.WillTopic) {
		return codeNotAuthorized
	}
	var ours bool
	if c.session, ours = c.broker.claimSession(c, cl.ID); !ours {
		return codeClientIDInvalid
	}
	return 0
}

// identify finds out who the peer is. A certificate says it for certain, so
// what its owner writes into CONNECT does not count. An anonymous peer has no
// name, whatever it says.
func (c *conn) identify(hello packets.ConnectParams) (user string, reason byte) {
	cfg := &c.broker.cfg
	if user, ok := certificateUser(c.Conn); ok {
		if user == "" {
			return "", codeNotAuthorized
		}
		return user, 0
	}
	switch {
	case cfg.Authorize != nil:
		return string(hello.Username), c.checkPassword(string(hello.Username), hello.Password)
	case !cfg.Anonymous:
		return "", codeNotAuthorized
	}
	return "", 0
}

// checkPassword asks Authorize, for no longer than a client has to connect, and
// not at all while the last wrong passwords of this user, from this host, are
// too recent.
func (c *conn) checkPassword(user string, password []byte) (reason byte) {
	b := c.broker
	who := guesser{host(c), user}
	if !b.throttle.begin(who, time.Now()) {
		return codeRateExceeded
	}
	result := undecided
	defer func() { b.throttle.end(who, time.Now(), result) }()
	ctx, cancel := context.WithTimeout(b.ctx, b.cfg.ConnectTimeout)
	defer cancel()
	switch {
	case b.cfg.Authorize(ctx, user, password):
		result = right
		return 0
	case ctx.Err() != nil:
		return codeServerBusy
	}
	result = wrong
	return codeBadLogin
}

// certificateUser returns the name in the verified certificate of a peer that
// has one: its common name, or else its first DNS name. The name is empty when
// it cannot be a user's.
func certificateUser(nc net.Conn) (name string, ok bool) {
	secure, ok := nc.(*tls.Conn)
	if !ok {
		return "", false
	}
	state := secure.ConnectionState()
	if len(state.VerifiedChains) == 0 {
		return "", false
	}
	leaf := state.PeerCertificates[0]
	name = leaf.Subject.CommonName
	if name == "" && len(leaf.DNSNames) > 0 {
		name = leaf.DNSNames[0]
	}
	if strings.Contains(name, ":") { // see ownsClientID
		return "", true
	}
	return name, true
}

// ownsClientID says whether a client identifier is the user's name, or begins
// with it and a colon. No user's name holds a colon, so nobody owns another's. An empty
// identifier is replaced by one that is new.
func ownsClientID(user, id string) bool {
	return id == "" || user != "" && (id == user || strings.HasPrefix(id, user+":"))
}

// connackCode is the reason as the CONNACK of a version says it.
func connackCode(version, reason byte) byte {
	if version == 5 {
		return reason
	}
	switch reason {
	case codeClientIDInvalid:
		return 2
	case codeServerBusy, codeRateExceeded:
		return 3
	}
	return 5 // not authorized
}

// refusedConnack is the answer to a CONNECT that broke the rules; nil where the
// version has none. 3.1 and 3.1.1 have one for a version that is not spoken
// [MQTT-3.1.2-2] and one for an identifier [MQTT-3.1.3-8].
func refusedConnack(version byte, err error) []byte {
	var v *violation
	switch {
	case !errors.As(err, &v) || version == 0:
		return nil
	case version == 5:
		return []byte{typeConnack << 4, 3, 0, v.code, 0}
	case v.code == codeBadVersion:
		return []byte{typeConnack << 4, 2, 0, 1}
	case v.code == codeClientIDInvalid:
		return []byte{typeConnack << 4, 2, 0, 2}
	}
	return nil
}

// turnAway counts a peer that may not come in, and says so.
func (c *conn) turnAway(id string, reason byte) {
	c.refusal = reason
	b := c.broker
	b.stats.badLogins.Add(1)
	if user := brief(c.user); b.said.First(host(c), user, time.Now()) {
		b.log.Warn("mqtt client may not connect", "event", "login_refused", "remote", c.RemoteAddr().String(), "client", brief(id), "user", user, "err", reasonText(reason))
	}
}

// mostTold is how many bytes of a foreign text are told of.
const mostTold = 200

// brief makes what a peer has chosen, which may have 64 KiB, fit for a line of the log.
func brief(text string) string {
	if len(text) <= mostTold {
		return text
	}
	return strings.ToValidUTF8(text[:mostTold], "") + "…"
}

// noteHandshake tells why TLS did not come about, which nobody else would say. A
// peer that went away, or said nothing, has no reason worth telling.
func (c *conn) noteHandshake(err error) {
	secure, ok := c.Conn.(*tls.Conn)
	if !ok || secure.ConnectionState().HandshakeComplete || errors.Is(err, io.EOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	b := c.broker
	b.stats.badLogins.Add(1)
	if b.said.First(host(c), "", time.Now()) {
		b.log.Warn("mqtt client did not get through TLS", "event", "login_refused", "remote", c.RemoteAddr().String(), "err", err)
	}
}

func reasonText(reason byte) string {
	switch reason {
	case codeBadLogin:
		return "user name or password is wrong"
	case codeClientIDInvalid:
		return "client identifier is not the user's, or its session is another's"
	case codeServerBusy:
		return "too many passwords to check"
	case codeRateExceeded:
		return "wrong passwords were too many and too recent"
	}
	return "not authorized"
}

// deny answers a publish that the rules do not allow, if it can be answered: see
// look. It is not stored, so nothing that sounds like a receipt may be said.
func (c *conn) deny(f frame) {
	c.countDenied()
	p, err := parsePublish(f, c.version)
	if err != nil || f.qos() == 0 {
		return
	}
	ack := byte(typePuback)
	if f.qos() == 2 {
		ack = typePubrec
	}
	c.gate.acknowledge(nil, appendNegative(nil, ack, p.id, codeNotAuthorized), 1)
	c.gate.waitBelow(c.broker.cfg.MaxUnacked)
}

func (c *conn) countDenied() {
	b := c.broker
	c.stats.denied.Add(1)
	if id := brief(c.client.ID); b.said.First(id, "", time.Now()) {
		b.log.Warn("mqtt client may not publish there", "event", "acl_denied", "client", id, "user", brief(c.user), "topic", brief(c.topics.last.name))
	}
}

// errDenied ends a connection of MQTT before 5, which knows no negative
// acknowledgement: to acknowledge would be to lie.
var errDenied = &violation{codeNotAuthorized, "the rules do not allow this publish"}
