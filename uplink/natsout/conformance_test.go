package natsout

import (
	"testing"
	"time"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

func TestConformance(t *testing.T) {
	uplinktest.Run(t, uplinktest.Door{
		New: func(t *testing.T, address string, dial uplink.Dial) uplink.Sink {
			return newSink(t, Config{Servers: []string{address}, Dial: dial})
		},
		Peer:  peer,
		Lacks: []uplinktest.Verdict{uplinktest.Busy}, // no answer names a delay
	})
}

// newSink returns a Sink that publishes to "telemetry" unless cfg says otherwise.
func newSink(t testing.TB, cfg Config) *Sink {
	t.Helper()
	if cfg.Subject.String() == "" {
		cfg.Subject = template(t, "telemetry")
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
