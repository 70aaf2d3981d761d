package mqttin

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// field encodes one field of a packet: text and binary data with their length,
// bytes as they are, numbers as one byte or two.
func field(v any) []byte {
	switch v := v.(type) {
	case string:
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(v))), v...)
	case []byte:
		return v
	case uint16:
		return binary.BigEndian.AppendUint16(nil, v)
	case int:
		return []byte{byte(v)}
	}
	panic("no such field")
}

// wire encodes a packet of its first byte and its fields.
func wire(header byte, fields ...any) []byte {
	var body []byte
	for _, f := range fields {
		body = append(body, field(f)...)
	}
	return append(binary.AppendUvarint([]byte{header}, uint64(len(body))), body...)
}

// props encodes properties with their length.
func props(fields ...any) []byte { return wire(0, fields...)[1:] }

var (
	id1 = uint16(1)
	id0 = uint16(0)
	raw = func(s string) []byte { return []byte(s) }
	v4  = []any{"MQTT", 4, 2, id0} // how a CONNECT begins
	v5  = []any{"MQTT", 5, 2, id0}
)

func hi(begin []any, rest ...any) []byte { return wire(0x10, slices.Concat(begin, rest)...) }

// broken is a packet with one thing wrong, what the standard says about it, and
// the answer: the reason of DISCONNECT in MQTT 5, the code of CONNACK for a
// CONNECT. Zero is no answer but the end of the connection.
type broken struct {
	statement string
	version   byte // that the client has connected with; zero: the packet is its first
	packet    []byte
	answer    byte
}

var brokenConnects = []broken{
	{"MQTT-3.1.0-1: CONNECT comes first", 0, wire(0xC0), 0},
	{"MQTT-2.1.3-1: reserved flags", 0, wire(0x11, "MQTT", 4, 2, id0, "c"), 0},
	{"MQTT-3.1.2-1: another protocol", 0, wire(0x10, "HTTP", 4, 2, id0, "c"), 0},
	{"MQTT-3.1.2-2: unknown version", 0, wire(0x10, "MQTT", 6, 2, id0, "c"), 1},
	{"MQTT-3.1.2-2: 3.1 under the name of 3.1.1", 0, wire(0x10, "MQTT", 3, 2, id0, "c"), 1},
	{"MQTT-3.1.2-3: reserved connect flag", 0, wire(0x10, "MQTT", 4, 3, id0, "c"), 0},
	{"MQTT-3.1.2-3: the same in 5", 0, wire(0x10, "MQTT", 5, 3, id0, props(), "c"), codeMalformed},
	{"MQTT-3.1.2-11: QoS of no will", 0, wire(0x10, "MQTT", 5, 2|8, id0, props(), "c"), codeMalformed},
	{"MQTT-3.1.2-12: will of QoS 3", 0, wire(0x10, "MQTT", 5, 2|4|24, id0, props(), "c", props(), "w", "p"), codeMalformed},
	{"MQTT-3.1.2-13: no will, retained", 0, wire(0x10, "MQTT", 5, 2|32, id0, props(), "c"), codeMalformed},
	{"MQTT-3.1.2-22: password, no user (3.1.1)", 0, wire(0x10, "MQTT", 4, 2|64, id0, "c", "p"), 0},
	{"MQTT-3.1.3-4: identifier that is not UTF-8", 0, hi(v5, props(), "\xff"), codeMalformed},
	{"MQTT-3.1.3-8: no identifier, lasting session (3.1.1)", 0, wire(0x10, "MQTT", 4, 0, id0, ""), 2},
	{"MQTT-3.1.3-11: will topic that is not UTF-8", 0, wire(0x10, "MQTT", 5, 2|4, id0, props(), "c", props(), "\xff", "p"), codeMalformed},
	{"MQTT-3.1.3-12: user that is not UTF-8", 0, wire(0x10, "MQTT", 5, 2|128, id0, props(), "c", "\xc0\x80"), codeMalformed},
	{"MQTT-3.3.2-2: wildcard in the will topic", 0, wire(0x10, "MQTT", 5, 2|4, id0, props(), "c", props(), "a/#", "p"), codeTopicNameInvalid},
	{"MQTT-4.7.3-1: empty will topic", 0, wire(0x10, "MQTT", 5, 2|4, id0, props(), "c", props(), "", "p"), codeProtocolError},
	{"MQTT-3.1.3-1: will without its payload", 0, wire(0x10, "MQTT", 5, 2|4, id0, props(), "c", props(), "w"), codeMalformed},
	{"MQTT-1.5.4-1: surrogate", 0, hi(v5, props(), "\xed\xa0\x80"), codeMalformed},
	{"MQTT-1.5.4-2: NUL", 0, hi(v5, props(), "a\x00"), codeMalformed},
	{"1.5.4: control character", 0, hi(v5, props(), "a\x1b[2J"), codeMalformed},
	{"MQTT-2.2.2-1: no length of properties", 0, wire(0x10, "MQTT", 5, 2, id0), codeMalformed},
	{"3.1.2.11.2: session expiry twice", 0, hi(v5, props(0x11, id0, id1, 0x11, id0, id1), "c"), codeProtocolError},
	{"3.1.2.11.3: receive maximum zero", 0, hi(v5, props(0x21, id0), "c"), codeProtocolError},
	{"3.1.2.11.4: maximum packet size zero", 0, hi(v5, props(0x27, id0, id0), "c"), codeProtocolError},
	{"3.1.2.11.5: topic alias maximum twice", 0, hi(v5, props(0x22, id1, 0x22, id1), "c"), codeProtocolError},
	{"3.1.2.11.6: request response information 2", 0, hi(v5, props(0x19, 2), "c"), codeProtocolError},
	{"3.1.2.11.7: request problem information 2", 0, hi(v5, props(0x17, 2), "c"), codeProtocolError},
	{"MQTT-4.12.0-1: unknown authentication method", 0, hi(v5, props(0x15, "SCRAM"), "c"), codeBadAuthMethod},
	{"3.1.2.11.10: authentication data without method", 0, hi(v5, props(0x16, "x"), "c"), codeProtocolError},
	{"2.2.2.2: property of PUBLISH in CONNECT", 0, hi(v5, props(0x01, 1), "c"), codeProtocolError},
	{"3.1.3.2.2: will delay twice", 0, wire(0x10, "MQTT", 5, 2|4, id0, props(), "c", props(0x18, id0, id1, 0x18, id0, id1), "w", "p"), codeProtocolError},
	{"MQTT-3.1.4-1: bytes left over", 0, hi(v4, "c", 0), 0},
	{"MQTT-3.1.4-1: bytes missing", 0, hi(v4, raw("\x00\x09c")), 0},
}

var brokenPublishes = []broken{
	{"MQTT-3.1.0-2: a second CONNECT", 5, hi(v5, props(), "c"), codeProtocolError},
	{"MQTT-1.5.5-1: length not in its shortest form", 5, raw("\x30\x84\x00\x00\x01d\x00"), codeMalformed},
	{"1.5.5: length of five bytes", 5, raw("\x30\x80\x80\x80\x80\x01"), codeMalformed},
	{"MQTT-3.1.2-24: larger than we said", 5, raw("\x30\xff\xff\xff\x7f"), codeTooLarge},
	{"MQTT-2.2.1-3: identifier zero", 5, wire(0x32, "d", id0, props()), codeMalformed},
	{"MQTT-3.3.1-2: duplicate of QoS 0", 5, wire(0x38, "d", props()), codeMalformed},
	{"MQTT-3.3.1-4: QoS 3", 5, wire(0x36, "d", id1, props()), codeMalformed},
	{"MQTT-3.3.2-1: topic that is not UTF-8", 5, wire(0x30, "\xff", props()), codeMalformed},
	{"MQTT-3.3.2-2: wildcard in the topic", 5, wire(0x30, "a/+", props()), codeTopicNameInvalid},
	{"MQTT-4.7.3-2: NUL in the topic", 5, wire(0x30, "\x00", props()), codeMalformed},
	{"1.5.4: control character in the topic", 5, wire(0x30, "a\n", props()), codeTopicNameInvalid},
	{"MQTT-4.7.2-1: topic of the broker's own", 5, wire(0x32, "$SYS/x", id1, props()), codeTopicNameInvalid},
	{"3.3.2.1: no topic and no alias", 5, wire(0x30, "", props()), codeProtocolError},
	{"MQTT-3.3.2-8: alias zero", 5, wire(0x30, "d", props(0x23, id0)), codeAliasInvalid},
	{"MQTT-3.3.2-9: alias beyond the maximum", 5, wire(0x30, "d", props(0x23, id1)), codeAliasInvalid},
	{"3.3.2.3.2: payload format 2", 5, wire(0x30, "d", props(0x01, 2)), codeProtocolError},
	{"3.3.2.3.3: message expiry twice", 5, wire(0x30, "d", props(0x02, id0, id1, 0x02, id0, id1)), codeProtocolError},
	{"MQTT-3.3.2-13: response topic that is not UTF-8", 5, wire(0x30, "d", props(0x08, "\xff")), codeMalformed},
	{"MQTT-3.3.2-14: wildcard in the response topic", 5, wire(0x30, "d", props(0x08, "a/#")), codeProtocolError},
	{"3.3.2.3.6: correlation data twice", 5, wire(0x30, "d", props(0x09, "x", 0x09, "x")), codeProtocolError},
	{"MQTT-3.3.2-17: user property that is not UTF-8", 5, wire(0x30, "d", props(0x26, "k", "\xff")), codeMalformed},
	{"MQTT-3.3.2-19: content type that is not UTF-8", 5, wire(0x30, "d", props(0x03, "\xff")), codeMalformed},
	{"MQTT-3.3.4-6: subscription identifier from a client", 5, wire(0x30, "d", props(0x0B, 1)), codeProtocolError},
	{"2.2.2.2: unknown property", 5, wire(0x30, "d", props(0x7F, 1)), codeProtocolError},
	{"2.2.2.1: properties beyond the packet", 5, wire(0x30, "d", 9), codeMalformed},
}

var brokenRequests = []broken{
	{"MQTT-2.1.3-1: PUBACK with flags", 5, wire(0x42, id1), codeMalformed},
	{"MQTT-3.6.1-1: PUBREL without its flags", 5, wire(0x60, id1), codeMalformed},
	{"MQTT-2.2.1-3: PUBREC for zero", 5, wire(0x50, id0), codeMalformed},
	{"3.7.2.2: reason string twice", 5, wire(0x70, id1, 0, props(0x1F, "a", 0x1F, "b")), codeProtocolError},
	{"MQTT-3.8.1-1: SUBSCRIBE without its flags", 5, wire(0x80, id1, props(), "d", 0), codeMalformed},
	{"MQTT-2.2.1-3: SUBSCRIBE under zero", 5, wire(0x82, id0, props(), "d", 0), codeMalformed},
	{"MQTT-3.8.3-1: filter that is not UTF-8", 5, wire(0x82, id1, props(), "\xff", 0), codeMalformed},
	{"MQTT-3.8.3-2: SUBSCRIBE to nothing", 5, wire(0x82, id1, props()), codeProtocolError},
	{"3.8.3.1: no options", 5, wire(0x82, id1, props(), "d"), codeMalformed},
	{"MQTT-3.8.3-4: shared, and No Local", 5, wire(0x82, id1, props(), "$share/g/d", 4), codeProtocolError},
	{"MQTT-3.8.3-5: reserved options", 5, wire(0x82, id1, props(), "d", 0x40), codeMalformed},
	{"MQTT-3.8.3-4 of 3.1.1: reserved options", 4, wire(0x82, id1, "d", 4), 0},
	{"3.8.3.1: QoS 3", 5, wire(0x82, id1, props(), "d", 3), codeMalformed},
	{"3.8.3.1: retain handling 3", 5, wire(0x82, id1, props(), "d", 0x30), codeMalformed},
	{"3.8.2.1.2: subscription identifier zero", 5, wire(0x82, id1, props(0x0B, 0), "d", 0), codeProtocolError},
	{"3.8.2.1.2: subscription identifier twice", 5, wire(0x82, id1, props(0x0B, 1, 0x0B, 2), "d", 0), codeProtocolError},
	{"MQTT-4.7.1-1: # before the end", 5, wire(0x82, id1, props(), "a/#/b", 0), codeFilterInvalid},
	{"MQTT-4.7.1-1: # beside something", 5, wire(0x82, id1, props(), "a#", 0), codeFilterInvalid},
	{"MQTT-4.7.1-2: + beside something", 5, wire(0x82, id1, props(), "a+/b", 0), codeFilterInvalid},
	{"MQTT-4.7.3-1: empty filter", 5, wire(0x82, id1, props(), "", 0), codeFilterInvalid},
	{"MQTT-4.8.2-1: share without a name", 5, wire(0x82, id1, props(), "$share//d", 0), codeFilterInvalid},
	{"MQTT-4.8.2-2: wildcard in the share's name", 5, wire(0x82, id1, props(), "$share/+/d", 0), codeFilterInvalid},
	{"MQTT-4.8.2-2: share without a filter", 5, wire(0x82, id1, props(), "$share/g", 0), codeFilterInvalid},
	{"MQTT-3.10.1-1: UNSUBSCRIBE without its flags", 5, wire(0xA0, id1, props(), "d"), codeMalformed},
	{"MQTT-3.10.3-1: filter that is not UTF-8", 5, wire(0xA2, id1, props(), "\xff"), codeMalformed},
	{"MQTT-3.10.3-2: UNSUBSCRIBE from nothing", 5, wire(0xA2, id1, props()), codeProtocolError},
	{"MQTT-2.1.3-1: PINGREQ with flags", 5, wire(0xC1), codeMalformed},
	{"3.12.2: PINGREQ with a body", 5, wire(0xC0, 0), codeMalformed},
	{"MQTT-3.14.1-1: DISCONNECT with flags", 5, wire(0xE1, 0), codeMalformed},
	{"MQTT-3.14.2-2: session expiry after none", 5, wire(0xE0, 0, props(0x11, id0, id1)), codeProtocolError},
	{"3.14.2.2.5: server reference from a client", 5, wire(0xE0, 0, props(0x1C, "x")), codeProtocolError},
	{"4.12: AUTH without a method", 5, wire(0xF0), codeProtocolError},
	{"MQTT-2.1.3-1: AUTH with flags", 5, wire(0xF1), codeMalformed},
	{"2.1.2: CONNACK from a client", 5, wire(0x20, 0, 0), codeProtocolError},
	{"2.1.2: SUBACK from a client", 5, wire(0x90, id1, props(), 0), codeProtocolError},
	{"2.1.2: packet type 0", 5, wire(0x00), codeProtocolError},
	{"2.1.2: AUTH in 3.1.1", 4, wire(0xF0), 0},
}

// What the standards forbid ends the connection, with the answer that they ask
// for where they do.
func TestWhatTheStandardForbids(t *testing.T) {
	src := start(t, instant(), Config{})
	all := slices.Concat(brokenConnects, brokenPublishes, brokenRequests)
	for _, b := range all {
		c := dial(t, src)
		c.version = b.version
		if b.version != 0 {
			c = connect(t, src, b.version, "c")
		} else if c.version = 4; b.answer > 2 {
			c.version = 5
		}
		if _, err := c.Write(b.packet); err != nil {
			t.Fatal(err)
		}
		got := c.hungUp()
		c.Close()
		if b.answer == 0 && len(got) == 0 {
			continue
		}
		want := byte(packets.Disconnect)
		if b.version == 0 {
			want = packets.Connack
		}
		if len(got) != 1 || got[0].FixedHeader.Type != want || got[0].ReasonCode != b.answer {
			t.Errorf("%s: want %s %#x, got %v", b.statement, packets.PacketNames[want], b.answer, describe(got))
		}
	}
	if n := src.Stats().Malformed; n != uint64(len(all)) {
		t.Errorf("counted %d of %d", n, len(all))
	}
}

func describe(all []packets.Packet) string {
	var s []string
	for _, pk := range all {
		s = append(s, fmt.Sprintf("%s %#x", packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode))
	}
	return strings.Join(s, ", ")
}
