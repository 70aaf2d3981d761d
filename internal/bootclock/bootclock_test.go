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
	if Synced() && first == 0 {
		t.Error("synced before the boot")
	}
}
