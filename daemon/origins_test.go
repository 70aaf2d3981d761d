package daemon

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// screen counts what it is shown.
type screen struct {
	mu sync.Mutex
	n  int
}

func (s *screen) Publish(rs []reading.Reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n += len(rs)
}

func of4(devices ...string) (rs []reading.Reading) {
	for _, d := range devices {
		rs = append(rs, reading.Reading{Device: d, Metric: "a"}, reading.Reading{Device: d, Metric: "b"})
	}
	return rs
}

func TestDevicesAreKnownByTheirDoors(t *testing.T) {
	var o origins
	var shown screen
	mqtt, serial := o.of("mqtt", &shown), o.of("meter", &shown)
	mqtt.Publish(of4("boiler", "pump", "boiler"))
	serial.Publish(of4("pump"))
	o.of("meter", &shown).Publish(of4("meter-7")) // as after a reload
	for device, want := range map[string][]string{
		"boiler": {"mqtt"}, "pump": {"mqtt", "meter"}, "meter-7": {"meter"}, "nobody": nil,
	} {
		if got := o.doorsOf(device); !slices.Equal(got, want) {
			t.Errorf("%s came by %v, want %v", device, got, want)
		}
	}
	if shown.n != 10 {
		t.Errorf("%d readings were shown, want 10", shown.n)
	}
}

func TestOriginsAreBounded(t *testing.T) {
	var o origins
	var shown screen
	door := o.of("mqtt", &shown)
	for i := range maxOrigins + 100 {
		door.Publish(of4(fmt.Sprint("device-", i)))
	}
	if len(o.devices) != maxOrigins {
		t.Errorf("%d devices are remembered, want %d", len(o.devices), maxOrigins)
	}
	for i := range maxDoors + 3 {
		o.of(fmt.Sprint("door-", i), &shown).Publish(of4("pump", "device-5"))
	}
	if got := o.doorsOf("device-5"); len(got) != maxDoors {
		t.Errorf("%d doors, want %d", len(got), maxDoors)
	}
	if got := o.doorsOf("pump"); got != nil {
		t.Errorf("one device too many came by %v", got)
	}
}

// A configuration that is edited is planned with every change. Doors that were only
// thought of leave the places to those that run.
func TestDoorsThatNeverRanTakeNoPlace(t *testing.T) {
	var o origins
	var shown screen
	for i := range 10 * maxDoors {
		o.of(fmt.Sprint("meter-", i), &shown)
	}
	o.of("mqtt", &shown).Publish(of4("boiler"))
	if got := o.doorsOf("boiler"); !slices.Equal(got, []string{"mqtt"}) || len(o.doors) != 1 {
		t.Errorf("it came by %v of %d doors", got, len(o.doors))
	}
}

// Doors publish and people ask at the same time. A device that shares its place in
// what was named lately with another is not forgotten for that.
func TestOriginsOfManyDoorsAtOnce(t *testing.T) {
	var o origins
	var shown screen
	var all sync.WaitGroup
	for d := range 4 {
		door := o.of(fmt.Sprint("door-", d), &shown)
		all.Go(func() {
			for i := range 3000 {
				door.Publish(of4(fmt.Sprint("device-", i%1000)))
				o.doorsOf("device-1")
			}
		})
	}
	all.Wait()
	for i := range 1000 {
		if got := o.doorsOf(fmt.Sprint("device-", i)); len(got) != 4 {
			t.Fatalf("device-%d came by %v", i, got)
		}
	}
}

// What it costs to know by which door devices come: beside this, an Accept of four
// readings is about a microsecond.
func BenchmarkOrigin(b *testing.B) {
	for _, devices := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint("devices=", devices), func(b *testing.B) {
			var o origins
			door := o.of("mqtt", nothing{})
			var batches [][]reading.Reading
			for i := range devices {
				batches = append(batches, of4(fmt.Sprint("site/plant/device-", i)))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				door.Publish(batches[i%devices])
				i++
			}
		})
	}
}

type nothing struct{}

func (nothing) Publish([]reading.Reading) {}
