package mqttout

import (
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name string
		qos  byte
	}{{"QoS1", 1}, {"QoS2", 2}} {
		t.Run(c.name, func(t *testing.T) {
			uplinktest.Run(t, uplinktest.Door{
				New: func(t *testing.T, address string, dial uplink.Dial) uplink.Sink {
					cfg := basic(address)
					cfg.QoS, cfg.Dial = c.qos, dial
					return newSink(t, cfg)
				},
				Peer:  judgedPeer,
				Lacks: []uplinktest.Verdict{uplinktest.Busy}, // a server names no delay
			})
		})
	}
}

// basic is the configuration of a sink that says nothing of the gateway's state.
func basic(address string) Config {
	return Config{Address: address, ClientID: "north-7", Topic: template("tidegate/{gateway}/{lane}"), QoS: 1}
}

func template(text string) uplink.Template {
	t, err := uplink.ParseTemplate(text)
	if err != nil {
		panic(err)
	}
	return t
}

func newSink(t testing.TB, cfg Config) *Sink {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// judgedPeer is a server that answers as judge says.
func judgedPeer(t *testing.T, judge uplinktest.Judge) string {
	t.Helper()
	p := newPuppet(t)
	p.taken = func(c *puppetConn, pk packets.Packet) {
		if pk.FixedHeader.Type != packets.Publish {
			acceptAll(c, pk)
			return
		}
		p.tasks.Go(func() { // others may be judged meanwhile
			answerAs(c, pk, judge(uplinktest.Received{Key: pk.Properties.User[0].Val, Body: pk.Payload}))
		})
	}
	return p.start()
}

func answerAs(c *puppetConn, pk packets.Packet, verdict uplinktest.Verdict) {
	kind := packets.Puback
	if pk.FixedHeader.Qos == 2 {
		kind = packets.Pubrec
	}
	switch verdict {
	case uplinktest.Accept:
		c.answer(kind, pk.PacketID, 0)
	case uplinktest.Later:
		c.answer(kind, pk.PacketID, packets.ErrImplementationSpecificError.Code)
	case uplinktest.Never:
		c.answer(kind, pk.PacketID, packets.ErrPayloadFormatInvalid.Code)
	case uplinktest.Garbage:
		c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	}
}
