package mqttout

import (
	"errors"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/uplink"
)

// classOf names what the Forwarder will do.
func classOf(err error) string {
	delay, asked := uplink.RetryDelay(err)
	switch {
	case err == nil:
		return "accepted"
	case uplink.IsTooLarge(err):
		return "too large"
	case uplink.IsPermanent(err):
		return "permanent"
	case asked:
		return delay.String()
	}
	return "transient"
}

// classes are what codes mean, by where they stand. Those that are not here are
// transient.
var classes = map[string]map[byte]string{
	"CONNACK 5": {
		0x00: "accepted", 0x84: "1m0s", 0x85: "1m0s", 0x86: "1m0s", 0x87: "1m0s", 0x89: "10s", 0x8A: "1m0s", 0x8C: "1m0s", 0x90: "1m0s",
		0x95: "1m0s", 0x97: "10s", 0x99: "1m0s", 0x9A: "1m0s", 0x9B: "1m0s", 0x9C: "1m0s", 0x9D: "1m0s", 0x9F: "10s",
	},
	"CONNACK 3.1.1": {0: "accepted", 1: "1m0s", 2: "1m0s", 4: "1m0s", 5: "1m0s"},
	"PUBACK":        {0x87: "1m0s", 0x90: "permanent", 0x95: "too large", 0x97: "10s", 0x99: "permanent"},
	"DISCONNECT": {
		0x87: "1m0s", 0x89: "10s", 0x8E: "1m0s", 0x95: "too large", 0x96: "10s", 0x97: "10s", 0x98: "1m0s",
		0x9A: "1m0s", 0x9B: "1m0s", 0x9C: "1m0s", 0x9D: "1m0s", 0x9F: "10s",
	},
}

func TestEveryReasonCodeHasItsClass(t *testing.T) {
	pub := &publication{topic: "tg/a", payload: make([]byte, 100)}
	judges := map[string]func(*packets.Packet) error{
		"CONNACK 5":     judgeConnack,
		"CONNACK 3.1.1": func(pk *packets.Packet) error { pk.ProtocolVersion = level311; return judgeConnack(pk) },
		"PUBACK":        func(pk *packets.Packet) error { return judgeAnswer(pk, pub) },
		"DISCONNECT":    judgeFarewell,
	}
	for where, judge := range judges {
		for code := range 256 {
			want := classes[where][byte(code)]
			switch {
			case want != "":
			case where == "PUBACK" && code < 0x80:
				want = "accepted" // 0x10, nobody has subscribed, among them
			default:
				want = "transient"
			}
			err := judge(&packets.Packet{ReasonCode: byte(code), ProtocolVersion: level5})
			if got := classOf(err); got != want {
				t.Errorf("%s 0x%02X: %s, want %s (%v)", where, code, got, want, err)
			}
			if err != nil && !strings.Contains(err.Error(), " — hint: ") {
				t.Errorf("%s 0x%02X: no hint in %q", where, code, err)
			}
		}
	}
}

func TestTheServersWordsAreQuotedSafely(t *testing.T) {
	pk := packets.Packet{ProtocolVersion: level5, ReasonCode: 0x87}
	pk.Properties.ReasonString = "\x1b[2J\xff\n" + strings.Repeat("a", 5000)
	pk.Properties.ServerReference = strings.Repeat("b", 5000)
	if text := judgeConnack(&pk).Error(); len(text) > 1000 || strings.ContainsAny(text, "\x1b\n\xff") || !strings.Contains(text, "aaa") || !strings.Contains(text, "bbb") {
		t.Errorf("%q", text)
	}
}

// TestTheWorstErrorDecides: what is final before what waits, before what passes.
func TestTheWorstErrorDecides(t *testing.T) {
	plain := errors.New("plain")
	order := []error{nil, plain, uplink.RetryAfter(plain, busyDelay), uplink.RetryAfter(plain, uplink.ConfigDelay), uplink.Permanent(plain), uplink.TooLarge(plain)}
	for i, a := range order {
		for j, b := range order {
			if want := order[max(i, j)]; worse(a, b) != want {
				t.Errorf("of %v and %v, %v decides", a, b, worse(a, b))
			}
		}
	}
}

// TestOneRefusedPartMakesTheMessageSo, with what the refusal is worth, while the
// server has the others.
func TestOneRefusedPartMakesTheMessageSo(t *testing.T) {
	for code, want := range map[byte]string{
		0x10: "accepted", 0x80: "transient", 0x87: "1m0s", 0x90: "permanent", 0x95: "too large", 0x97: "10s", 0x99: "permanent",
	} {
		for _, qos := range []byte{1, 2} {
			p := newPuppet(t)
			p.taken = func(c *puppetConn, pk packets.Packet) {
				if pk.FixedHeader.Type == packets.Publish && string(pk.Payload) == `{"seq":13}` {
					kind := packets.Puback
					if pk.FixedHeader.Qos == 2 {
						kind = packets.Pubrec
					}
					c.answer(kind, pk.PacketID, code)
					return
				}
				acceptAll(c, pk)
			}
			cfg := basic(p.start())
			cfg.QoS = qos
			sink := newSink(t, cfg)
			if err := sink.Send(within(t), cut(0, 50)); classOf(err) != want {
				t.Errorf("0x%02X with QoS %d: %v", code, qos, err)
			}
			if err := sink.Send(within(t), cut(1, 50)); err != nil {
				t.Errorf("0x%02X with QoS %d, the next message: %v", code, qos, err)
			}
		}
	}
}

// TestAFarewellIsHeldAgainstTheRightOne: a server that hangs up because of a
// packet that is too large does not say which.
func TestAFarewellIsHeldAgainstTheRightOne(t *testing.T) {
	for code, want := range map[byte][2]string{0x95: {"too large", "transient"}, 0x97: {"10s", "10s"}, 0x8B: {"transient", "transient"}, 0x8E: {"1m0s", "1m0s"}} {
		p := newPuppet(t)
		arrived := make(chan *puppetConn, 2)
		p.taken = func(c *puppetConn, pk packets.Packet) { arrived <- c }
		sink := newSink(t, basic(p.start()))
		large, small := cut(0, 1), cut(1, 1)
		large.Parts[0].Body = make([]byte, 10_000)
		sent := map[string]chan error{"large": make(chan error, 1), "small": make(chan error, 1)}
		go func() { sent["large"] <- sink.Send(within(t), large) }()
		c := <-arrived
		go func() { sent["small"] <- sink.Send(within(t), small) }()
		<-arrived
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ReasonCode: code})
		if a, b := classOf(<-sent["large"]), classOf(<-sent["small"]); a != want[0] || b != want[1] {
			t.Errorf("0x%02X: %s and %s, want %v", code, a, b, want)
		}
	}
}
