package buffer

import (
	"sync"
	"time"
)

// dayMeter sums up bytes over the last 24 hours, by the hour.
type dayMeter struct {
	began time.Time

	mu    sync.Mutex
	hours [24]uint64
	last  int // the hour, since began, that was counted last
}

func (m *dayMeter) add(now time.Time, n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	m.hours[m.last%len(m.hours)] += n
}

// sum is the bytes of the present hour and the 23 before it.
func (m *dayMeter) sum(now time.Time) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	total := uint64(0)
	for _, n := range m.hours {
		total += n
	}
	return total
}

// turn clears the hours that have passed since the last call.
func (m *dayMeter) turn(now time.Time) {
	hour := int(now.Sub(m.began) / time.Hour)
	if hour-m.last >= len(m.hours) {
		clear(m.hours[:])
		m.last = hour
	}
	for m.last < hour {
		m.last++
		m.hours[m.last%len(m.hours)] = 0
	}
}
