package mqttout

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// FuzzPublish: what is written is what the library reads, and as long as it says.
func FuzzPublish(f *testing.F) {
	f.Add("tg/north-7/normal", []byte("chunk"), "north-7/1/normal/1-2", "application/json", uint32(60), uint16(7), uint16(3), byte(0b1011))
	f.Add("a", []byte{}, "", "", uint32(0), uint16(1), uint16(0), byte(0xFF))
	f.Add(strings.Repeat("t", 200), bytes.Repeat([]byte("b"), 20_000), "k", "text/plain", uint32(1<<31), uint16(65535), uint16(1), byte(2))
	f.Fuzz(func(t *testing.T, topic string, payload []byte, key, contentType string, expiry uint32, id, alias uint16, how byte) {
		topic, key, contentType = topicName(topic), topicName(key), topicName(contentType)
		if len(topic) > 65535 || topic == "" || len(key) > 65535 || len(contentType) > 65535 || id == 0 {
			t.Skip()
		}
		p := publication{
			topic: topic, payload: payload, qos: how & 3 % 3, retain: how&4 > 0, key: key, carryKey: how&8 > 0,
			contentType: contentType, text: how&16 > 0, expiry: expiry,
		}
		w := wireForm{level: level311 + how>>5&1, id: id, dup: how&64 > 0 && p.qos > 0}
		if w.level == level5 {
			w.alias, w.known = alias, how&128 > 0 && alias > 0
		}
		packet := append(p.appendHead(nil, w), payload...)
		if n := p.size(w.level); len(packet) > n || !w.known && w.alias > 0 && len(packet) != n {
			t.Errorf("%d bytes, and the largest form has %d", len(packet), n)
		}
		r := bufio.NewReader(bytes.NewReader(packet))
		pk, err := readAsServer(r, w.level)
		if err != nil || r.Buffered() > 0 {
			t.Fatalf("%v, %d bytes too many", err, r.Buffered())
		}
		checkPublish(t, &p, w, &pk)
	})
}

func checkPublish(t *testing.T, p *publication, w wireForm, pk *packets.Packet) {
	t.Helper()
	want := packets.Packet{
		FixedHeader:     packets.FixedHeader{Remaining: pk.FixedHeader.Remaining, Type: packets.Publish, Qos: p.qos, Dup: w.dup, Retain: p.retain},
		ProtocolVersion: w.level, TopicName: p.topic, Payload: p.payload,
	}
	if w.known {
		want.TopicName = ""
	}
	if p.qos > 0 {
		want.PacketID = w.id
	}
	props := pk.Properties
	if w.level == level5 {
		if props.ContentType != p.contentType || props.MessageExpiryInterval != p.expiry || props.PayloadFormatFlag != p.text || props.TopicAlias != w.alias {
			t.Errorf("properties %+v of %+v", props, p)
		}
		if p.carryKey != (len(props.User) == 1) || p.carryKey && props.User[0] != (packets.UserProperty{Key: keyProperty, Val: p.key}) {
			t.Errorf("properties %+v", props.User)
		}
	}
	if pk.TopicName != want.TopicName || !bytes.Equal(pk.Payload, want.Payload) || pk.PacketID != want.PacketID || pk.FixedHeader != want.FixedHeader {
		t.Errorf("got  %+v\nwant %+v", pk, want)
	}
}

// FuzzAnswer: whatever a server sends, reading it neither panics nor takes more
// memory than an answer may have, and gives only packets that a server may send.
func FuzzAnswer(f *testing.F) {
	for _, c := range packets.TPacketData {
		for _, pk := range c {
			f.Add(pk.RawBytes, byte(5))
			f.Add(pk.RawBytes, byte(4))
		}
	}
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), byte(5))
	f.Add([]byte{packets.Puback << 4, 0xFF, 0xFF, 0xFF, 0x7F}, byte(5))
	f.Fuzz(func(t *testing.T, stream []byte, level byte) {
		level = level311 + level&1
		r, buf := bufio.NewReader(bytes.NewReader(stream)), make([]byte, 16)
		for {
			first, body, err := readPacket(r, buf)
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errMalformed) {
					t.Errorf("%v", err)
				}
				return
			}
			if len(body) > maxAnswer || len(body) > len(stream) {
				t.Fatalf("a body of %d bytes out of %d", len(body), len(stream))
			}
			pk, err := decode(first, body, level)
			if err != nil {
				if !errors.Is(err, errMalformed) {
					t.Errorf("%v", err)
				}
				continue
			}
			_ = judgeConnack(&pk)
			_ = judgeFarewell(&pk)
			_ = termsOf(&pk).String()
			if kind := pk.FixedHeader.Type; kind == packets.Puback && len(body) < 2 || kind == packets.Connack && len(body) < 2 {
				t.Errorf("%s out of %d bytes", packets.PacketNames[kind], len(body))
			}
		}
	})
}

// TestGoldenPackets: the examples of the standards, and what CONNECT looks like.
func TestGoldenPackets(t *testing.T) {
	// MQTT 3.1.1, figure 3.11, and MQTT 5.0, figure 3-9: topic a/b, identifier 10.
	p := publication{topic: "a/b", qos: 1}
	if got, want := p.appendHead(nil, wireForm{level: level311, id: 10}), "\x32\x07\x00\x03a/b\x00\x0a"; string(got) != want {
		t.Errorf("3.1.1: % x, want % x", got, want)
	}
	if got, want := p.appendHead(nil, wireForm{level: level5, id: 10}), "\x32\x08\x00\x03a/b\x00\x0a\x00"; string(got) != want {
		t.Errorf("5: % x, want % x", got, want)
	}
	if got, want := p.appendHead(nil, wireForm{level: level5, id: 10, dup: true, alias: 2, known: true}), "\x3a\x08\x00\x00\x00\x0a\x03\x23\x00\x02"; string(got) != want {
		t.Errorf("alias: % x, want % x", got, want)
	}
	for n, want := range map[int]string{0: "\x00", 127: "\x7f", 128: "\x80\x01", 16383: "\xff\x7f", 16384: "\x80\x80\x01", 2097151: "\xff\xff\x7f", 2097152: "\x80\x80\x80\x01", maxRemaining: "\xff\xff\xff\x7f"} {
		if got := appendLength(nil, n); string(got) != want || lengthSize(n) != len(want) {
			t.Errorf("%d is % x of %d bytes, want % x", n, got, lengthSize(n), want)
		}
	}
	if got := string(appendDisconnect(nil, level5, true)); got != "\xe0\x07\x00\x05\x11\x00\x00\x00\x00" {
		t.Errorf("% x", got)
	}
	sink := newSink(t, basic("a:1"))
	for level, want := range map[byte]string{
		level311: "\x10\x13\x00\x04MQTT\x04\x02\x00\x00\x00\x07north-7",
		level5:   "\x10\x19\x00\x04MQTT\x05\x02\x00\x00\x05\x27\x00\x01\x00\x00\x00\x07north-7",
	} {
		if got, err := sink.hello(login{clientID: "north-7", level: level, clean: true}); err != nil || string(got) != want {
			t.Errorf("CONNECT % x, want % x (%v)", got, want, err)
		}
	}
}

// FuzzTopic: every text becomes a topic that may be published to, and two values
// never become one.
func FuzzTopic(f *testing.F) {
	for _, s := range []string{"north/pump-7", "a+b#", "100%", "$SYS", "\x00\x7f\xff", "ä/€/\U0001F600", "\ufdd0\uffff"} {
		f.Add(s, "a%2Bb")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, topic := range []string{topicName(a), topicName(level(a))} {
			pk := packets.Packet{TopicName: topic}
			if code := pk.PublishValidate(0); topic != "" && code != packets.CodeSuccess || strings.HasPrefix(topic, "$") || strings.Contains(topic, "\x00") {
				t.Errorf("%q: %v", topic, code)
			}
		}
		if a != b && level(a) == level(b) {
			t.Errorf("%q and %q become %q", a, b, level(a))
		}
	})
}
