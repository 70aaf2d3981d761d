package amqp1out

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
			return newPeer(t, func(c *peerConn, a arrived) {
				switch judge(uplinktest.Received{Key: a.id, Body: a.body}) {
				case uplinktest.Accept:
					c.accept(a)
				case uplinktest.Later:
					c.release(a)
				case uplinktest.Never:
					c.reject(a, "amqp:decode-error")
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
	cfg := Config{Address: address, Target: template(t, "telemetry"), Product: "tidegate/test"}
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
