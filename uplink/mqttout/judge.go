package mqttout

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/uplink"
)

const (
	// busyDelay is how long to wait for a server that has enough for now. MQTT
	// has no place for a server to say how long.
	busyDelay = 10 * time.Second
)

// maxQuote is how much of a server's words is quoted in an error, in bytes.
const maxQuote = 200

// class is what a code means for the Forwarder.
type class int

const (
	transient class = iota
	busy            // RetryAfter(busyDelay)
	wrong           // Misconfigured: somebody has to correct a configuration
	never           // Permanent: not these bytes
	tooLarge        // TooLarge
)

// meaning is what a reason code means where it stands.
type meaning struct {
	class class
	name  string
	hint  string
}

const (
	hintLater   = "the server is busy or out of order; the message will be sent again"
	hintID      = "set client_id; some servers want it to be the user's name, or one of a list"
	hintLogin   = "check username and password_file"
	hintAllowed = "let this user publish to that topic in the server's access list, or change topic"
	hintServer  = "put the other server into the address"
	hintLarge   = "the server takes smaller messages only; lower max_batch"
	hintTwice   = "another client logs in with the same client_id; give every gateway its own"
	hintOurs    = "the two sides disagree about the protocol; the connection is made anew"
)

// refusals5 are the codes of MQTT 5.0, 2.4, in answers to CONNECT.
var refusals5 = map[byte]meaning{
	0x80: {transient, "unspecified error", hintLater},
	0x81: {transient, "malformed packet", `try protocol = "3.1.1"`},
	0x82: {transient, "protocol error", `try protocol = "3.1.1"`},
	0x83: {transient, "implementation specific error", hintLater},
	0x84: {wrong, "unsupported protocol version", `set protocol = "auto"`},
	0x85: {wrong, "client identifier not valid", hintID},
	0x86: {wrong, "bad user name or password", hintLogin},
	0x87: {wrong, "not authorized", "check username and password_file, and whether this user may publish to state_topic"},
	0x88: {transient, "server unavailable", hintLater},
	0x89: {busy, "server busy", hintLater},
	0x8A: {wrong, "banned", "ask who runs the server"},
	0x8C: {wrong, "bad authentication method", "the server wants another way to log in than a user name and a password"},
	0x90: {wrong, "topic name invalid", "change state_topic: the server does not take it for a will"},
	0x95: {wrong, "packet too large", "shorten the texts of the gateway's state: the server takes smaller packets only"},
	0x97: {busy, "quota exceeded", hintLater},
	0x99: {wrong, "payload format invalid", "change state_offline: the server does not take it for a will"},
	0x9A: {wrong, "retain not supported", `the server keeps no will; set state_topic = ""`},
	0x9B: {wrong, "QoS not supported", `the server takes the will with QoS 0 only; set state_topic = ""`},
	0x9C: {wrong, "use another server", hintServer},
	0x9D: {wrong, "server moved", hintServer},
	0x9F: {busy, "connection rate exceeded", hintLater},
}

// refusals311 are the codes of MQTT 3.1.1, 3.2.2.3.
var refusals311 = map[byte]meaning{
	1: {wrong, "unacceptable protocol version", `set protocol = "auto" or "5"`},
	2: {wrong, "identifier rejected", hintID},
	3: {transient, "server unavailable", hintLater},
	4: {wrong, "bad user name or password", hintLogin},
	5: {wrong, "not authorized", hintLogin},
}

// answers are the codes in PUBACK, PUBREC and PUBCOMP. MQTT 5.0, 3.4.2.1.
var answers = map[byte]meaning{
	0x80: {transient, "unspecified error", hintLater},
	0x83: {transient, "implementation specific error", hintLater},
	0x87: {wrong, "not authorized", hintAllowed},
	0x90: {never, "topic name invalid", "the server does not take this topic; change topic, or what the device is called"},
	0x91: {transient, "packet identifier in use", hintOurs},
	0x92: {transient, "packet identifier not found", hintOurs},
	0x95: {tooLarge, "packet too large", hintLarge},
	0x97: {busy, "quota exceeded", hintLater},
	0x99: {never, "payload format invalid", "the server does not accept this content; check encoding"},
}

// farewells are the codes in DISCONNECT. MQTT 5.0, 3.14.2.1.
var farewells = map[byte]meaning{
	0x81: {transient, "malformed packet", hintOurs},
	0x82: {transient, "protocol error", hintOurs},
	0x87: {wrong, "not authorized", hintAllowed},
	0x89: {busy, "server busy", hintLater},
	0x8B: {transient, "server shutting down", hintLater},
	0x8D: {transient, "keep alive timeout", "the link is slower than keepalive allows; raise it"},
	0x8E: {wrong, "session taken over", hintTwice},
	0x90: {transient, "topic name invalid", "the server does not take one of the topics; change topic"},
	0x93: {transient, "receive maximum exceeded", hintOurs},
	0x94: {transient, "topic alias invalid", "topics are written out from now on"},
	0x95: {tooLarge, "packet too large", hintLarge},
	0x96: {busy, "message rate too high", "the server takes fewer messages a second; send larger ones, see message_per"},
	0x97: {busy, "quota exceeded", hintLater},
	0x98: {wrong, "administrative action", "somebody has ended the connection at the server"},
	0x99: {transient, "payload format invalid", "the server does not accept this content; check encoding"},
	0x9A: {wrong, "retain not supported", "set retain = false"},
	0x9B: {wrong, "QoS not supported", "lower qos"},
	0x9C: {wrong, "use another server", hintServer},
	0x9D: {wrong, "server moved", hintServer},
	0x9F: {busy, "connection rate exceeded", hintLater},
	0xA0: {transient, "maximum connect time", "the connection is made anew"},
}

// judgeConnack turns the answer to CONNECT into an error; nil if we are in.
// Wrong credentials and identifiers are never held against the readings: they
// wait until somebody has corrected the configuration.
func judgeConnack(pk *packets.Packet) error {
	table := refusals311
	if pk.ProtocolVersion >= level5 {
		table = refusals5
	}
	if pk.ReasonCode == 0 {
		return nil
	}
	return judge(pk, table, "refuses the connection")
}

// judgeAnswer turns the answer to a publication into its error; nil if the
// server has it. Codes below 0x80 are success, 0x10 among them: that nobody has
// subscribed is not the gateway's business.
func judgeAnswer(pk *packets.Packet, pub *publication) error {
	if pk.ReasonCode < 0x80 {
		return nil
	}
	return judge(pk, answers, fmt.Sprintf("refuses %d bytes to %s", len(pub.payload), quote(pub.topic)))
}

// judgeFarewell turns a DISCONNECT of the server into the error of everything
// that was under way. That a packet was too large is said of one that nobody
// names, so others do not suffer for it: see (*link).fail.
func judgeFarewell(pk *packets.Packet) error {
	return judge(pk, farewells, "ends the connection")
}

func judge(pk *packets.Packet, table map[byte]meaning, does string) error {
	m, known := table[pk.ReasonCode]
	if !known {
		m = meaning{transient, "a code without a meaning here", hintLater}
	}
	text := fmt.Sprintf("the server %s: 0x%02X, %s", does, pk.ReasonCode, m.name)
	if said := pk.Properties.ReasonString; said != "" {
		text += " " + quote(said)
	}
	if other := pk.Properties.ServerReference; other != "" {
		text += ", " + quote(other)
	}
	return m.class.mark(errors.New(text + " — hint: " + m.hint))
}

func (c class) mark(err error) error {
	switch c {
	case busy:
		return uplink.RetryAfter(err, busyDelay)
	case wrong:
		return uplink.Misconfigured(err)
	case never:
		return uplink.Permanent(err)
	case tooLarge:
		return uplink.TooLarge(err)
	}
	return err
}

// worse returns the error that decides about a message both befell: what is
// final before what waits for long, before what may pass.
func worse(a, b error) error {
	if rank(b) > rank(a) {
		return b
	}
	return a
}

func rank(err error) time.Duration {
	delay, asked := uplink.RetryDelay(err)
	switch {
	case err == nil:
		return 0
	case uplink.IsTooLarge(err): // the smaller ones will tell the rest
		return 4 * time.Hour
	case uplink.IsPermanent(err):
		return 3 * time.Hour
	case asked:
		return 1 + delay
	}
	return 1
}

// quote makes the head of a foreign text safe for logs and terminals.
func quote(s string) string {
	if len(s) > maxQuote {
		s = s[:maxQuote] + "..."
	}
	return strconv.Quote(strings.ToValidUTF8(s, "?"))
}
