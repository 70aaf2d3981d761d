// Package overmqtt brings commands from an MQTT broker somewhere else, 5 and 3.1.1,
// and takes answers back to it.
//
// It subscribes to one filter with QoS 1, in a session that the broker keeps while
// the gateway is away. PUBACK says that a command is decided and on flash, and that
// the broker has the answer; until then it is the broker's, which sends it again.
// Answers are published with QoS 1 to a topic of their own, as JSON.
package overmqtt

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// Protocol is a version of MQTT, or the choice among them.
type Protocol string

// The values of Protocol. Auto tries 5, and 3.1.1 with a server that does not
// know it.
const (
	Auto Protocol = "auto"
	V5   Protocol = "5"
	V311 Protocol = "3.1.1"
)

// Config says which broker, as whom, and where commands and answers go.
type Config struct {
	// Address is host:port.
	Address string
	// TLS is nil for a connection without.
	TLS *tls.Config
	// Dial reaches the network; nil stands for a net.Dialer with 10 s.
	Dial onelink.Dial
	// Protocol is Auto if empty.
	Protocol Protocol
	// ClientID names this client, and its session, to the broker. It must differ
	// from that of an uplink to the same broker.
	ClientID string
	Username string // "" for none
	Password conf.Secret
	// Topic is the filter that is subscribed to.
	Topic string
	// Answers is where answers are published; empty for nowhere.
	Answers string
	// SessionExpiry is for how long a broker of MQTT 5 keeps the session, 7 days by
	// default.
	SessionExpiry time.Duration
	// KeepAlive is after how long without traffic the broker is asked for a sign of
	// life, a minute by default. One that is gone is noticed within one and a half
	// times that long.
	KeepAlive time.Duration
}

const (
	level311 = 4
	level5   = 5
	// loginTimeout bounds everything from the dial to CONNACK.
	loginTimeout = 30 * time.Second
	// window is how many commands a broker of MQTT 5 may send ahead, and how many
	// answers are sent ahead.
	window = 16
	// maxPacket is what a broker of MQTT 5 is told to send at the most, and what is
	// read of a packet of any: a larger command is refused, not kept.
	maxPacket = command.MaxBody + 8<<10
)

// Courier brings commands over MQTT. Run it in one goroutine at a time.
type Courier struct {
	cfg     Config
	log     *slog.Logger
	only311 atomic.Bool
}

// New returns a Courier. It does not connect yet.
func New(cfg Config, log *slog.Logger) *Courier {
	if cfg.Protocol == "" {
		cfg.Protocol = Auto
	}
	if cfg.SessionExpiry == 0 {
		cfg.SessionExpiry = 7 * 24 * time.Hour
	}
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = time.Minute
	}
	return &Courier{cfg: cfg, log: log}
}

// Run implements command.Courier.
func (c *Courier) Run(ctx context.Context, clerk *command.Clerk) error {
	l, err := c.open(ctx, c.cfg.ClientID, false)
	if err == nil {
		err = c.subscribe(l)
	}
	if err == nil {
		err = c.serve(ctx, l, clerk)
	}
	if l != nil {
		l.Close()
	}
	if ctx.Err() != nil {
		return nil
	}
	return c.about(err)
}

func (c *Courier) about(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("commands from %s: %w", c.cfg.Address, netfault.Explain(err))
}

// Probe logs in and subscribes to nothing: a gateway that runs is not thrown out.
// It returns a short description of the broker.
func (c *Courier) Probe(ctx context.Context) (string, error) {
	l, err := c.open(ctx, c.cfg.ClientID+":check", true)
	if err != nil {
		return "", c.about(err)
	}
	defer l.Close()
	err = l.put([]byte{packets.Disconnect << 4, 0})
	return l.about(), c.about(err)
}

// link is a connection that is logged in.
type link struct {
	*onelink.Conn
	in     *bufio.Reader
	level  byte
	window int // answers that may be under way
}

// about describes the broker.
func (l *link) about() string {
	if l.level == level5 {
		return "MQTT 5"
	}
	return "MQTT 3.1.1"
}

// errVersion says that the broker does not know MQTT 5.
var errVersion = errors.New("the broker does not speak MQTT 5 — hint: set protocol = \"auto\" or \"3.1.1\"")

// open connects and logs in, over MQTT 5 if the broker speaks that.
func (c *Courier) open(ctx context.Context, clientID string, clean bool) (*link, error) {
	if c.cfg.Protocol != V311 && !(c.cfg.Protocol == Auto && c.only311.Load()) {
		l, err := c.enter(ctx, clientID, clean, level5)
		if !errors.Is(err, errVersion) || c.cfg.Protocol != Auto {
			return l, err
		}
	}
	l, err := c.enter(ctx, clientID, clean, level311)
	if err == nil {
		c.only311.Store(true)
	}
	return l, err
}

func (c *Courier) enter(ctx context.Context, clientID string, clean bool, level byte) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	wire, err := onelink.Open(ctx, c.cfg.Dial, c.cfg.Address, c.cfg.TLS)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { wire.Close() })
	l := &link{Conn: wire, in: bufio.NewReaderSize(wire, 4<<10), level: level, window: window}
	err = c.greet(l, clientID, clean)
	if !stop() {
		err = fmt.Errorf("log in: no answer: %w", ctx.Err())
	}
	if err != nil {
		wire.Close()
		return nil, err
	}
	return l, nil
}

// greet sends CONNECT and reads the answer.
func (c *Courier) greet(l *link, clientID string, clean bool) error {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: l.level,
		Connect: packets.ConnectParams{
			ProtocolName: []byte("MQTT"), ClientIdentifier: clientID, Clean: clean, Keepalive: uint16(c.cfg.KeepAlive / time.Second),
			UsernameFlag: c.cfg.Username != "", Username: []byte(c.cfg.Username),
			PasswordFlag: !c.cfg.Password.IsZero(), Password: []byte(c.cfg.Password.Reveal()),
		},
	}
	if l.level == level5 {
		pk.Properties = packets.Properties{ReceiveMaximum: window, MaximumPacketSize: maxPacket}
		if !clean {
			pk.Properties.SessionExpiryIntervalFlag, pk.Properties.SessionExpiryInterval = true, uint32(c.cfg.SessionExpiry/time.Second)
		}
	}
	if err := l.send(&pk); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	ack, err := l.read()
	if l.level == level5 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) {
		return errVersion // as RabbitMQ before 3.13 does
	}
	switch {
	case err != nil:
		return fmt.Errorf("log in: %w", err)
	case ack.FixedHeader.Type != packets.Connack:
		return fmt.Errorf("log in: %w", errMalformed)
	case l.level == level5 && (ack.ProtocolVersion != level5 || ack.ReasonCode == packets.ErrUnsupportedProtocolVersion.Code):
		return errVersion
	case ack.ReasonCode != 0:
		return refusal(ack.ReasonCode)
	}
	if n := ack.Properties.ReceiveMaximum; l.level == level5 && n > 0 {
		l.window = min(l.window, int(n))
	}
	return nil
}

// refusal is why the broker does not let us in.
func refusal(code byte) error {
	hint := "see what the broker's log says"
	switch code {
	case 2, packets.ErrClientIdentifierNotValid.Code:
		hint = "set client_id; some brokers want it to be the user's name"
	case 4, 5, packets.ErrBadUsernameOrPassword.Code, packets.ErrNotAuthorized.Code:
		hint = "check username and password_file"
	case 3, packets.ErrServerUnavailable.Code, packets.ErrServerBusy.Code:
		hint = "the broker is busy; it is tried again"
	}
	return fmt.Errorf("log in: refused with code 0x%02X — hint: %s", code, hint)
}

// subscribe asks for commands. SUBACK may come behind some; serve looks at it.
func (c *Courier) subscribe(l *link) error {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, ProtocolVersion: l.level, PacketID: subscribeID,
		Filters: packets.Subscriptions{{Filter: c.cfg.Topic, Qos: 1}},
	}
	if err := l.send(&pk); err != nil {
		return fmt.Errorf("subscribe to %s: %w", c.cfg.Topic, err)
	}
	return nil
}

// subscribeID is the packet identifier of the only SUBSCRIBE. Answers have those
// from firstAnswer on.
const (
	subscribeID = 1
	firstAnswer = 2
)

// send writes a packet that may be encoded in one way only.
func (l *link) send(pk *packets.Packet) error {
	var buf bytes.Buffer
	var err error
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectEncode(&buf)
	case packets.Subscribe:
		err = pk.SubscribeEncode(&buf)
	case packets.Publish:
		err = pk.PublishEncode(&buf)
	}
	if err != nil {
		return err
	}
	return l.put(buf.Bytes())
}

// writeTimeout is how long the other side may take nothing of what is sent.
const writeTimeout = 10 * time.Second

func (l *link) put(b []byte) error {
	if err := l.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := l.Write(b)
	return err
}
