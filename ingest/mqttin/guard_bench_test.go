package mqttin

import (
	"fmt"
	"testing"
	"time"
)

// guarded are packets as devices send them.
func guarded() map[string][]byte {
	return map[string][]byte{
		"publish-v3": wire(0x32, "plant/press-4/telemetry", uint16(7), raw(benchJSON)),
		"publish-v5": wire(0x32, "plant/press-4/telemetry", uint16(7), props(), raw(benchJSON)),
		"properties": wire(0x32, "plant/press-4/telemetry", uint16(7), props(0x01, 1, 0x03, "application/json", 0x26, "unit", "C"), raw(benchJSON)),
		"puback":     wire(0x40, uint16(7)),
		"subscribe":  wire(0x82, uint16(7), props(), "cmd/press-4/#", 1),
		"connect":    hi(v5, props(0x11, uint16(0), uint16(3600)), "press-4"),
	}
}

// BenchmarkGuard measures what it costs to look at one packet before anybody
// else does; the path that BenchmarkAcked measures has it in it once a message.
func BenchmarkGuard(b *testing.B) {
	for name, packet := range guarded() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := guardOnce(name, packet); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkGuardShare measures the guard beside the whole path of an acknowledged
// publish, generator included, of which it is a part.
func BenchmarkGuardShare(b *testing.B) {
	packet := guarded()["publish-v3"]
	src := start(b, blackHole{}, Config{})
	publishAll(b, src.Addr(b.Context()).String(), 1, "raw/d", benchJSON)
	path := b.Elapsed()
	began := time.Now()
	for range b.N {
		if err := guardOnce("publish-v3", packet); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(100*float64(time.Since(began))/float64(path), "%path")
}

// guardOnce checks a packet as a connection does that has had its topic before.
func guardOnce(name string, packet []byte) error {
	f, ok, err := nextFrame(packet, 256<<10)
	if err != nil || !ok {
		return fmt.Errorf("%s: no packet: %w", name, err)
	}
	version := byte(5)
	if name == "publish-v3" {
		version = 4
	}
	switch f.packetType() {
	case typeConnect:
		_, err = checkConnect(f)
		return err
	case typePublish:
		p, err := parsePublish(f, version)
		if err != nil {
			return err
		}
		properties := cursor{rest: p.properties}
		return properties.checkProperties(inPublish)
	}
	return checkPacket(f, version)
}

// Looking at a publish allocates nothing, whatever else a packet may need.
func TestGuardAllocatesNothingForPublishes(t *testing.T) {
	for name, packet := range guarded() {
		if packet[0]>>4 != typePublish {
			continue
		}
		if n := testing.AllocsPerRun(100, func() {
			if err := guardOnce(name, packet); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
