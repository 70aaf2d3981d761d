package buffer

import (
	"testing"
	"time"
)

func TestDayMeterForgetsWhatIsOlderThanADay(t *testing.T) {
	m := dayMeter{began: time.Unix(0, 0)}
	at := func(h float64) time.Time { return time.Unix(0, 0).Add(time.Duration(h * float64(time.Hour))) }
	m.add(at(0.5), 100)
	m.add(at(1.5), 10)
	m.add(at(23.9), 1)
	for _, c := range []struct {
		hour float64
		want uint64
	}{{23.9, 111}, {24.5, 11}, {25.5, 1}, {46.9, 1}, {47.1, 0}, {400, 0}} {
		if got := m.sum(at(c.hour)); got != c.want {
			t.Errorf("after %v hours %d bytes, want %d", c.hour, got, c.want)
		}
	}
	m.add(at(401), 5)
	if got := m.sum(at(424.5)); got != 5 {
		t.Errorf("%d bytes, want 5", got)
	}
}
