package bootclock

import "testing"

func TestBootIsTheSameAndUptimeGoesOn(t *testing.T) {
	if BootID() != BootID() {
		t.Error("two boots at once")
	}
	first := Uptime()
	if first <= 0 || Uptime() < first {
		t.Errorf("up %v, then less", first)
	}
}
