package stompout

import (
	"testing"
	"time"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

func TestConformance(t *testing.T) {
	uplinktest.Run(t, uplinktest.Door{
		New: func(t *testing.T, address string, dial uplink.Dial) uplink.Sink {
			return newSink(t, Config{Address: address, Dial: dial})
		},
		Peer:  peer,
		Lacks: []uplinktest.Verdict{uplinktest.Busy}, // no ERROR names a delay
	})
}

// newSink returns a Sink that sends to /queue/telemetry unless cfg says otherwise.
func newSink(t testing.TB, cfg Config) *Sink {
	t.Helper()
	if cfg.Destination.String() == "" {
		cfg.Destination = template(t, "/queue/telemetry")
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

// soon is more than what happens at once ever takes.
const soon = 30 * time.Second
