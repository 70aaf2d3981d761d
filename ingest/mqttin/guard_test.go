package mqttin

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// check runs the guard over the first packet of b, as a connection would.
func check(version byte, b []byte) (frame, error) {
	f, ok, err := nextFrame(b, 256<<10)
	if err != nil {
		return f, err
	}
	if !ok {
		return f, errIncomplete
	}
	if version == 0 {
		_, err := checkConnect(f)
		return f, err
	}
	if f.packetType() != typePublish {
		return f, checkPacket(f, version)
	}
	p, err := parsePublish(f, version)
	if err != nil {
		return f, err
	}
	if err := checkTopicName(p.topic); err != nil {
		return f, err
	}
	properties := cursor{rest: p.properties}
	return f, properties.checkProperties(inPublish)
}

var errIncomplete = errors.New("incomplete")

// hostile are packets that the guard must not let through.
var hostile = []struct {
	name    string
	version byte // 0: as the first packet
	bytes   string
}{
	{"publish before connect", 0, "\x30\x04\x00\x01dx"},
	{"connect with reserved header flags", 0, "\x11\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c"},
	{"connect with reserved flag", 0, "\x10\x0d\x00\x04MQTT\x04\x03\x00\x00\x00\x01c"},
	{"connect of an unknown version", 0, "\x10\x0d\x00\x04MQTT\x06\x02\x00\x00\x00\x01c"},
	{"connect to another protocol", 0, "\x10\x0d\x00\x04HTTP\x04\x02\x00\x00\x00\x01c"},
	{"connect with NUL in client identifier", 0, "\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01\x00"},
	{"connect without identifier for a lasting session", 0, "\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00"},
	{"connect with password but no user", 0, "\x10\x10\x00\x04MQTT\x04\x42\x00\x00\x00\x01c\x00\x01p"},
	{"connect with will QoS 3", 0, "\x10\x13\x00\x04MQTT\x04\x1e\x00\x00\x00\x01c\x00\x01w\x00\x01p"},
	{"connect with will flags but no will", 0, "\x10\x0d\x00\x04MQTT\x04\x22\x00\x00\x00\x01c"},
	{"connect with wildcard in will topic", 0, "\x10\x13\x00\x04MQTT\x04\x06\x00\x00\x00\x01c\x00\x01#\x00\x01p"},
	{"connect that ends early", 0, "\x10\x0b\x00\x04MQTT\x04\x02\x00\x00\x00"},
	{"connect with bytes left over", 0, "\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x01cx"},
	{"connect with duplicate property", 0, "\x10\x14\x00\x04MQTT\x05\x02\x00\x00\x06\x21\x00\x01\x21\x00\x01\x00\x01c"},
	{"connect with receive maximum zero", 0, "\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x03\x21\x00\x00\x00\x01c"},
	{"connect with enhanced authentication", 0, "\x10\x12\x00\x04MQTT\x05\x02\x00\x00\x04\x15\x00\x01a\x00\x01c"},

	{"second connect", 4, "\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c"},
	{"packet type 0", 4, "\x00\x00"},
	{"connack from a client", 4, "\x20\x02\x00\x00"},
	{"auth in 3.1.1", 4, "\xf0\x00"},
	{"length of five bytes", 4, "\x30\x80\x80\x80\x80\x01"},
	{"length padded with zeros", 4, "\x30\x84\x00\x00\x01dx"},
	{"length beyond the limit", 4, "\x30\xff\xff\xff\x7f"},

	{"publish with QoS 3", 4, "\x36\x06\x00\x01d\x00\x01x"},
	{"publish with QoS 0 and DUP", 4, "\x38\x04\x00\x01dx"},
	{"publish with identifier zero", 4, "\x32\x06\x00\x01d\x00\x00x"},
	{"publish without identifier", 4, "\x32\x03\x00\x01d"},
	{"publish with empty topic", 4, "\x30\x03\x00\x00x"},
	{"publish with wildcard", 4, "\x30\x04\x00\x01#x"},
	{"publish with NUL in topic", 4, "\x30\x04\x00\x01\x00x"},
	{"publish with broken UTF-8 in topic", 4, "\x30\x04\x00\x01\xffx"},
	{"publish that ends in its topic", 4, "\x30\x04\x00\x09dx"},
	{"publish with too many levels", 4, "\x30\x22\x00\x20" + strings.Repeat("/", 32)},
	{"v5 publish with topic alias", 5, "\x30\x07\x00\x01d\x03\x23\x00\x01"},
	{"v5 publish without property length", 5, "\x30\x03\x00\x01d"},
	{"v5 publish with properties beyond its end", 5, "\x30\x04\x00\x01d\x7f"},
	{"v5 publish with subscription identifier", 5, "\x30\x06\x00\x01d\x02\x0b\x01"},
	{"v5 publish with payload format 2", 5, "\x30\x06\x00\x01d\x02\x01\x02"},
	{"v5 publish with unknown property", 5, "\x30\x06\x00\x01d\x02\x7a\x01"},

	{"puback that is too short", 4, "\x40\x01\x00"},
	{"puback with identifier zero", 4, "\x40\x02\x00\x00"},
	{"puback that is too long", 4, "\x40\x03\x00\x01\x00"},
	{"pubrel with wrong flags", 4, "\x60\x02\x00\x01"},

	{"subscribe with wrong flags", 4, "\x80\x06\x00\x01\x00\x01d\x00"},
	{"subscribe with identifier zero", 4, "\x82\x06\x00\x00\x00\x01d\x00"},
	{"subscribe to nothing", 4, "\x82\x02\x00\x01"},
	{"subscribe without options", 4, "\x82\x05\x00\x01\x00\x01d"},
	{"v5 subscribe without options", 5, "\x82\x06\x00\x01\x00\x00\x01d"},
	{"subscribe with QoS 3", 4, "\x82\x06\x00\x01\x00\x01d\x03"},
	{"v5 subscribe with reserved options", 5, "\x82\x07\x00\x01\x00\x00\x01d\x40"},
	{"subscribe to an empty filter", 4, "\x82\x05\x00\x01\x00\x00\x00"},
	{"subscribe to a/#/b", 4, "\x82\x0a\x00\x01\x00\x05a/#/b\x00"},
	{"subscribe to a+", 4, "\x82\x07\x00\x01\x00\x02a+\x00"},
	{"subscribe to a share without filter", 4, "\x82\x0d\x00\x01\x00\x08$share/g\x00"},
	{"v5 subscribe with identifier property zero", 5, "\x82\x09\x00\x01\x02\x0b\x00\x00\x01d\x00"},
	{"unsubscribe from nothing", 4, "\xa2\x02\x00\x01"},
	{"ping with a body", 4, "\xc0\x01x"},
	{"disconnect with a body in 3.1.1", 4, "\xe0\x01\x00"},
	{"v5 disconnect with a foreign property", 5, "\xe0\x05\x00\x03\x21\x00\x01"},
}

func TestGuardRefuses(t *testing.T) {
	for _, tt := range hostile {
		var v *violation
		if _, err := check(tt.version, []byte(tt.bytes)); !errors.As(err, &v) {
			t.Errorf("%s: got %v, want a violation", tt.name, err)
		}
	}
}

// A packet that breaks the rules costs its sender the connection and nobody
// else anything.
func TestHostilePacketEndsOneConnection(t *testing.T) {
	src := start(t, instant(), Config{})
	good := connect(t, src, 4, "good")
	for _, tt := range hostile {
		var bad *client
		if tt.version == 0 {
			bad = dial(t, src)
		} else {
			bad = connect(t, src, tt.version, "bad")
		}
		if _, err := bad.Write([]byte(tt.bytes)); err != nil {
			t.Fatal(err)
		}
		for _, pk := range bad.hungUp() {
			if tt.version == 0 && pk.FixedHeader.Type == packets.Connack && pk.ReasonCode > 0 {
				continue
			}
			if tt.version != 5 || pk.FixedHeader.Type != packets.Disconnect || pk.ReasonCode < 0x80 {
				t.Errorf("%s: got %+v", tt.name, pk)
			}
		}
		bad.Close()
	}
	good.publish("d", "1", 1, 1)
	good.expect(packets.Puback, 1)
	if n := src.Stats().Malformed; n != uint64(len(hostile)) {
		t.Errorf("counted %d, want %d", n, len(hostile))
	}
}

// friendly are packets that must pass.
var friendly = []struct {
	version byte
	bytes   string
}{
	{0, "\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x0a\x00\x01c"},
	{0, "\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"},
	{0, "\x10\x19\x00\x04MQTT\x04\xc6\x00\x00\x00\x01c\x00\x01w\x00\x01p\x00\x01u\x00\x01p"},
	{0, "\x10\x15\x00\x04MQTT\x05\x02\x00\x00\x05\x11\x00\x00\x00\x01\x00\x03abc"},
	{0, "\x10\x11\x00\x04MQTT\x05\x42\x00\x00\x00\x00\x01c\x00\x01p"},
	{4, "\x30\x03\x00\x01d"},
	{4, "\x3b\x06\x00\x01d\x00\x01x"},
	{5, "\x32\x00\x00\x01d\x00\x01\x09\x01\x01\x26\x00\x01k\x00\x01vx"},
	{4, "\x40\x02\x00\x01"},
	{5, "\x40\x04\x00\x01\x10\x00"},
	{4, "\x62\x02\x00\x01"},
	{4, "\x82\x06\x00\x01\x00\x01#\x02"},
	{4, "\x82\x14\x00\x01\x00\x10$share/g/+/a/+/#\x01"},
	{5, "\x82\x09\x00\x01\x02\x0b\x05\x00\x01d\x2d"},
	{5, "\xa2\x06\x00\x01\x00\x00\x01d"},
	{4, "\xc0\x00"},
	{4, "\xe0\x00"},
	{5, "\xe0\x02\x04\x00"},
}

func TestGuardLetsThrough(t *testing.T) {
	for _, tt := range friendly {
		b := []byte(tt.bytes)
		b[1] = byte(len(b) - 2) // saves counting
		f, err := check(tt.version, b)
		if err != nil {
			t.Errorf("version %d, %q: %v", tt.version, tt.bytes, err)
			continue
		}
		if err := decodeAsServer(f, tt.version); err != nil {
			t.Errorf("version %d, %q: server says %v", tt.version, tt.bytes, err)
		}
	}
}

// Packets that are cut off anywhere are waited for, never misread.
func TestGuardWaitsForWholePackets(t *testing.T) {
	whole := []byte("\x82\x0a\x00\x01\x00\x01a\x00\x00\x01b\x01")
	for n := range whole {
		if _, err := check(4, whole[:n]); err != errIncomplete {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// decodeAsServer decodes a packet as the server would.
func decodeAsServer(f frame, version byte) error {
	pk := packets.Packet{ProtocolVersion: version}
	if err := pk.FixedHeader.Decode(f.header); err != nil {
		return err
	}
	pk.FixedHeader.Remaining = len(f.body)
	body := bytes.Clone(f.body)
	switch f.packetType() {
	case typeConnect:
		return pk.ConnectDecode(body)
	case typePublish:
		if err := pk.PublishDecode(body); err != nil {
			return err
		}
		if code := pk.PublishValidate(0); code != packets.CodeSuccess {
			return code
		}
		return nil
	case typePuback, typePubrec, typePubrel, typePubcomp:
		return pk.PubackDecode(body)
	case typeSubscribe:
		return pk.SubscribeDecode(body)
	case typeUnsubscribe:
		return pk.UnsubscribeDecode(body)
	case typeDisconnect:
		return pk.DisconnectDecode(body)
	case typePingreq:
		return nil
	}
	return fmt.Errorf("packet type %d passed", f.packetType())
}

// FuzzGuard proves that what the guard lets through, the server can decode.
func FuzzGuard(f *testing.F) {
	for _, tt := range hostile {
		f.Add(tt.version, []byte(tt.bytes))
	}
	for _, tt := range friendly {
		f.Add(tt.version, []byte(tt.bytes))
	}
	f.Fuzz(func(t *testing.T, version byte, b []byte) {
		if version != 0 && (version < 3 || version > 5) {
			return
		}
		packet, err := check(version, b)
		if err != nil {
			return
		}
		if err := decodeAsServer(packet, version); err != nil {
			t.Errorf("guard passed what the server refuses: %v", err)
		}
	})
}
