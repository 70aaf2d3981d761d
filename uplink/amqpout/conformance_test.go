package amqpout

import (
	"testing"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

func TestConformance(t *testing.T) {
	uplinktest.Run(t, uplinktest.Door{
		New: func(t *testing.T, address string, dial uplink.Dial) uplink.Sink {
			return newSink(t, address, func(c *Config) { c.Dial = dial })
		},
		Peer: func(t *testing.T, judge uplinktest.Judge) string {
			return newPeer(t, func(c *peerConn, p published) {
				switch judge(uplinktest.Received{Key: p.id, Body: p.body}) {
				case uplinktest.Accept:
					c.ack(p)
				case uplinktest.Later:
					c.nack(p)
				case uplinktest.Never:
					c.closeChannel(406, "PRECONDITION_FAILED - message size 1000 is larger than configured max size 900")
				case uplinktest.Garbage:
					c.write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
				}
			}).address
		},
		Lacks: []uplinktest.Verdict{uplinktest.Busy},
	})
}

func newSink(t testing.TB, address string, change func(*Config)) *Sink {
	t.Helper()
	cfg := Config{Address: address, Username: "guest", Exchange: template(t, ""), RoutingKey: template(t, "telemetry"), Product: "tidegate/test"}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func template(t testing.TB, text string) uplink.Template {
	t.Helper()
	parsed, err := uplink.ParseTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}
