package wire

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// TestManyShapesOfOneDeviceCostNoSquare: a device that sends every metric on
// its own makes as many shapes and groups as readings.
func TestManyShapesOfOneDeviceCostNoSquare(t *testing.T) {
	took := func(n int) time.Duration {
		rs := make([]reading.Reading, n)
		for i := range rs {
			rs[i] = reading.Reading{Device: "plc", Metric: fmt.Sprint("register/", i), Time: int64(i), Value: reading.Float(1)}
		}
		begin := busy(t)
		raw, err := NewEncoder().AppendBlock(nil, Header{First: 1}, rs)
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := ParseBlock(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewDecoder().Decode(nil, b); err != nil {
			t.Fatal(err)
		}
		return busy(t) - begin
	}
	best := func(n int) time.Duration { return min(took(n), took(n), took(n)) }
	small, large := best(4000), best(32000)
	if ratio := float64(large) / float64(small); ratio > 32 { // eight times the readings; a square makes it 64
		t.Errorf("4,000 metrics take %v, 32,000 take %v: %.0f times as long", small, large, ratio)
	}
}

// busy is the processor time that the process has taken: while others have the
// processor, no time passes.
func busy(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
