package mqttout

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/uplink"
)

// versions returns the versions that clients have tried.
func (p *puppet) versions() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []byte
	for _, pk := range p.logins {
		all = append(all, pk.ProtocolVersion)
	}
	return all
}

func answer(level, code byte) *packets.Packet {
	return &packets.Packet{ProtocolVersion: level, ReasonCode: code}
}

// TestAServerThatDoesNotKnowMQTT5 says so in one of four ways, and is not asked
// again by the same sink.
func TestAServerThatDoesNotKnowMQTT5(t *testing.T) {
	for name, refuse := range map[string]func(c *puppetConn){
		"HangsUp":       func(c *puppetConn) { c.Close() },
		"Says0x84":      func(c *puppetConn) { c.Write([]byte{packets.Connack << 4, 3, 0, 0x84, 0}) },
		"SaysSoIn3.1.1": func(c *puppetConn) { c.Write([]byte{packets.Connack << 4, 2, 0, 1}) },
		"Says0x84Short": func(c *puppetConn) { c.Write([]byte{packets.Connack << 4, 2, 0, 0x84}) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPuppet(t)
			p.connect = func(c *puppetConn, pk packets.Packet) *packets.Packet {
				if pk.ProtocolVersion == 5 {
					refuse(c)
					return nil
				}
				return answer(4, 0)
			}
			sink := newSink(t, basic(p.start()))
			for n := range 3 {
				if err := sink.Send(within(t), cut(n, 3)); err != nil {
					t.Fatal(err)
				}
				sink.current.fail(errClosed)
			}
			if got := string(p.versions()); got != "\x05\x04\x04\x04" {
				t.Errorf("tried %v", []byte(got))
			}
			cfg := basic(p.listener.Addr().String())
			cfg.Protocol = V5
			if err := newSink(t, cfg).Send(within(t), cut(0, 1)); classOf(err) != "transient" || !strings.Contains(err.Error(), `set protocol = "auto"`) {
				t.Errorf("protocol 5: %v", err)
			}
		})
	}
}

// TestHangingUpOnEverybodySaysNothingOfVersions: what accepts connections and
// closes them may be a proxy whose server is away.
func TestHangingUpOnEverybodySaysNothingOfVersions(t *testing.T) {
	p := newPuppet(t)
	var back atomic.Bool
	p.connect = func(*puppetConn, packets.Packet) *packets.Packet {
		if !back.Load() {
			return nil
		}
		return answer(5, 0)
	}
	sink := newSink(t, basic(p.start()))
	if err := sink.Send(within(t), cut(0, 1)); classOf(err) != "transient" {
		t.Errorf("nobody answers: %v", err)
	}
	back.Store(true)
	if err := sink.Send(within(t), cut(0, 1)); err != nil {
		t.Fatal(err)
	}
	if got := string(p.versions()); got != "\x05\x04\x05" {
		t.Errorf("tried %v", []byte(got))
	}
}

// TestTheServersTermsAreKept: all that CONNACK can say.
func TestTheServersTermsAreKept(t *testing.T) {
	p := newPuppet(t)
	p.connect = func(*puppetConn, packets.Packet) *packets.Packet {
		a := answer(5, 0)
		a.Properties = packets.Properties{
			ReceiveMaximum: 3, MaximumPacketSize: 2000, TopicAliasMaximum: 2, MaximumQosFlag: true, MaximumQos: 1,
			RetainAvailableFlag: true, ServerKeepAliveFlag: true, ServerKeepAlive: 7, AssignedClientID: "you",
		}
		return a
	}
	under, most := 0, 0
	ids := make(chan uint16, 100)
	p.taken = func(c *puppetConn, pk packets.Packet) {
		if pk.FixedHeader.Retain || pk.FixedHeader.Qos != 1 {
			t.Errorf("a publication with QoS %d, retain %v", pk.FixedHeader.Qos, pk.FixedHeader.Retain)
		}
		under++
		most = max(most, under)
		if ids <- pk.PacketID; len(ids) == 3 { // answered in another order
			for _, id := range []uint16{<-ids, <-ids, <-ids} {
				defer c.answer(packets.Puback, id, 0)
			}
			under = 0
		}
	}
	cfg := basic(p.start())
	cfg.QoS, cfg.Retain, cfg.KeepAlive = 2, true, time.Minute
	sink := newSink(t, cfg)
	if sink.Limit() != 0 {
		t.Errorf("a limit of %d before anybody has said one", sink.Limit())
	}
	if err := sink.Send(within(t), cut(0, 30)); err != nil {
		t.Fatal(err)
	}
	if most != 3 {
		t.Errorf("%d publications at once, want 3", most)
	}
	l := sink.current
	if l.keepAlive != 7*time.Second || l.aliases.room != 2 || l.terms.clientID != "you" {
		t.Errorf("%+v", l.terms)
	}
	if about := l.terms.String(); about != `MQTT 5, 3 publications at once, packets of up to 2000 bytes, 2 topic aliases, QoS 1 at the most, keeps no retained messages, keep-alive 7s, calls us "you"` {
		t.Error(about)
	}
	checkLimit(t, sink)
}

func checkLimit(t *testing.T, sink *Sink) {
	t.Helper()
	limit := sink.Limit()
	if limit < 1700 || limit >= 2000 {
		t.Fatalf("limit %d of packets of 2000", limit)
	}
	m := cut(1, 3)
	m.Parts[1].Body = make([]byte, limit)
	if err := sink.Send(within(t), m); err != nil {
		t.Errorf("a payload of %d bytes, as Limit says: %v", limit, err)
	}
	m.Parts[1].Body = make([]byte, 2000)
	if err := sink.Send(within(t), m); classOf(err) != "too large" || !strings.Contains(err.Error(), "2000") {
		t.Errorf("a payload of 2000 bytes: %v", err)
	}
}

// TestQoS0IsNoCustody: a server that knows nothing else gets nothing, unless
// somebody has said that readings may be lost.
func TestQoS0IsNoCustody(t *testing.T) {
	if _, err := New(Config{Address: "a:1", ClientID: "c"}); err == nil || !strings.Contains(err.Error(), "accept_loss") {
		t.Errorf("QoS 0 without another word: %v", err)
	}
	p := newPuppet(t)
	p.connect = func(*puppetConn, packets.Packet) *packets.Packet {
		a := answer(5, 0)
		a.Properties = packets.Properties{MaximumQosFlag: true}
		return a
	}
	got := make(chan packets.Packet, 100)
	p.taken = func(_ *puppetConn, pk packets.Packet) { got <- pk }
	cfg := basic(p.start())
	sink := newSink(t, cfg)
	for _, attempt := range []func() error{
		func() error { return sink.Send(within(t), cut(0, 3)) },
		func() error { _, err := newSink(t, cfg).Probe(within(t)); return err },
	} {
		if err := attempt(); classOf(err) != "1m0s" || !strings.Contains(err.Error(), "accept_loss") {
			t.Errorf("a server of QoS 0: %v", err)
		}
	}
	cfg.AcceptLoss = true
	if err := newSink(t, cfg).Send(within(t), cut(0, 3)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if pk := <-got; pk.FixedHeader.Qos != 0 || pk.PacketID != 0 {
			t.Errorf("%+v", pk.FixedHeader)
		}
	}
}

// TestAProbeDoesNotThrowOutTheGateway that runs, unless the server lets nobody
// in under another name.
func TestAProbeDoesNotThrowOutTheGateway(t *testing.T) {
	p := newPuppet(t)
	var strict atomic.Bool
	p.connect = func(_ *puppetConn, pk packets.Packet) *packets.Packet {
		if strict.Load() && pk.Connect.ClientIdentifier != "north-7" {
			return answer(5, packets.ErrClientIdentifierNotValid.Code)
		}
		return answer(5, 0)
	}
	cfg := basic(p.start())
	cfg.State = &State{Topic: "state", Offline: "gone"}
	probe := func(names ...string) {
		t.Helper()
		p.mu.Lock()
		p.logins = nil
		p.mu.Unlock()
		if about, err := newSink(t, cfg).Probe(within(t)); err != nil || !strings.HasPrefix(about, "MQTT 5") {
			t.Errorf("%q, %v", about, err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for i, pk := range p.logins {
			if pk.Connect.ClientIdentifier != names[i] || pk.Connect.WillFlag || !pk.Connect.Clean {
				t.Errorf("login as %+v", pk.Connect)
			}
		}
	}
	probe("north-7:check")
	strict.Store(true)
	probe("north-7:check", "north-7")
}

// TestARepeatedEndIsSaid: a server of MQTT 3.1.1 that does not want a message
// can only hang up.
func TestARepeatedEndIsSaid(t *testing.T) {
	p := newPuppet(t)
	p.connect = func(*puppetConn, packets.Packet) *packets.Packet { return answer(4, 0) }
	p.taken = func(c *puppetConn, pk packets.Packet) {
		if string(pk.Payload) == `{"seq":2}` {
			c.Close()
			return
		}
		acceptAll(c, pk)
	}
	cfg := basic(p.start())
	cfg.Protocol = V311
	sink := newSink(t, cfg)
	for n := range 5 {
		err := sink.Send(within(t), cut(0, 2))
		said := err != nil && strings.Contains(err.Error(), "times in a row while north-7/00000000000004d2/normal/1-2 was sent")
		if classOf(err) != "transient" || said != (n >= suspicious-1) {
			t.Errorf("attempt %d: %v", n+1, err)
		}
		if strings.Count(err.Error(), "hint:") != 1 {
			t.Errorf("attempt %d: hints in %v", n+1, err)
		}
	}
	if err := sink.Send(within(t), cut(2, 2)); err != nil {
		t.Fatal(err)
	}
	if err := sink.Send(within(t), cut(0, 2)); err == nil || strings.Contains(err.Error(), "in a row") {
		t.Errorf("after another one has arrived: %v", err)
	}
}

// TestAnIdleConnectionThatIsGoneIsNoOutage.
func TestAnIdleConnectionThatIsGoneIsNoOutage(t *testing.T) {
	p := newPuppet(t)
	conns := make(chan *puppetConn, 10)
	p.taken = func(c *puppetConn, pk packets.Packet) {
		select {
		case conns <- c:
		default:
		}
		acceptAll(c, pk)
	}
	sink := newSink(t, basic(p.start()))
	for n := range 5 {
		if err := sink.Send(within(t), cut(n, 1)); err != nil {
			t.Fatal(err)
		}
		(<-conns).Close() // it may be noticed before the next Send, or by it
	}
	if n := len(p.versions()); n != 5 {
		t.Errorf("%d logins, want 5", n)
	}
}

// TestAliasesAreGivenUp with a server that does not find topics by them.
func TestAliasesAreGivenUp(t *testing.T) {
	for name, refuse := range map[string]func(c *puppetConn, pk packets.Packet){
		"NotAuthorized": func(c *puppetConn, pk packets.Packet) { c.answer(packets.Puback, pk.PacketID, 0x87) },
		"HangsUp": func(c *puppetConn, _ packets.Packet) {
			c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ReasonCode: 0x94})
			c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPuppet(t)
			p.connect = func(*puppetConn, packets.Packet) *packets.Packet {
				a := answer(5, 0)
				a.Properties.TopicAliasMaximum = 10
				return a
			}
			p.taken = func(c *puppetConn, pk packets.Packet) {
				if pk.Properties.TopicAlias > 0 && c.short {
					refuse(c, pk)
					return
				}
				acceptAll(c, pk)
			}
			sink := newSink(t, basic(p.start()))
			if err := sink.Send(within(t), cut(0, 5)); classOf(err) != "transient" {
				t.Errorf("the first time: %v", err)
			}
			if err := sink.Send(within(t), cut(0, 5)); err != nil {
				t.Errorf("the second time: %v", err)
			}
		})
	}
	var _ uplink.Limited = (*Sink)(nil)
	var _ uplink.Prober = (*Sink)(nil)
}
