package firmwaresim

import (
	"testing"
	"testing/synctest"
	"time"
)

// A line whose timers fire late carries what it says, as long as it is busy; one
// that was idle has saved up next to nothing.
func TestPacerMakesUpForLateTimersOnly(t *testing.T) {
	const bandwidth, late = 8000, 30 * time.Millisecond
	for busy, want := range map[bool]float64{true: 1, false: 0.76} {
		synctest.Test(t, func(t *testing.T) {
			var p pacer
			began, passed := time.Now(), 0
			for time.Since(began) < 10*time.Second {
				const packet = 256 // 32 ms
				time.Sleep(max(p.take(packet, bandwidth, busy), 0) + late)
				passed += packet
			}
			used := float64(passed) / bandwidth / time.Since(began).Seconds()
			if used < want-0.02 || used > want+0.02 {
				t.Errorf("busy %v: %.2f of the line was used, want %.2f", busy, used, want)
			}
		})
	}
}
