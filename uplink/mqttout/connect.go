package mqttout

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
)

// again is after how long a server that did not know MQTT 5 is asked anew: it
// may have been updated. One that has only hung up may have had another reason.
const (
	again         = 24 * time.Hour
	againIfHungUp = time.Hour
)

// sessionExpiry is for how long a server of MQTT 5 keeps the second halves of
// exchanges of QoS 2.
const sessionExpiry = time.Hour

// errVersion says that the server does not know MQTT 5.
var errVersion = errors.New("the server does not speak MQTT 5 — hint: set protocol = \"auto\" or \"3.1.1\"")

// errHungUp says that this was concluded from how it hung up on a login.
var errHungUp = errors.New("it hangs up")

// terms are what the server grants in CONNACK.
type terms struct {
	level          byte
	receiveMaximum int // publications under way
	maxPacket      int // bytes of a packet
	aliases        int
	maxQoS         byte
	retain         bool
	serverKeep     *time.Duration // what it wants instead of our keep-alive
	clientID       string         // given to us; "" for ours
	present        bool           // it had a session of ours
	session        bool           // it keeps one when the connection ends
}

func termsOf(pk *packets.Packet) terms {
	t := terms{level: pk.ProtocolVersion, receiveMaximum: maxExchanges, maxPacket: maxRemaining, maxQoS: 2, retain: true, present: pk.SessionPresent}
	p := &pk.Properties
	if p.ReceiveMaximum > 0 {
		t.receiveMaximum = int(p.ReceiveMaximum)
	}
	if p.MaximumPacketSize > 0 {
		t.maxPacket = int(min(p.MaximumPacketSize, maxRemaining))
	}
	t.aliases = int(p.TopicAliasMaximum)
	if p.MaximumQosFlag {
		t.maxQoS = p.MaximumQos
	}
	t.retain = !p.RetainAvailableFlag || p.RetainAvailable == 1
	if p.ServerKeepAliveFlag {
		keep := time.Duration(p.ServerKeepAlive) * time.Second
		t.serverKeep = &keep
	}
	t.clientID = strings.Clone(p.AssignedClientID)
	return t
}

// keepAlive is what holds: the server's word, or else ours.
func (t terms) keepAlive(ours time.Duration) time.Duration {
	if t.serverKeep != nil {
		return *t.serverKeep
	}
	return ours
}

func (t terms) aliasRoom(ours int, what *learned) int {
	if what.noAliases.Load() {
		return 0
	}
	return min(t.aliases, ours)
}

// String describes the server for people.
func (t terms) String() string {
	if t.level < level5 {
		return "MQTT 3.1.1"
	}
	s := fmt.Sprintf("MQTT 5, %d publications at once", t.receiveMaximum)
	if t.maxPacket < maxRemaining {
		s += fmt.Sprintf(", packets of up to %d bytes", t.maxPacket)
	}
	if t.aliases > 0 {
		s += fmt.Sprintf(", %d topic aliases", t.aliases)
	}
	if t.maxQoS < 2 {
		s += fmt.Sprintf(", QoS %d at the most", t.maxQoS)
	}
	if !t.retain {
		s += ", keeps no retained messages"
	}
	if t.serverKeep != nil {
		s += fmt.Sprintf(", keep-alive %v", *t.serverKeep)
	}
	if t.clientID != "" {
		s += ", calls us " + quote(t.clientID)
	}
	return s
}

// login is who connects, and how.
type login struct {
	clientID string
	level    byte
	clean    bool
	session  bool // that outlives the connection
	will     *publication
}

// connect makes a link: over MQTT 5 if the server speaks that and nobody wants
// otherwise, over 3.1.1 if not.
func (s *Sink) connect(ctx context.Context, l login) (*link, error) {
	l.level = s.level()
	made, err := s.dial(ctx, l)
	if !errors.Is(err, errVersion) || s.cfg.Protocol != Auto {
		return made, err
	}
	refusal := err
	l.level = level311
	made, err = s.dial(ctx, l)
	return made, s.older(refusal, err)
}

// older notes that the server knows 3.1.1 only, if it has answered to that.
func (s *Sink) older(refusal, err error) error {
	if _, judged := uplink.RetryDelay(err); err == nil || judged {
		until := time.Now().Add(again)
		if errors.Is(refusal, errHungUp) {
			until = time.Now().Add(againIfHungUp)
		}
		s.learned.only311.Store(&until)
		s.learned.speaks5.Store(false)
	}
	return err
}

// hungUp judges a login with MQTT 5 that was hung up on, as RabbitMQ before 3.13
// does. A server that has spoken it before is away for a moment, unless it goes on.
func (s *Sink) hungUp(err error) error {
	if s.learned.hangups.Add(1) < suspicious && s.learned.speaks5.Load() {
		return lost(fmt.Errorf("CONNECT: %w", err))
	}
	return fmt.Errorf("%w: %w", errVersion, errHungUp)
}

// level is the version of the protocol to try.
func (s *Sink) level() byte {
	until := s.learned.only311.Load()
	if s.cfg.Protocol == V311 || s.cfg.Protocol == Auto && until != nil && time.Now().Before(*until) {
		return level311
	}
	return level5
}

// dial makes one attempt. The link that it returns has not been started.
func (s *Sink) dial(ctx context.Context, l login) (*link, error) {
	raw, err := s.cfg.Dial(ctx, "tcp", s.cfg.Address)
	if err != nil {
		return nil, netfault.Explain(err)
	}
	made, err := s.enter(ctx, raw, l)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return made, nil
}

// enter logs in over a connection.
func (s *Sink) enter(ctx context.Context, raw net.Conn, l login) (*link, error) {
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn := raw
	if s.cfg.TLS != nil {
		secure := tls.Client(raw, s.cfg.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, netfault.Explain(fmt.Errorf("TLS: %w", cause(ctx, err)))
		}
		conn = secure
	}
	if s.cfg.Path != "" {
		web, err := s.overWebSocket(ctx, conn)
		if err != nil {
			return nil, netfault.Explain(cause(ctx, err))
		}
		conn = web
	}
	r := bufio.NewReaderSize(conn, 4<<10)
	l = s.suit(l)
	pk, err := s.greet(conn, r, l)
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close() // before what is above: that may want to say goodbye
		conn.Close()
		return nil, netfault.Explain(cause(ctx, err))
	}
	t := termsOf(pk)
	t.session = l.session
	s.learned.maxPacket.Store(int64(t.maxPacket % maxRemaining)) // the largest is no limit
	return newLink(conn, raw, r, t, &s.cfg, &s.learned), nil
}

// cause prefers the end of ctx to what it made of the connection.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("no answer: %w", ctx.Err())
	}
	return err
}

// greet sends CONNECT and judges the answer.
func (s *Sink) greet(conn net.Conn, r *bufio.Reader, l login) (*packets.Packet, error) {
	hello, err := s.hello(l)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(hello); err != nil {
		return nil, fmt.Errorf("CONNECT: %w", err)
	}
	first, body, err := readPacket(r, nil)
	if l.level == level5 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) {
		return nil, s.hungUp(err)
	}
	if err != nil {
		return nil, lost(fmt.Errorf("CONNECT: %w", err))
	}
	pk, err := decode(first, body, l.level)
	if err != nil {
		return nil, lost(err)
	}
	code := pk.ReasonCode
	switch {
	case pk.FixedHeader.Type != packets.Connack:
		return nil, lost(fmt.Errorf("%w: %s instead of CONNACK", errMalformed, packets.PacketNames[pk.FixedHeader.Type]))
	case l.level == level5 && (code == packets.ErrUnsupportedProtocolVersion.Code || pk.ProtocolVersion < level5 && code == 1):
		return nil, fmt.Errorf("%w: it says 0x%02X", errVersion, code)
	case l.level == level5:
		s.learned.speaks5.Store(true)
		s.learned.hangups.Store(0)
	}
	return &pk, judgeConnack(&pk)
}

// hello is CONNECT.
func (s *Sink) hello(l login) ([]byte, error) {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: l.level,
		Connect: packets.ConnectParams{
			ProtocolName: []byte("MQTT"), ClientIdentifier: l.clientID, Clean: l.clean,
			Keepalive: uint16(s.cfg.KeepAlive / time.Second),
		},
		Properties: packets.Properties{MaximumPacketSize: maxAnswer},
	}
	if l.session {
		pk.Properties.SessionExpiryIntervalFlag = true
		pk.Properties.SessionExpiryInterval = uint32(max(sessionExpiry, s.cfg.State.delay()) / time.Second)
	}
	c := &pk.Connect
	if s.cfg.Username != "" {
		c.UsernameFlag, c.Username = true, []byte(s.cfg.Username)
	}
	if !s.cfg.Password.IsZero() {
		c.PasswordFlag, c.Password = true, []byte(s.cfg.Password.Reveal())
	}
	if w := l.will; w != nil {
		c.WillFlag, c.WillRetain, c.WillQos = true, true, 1
		c.WillTopic, c.WillPayload = w.topic, w.payload
		c.WillProperties.WillDelayInterval = uint32(s.cfg.State.Delay / time.Second)
		c.WillProperties.PayloadFormat, c.WillProperties.PayloadFormatFlag = 1, true
	}
	var buf bytes.Buffer
	if err := pk.ConnectEncode(&buf); err != nil {
		return nil, fmt.Errorf("CONNECT: %w", err)
	}
	return buf.Bytes(), nil
}
