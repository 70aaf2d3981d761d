package mqttin

import (
	"time"

	"github.com/tidegate/tidegate/internal/bootclock"
)

// clock measures how long ago something was. A gateway often boots in 1970 and
// learns the time later, so while it runs only its uptime counts, and across a
// restart nothing but what is certain.
type clock struct {
	boot   uint32               // names this boot of the machine
	uptime func() time.Duration // since then
	wall   func() time.Time
	synced func() bool // whether wall can be believed
}

func machineClock() clock {
	return clock{boot: bootclock.BootID(), uptime: bootclock.Uptime, wall: time.Now, synced: bootclock.Synced}
}

// moment is a time as it is noted, in seconds.
type moment struct {
	boot, uptime uint32
	wall         uint32 // of 1970; zero when the clock could not be believed
}

// moment returns what is to be noted for a time that lies age back.
func (k clock) moment(age time.Duration) moment {
	m := moment{boot: k.boot, uptime: uint32(max(0, k.uptime()-age) / time.Second)}
	if k.synced() {
		m.wall = uint32(k.wall().Add(-age).Unix())
	}
	return m
}

// since says how long ago a moment was: by the uptime when it was in this boot,
// by the wall clock when that could be believed then and can be now, and
// otherwise not at all. What is kept for a time may be kept for longer, and
// never for less.
func (k clock) since(m moment) time.Duration {
	switch {
	case m.boot == k.boot:
		return max(0, k.uptime()-time.Duration(m.uptime)*time.Second)
	case m.wall != 0 && k.synced():
		return max(0, k.wall().Sub(time.Unix(int64(m.wall), 0)))
	}
	return 0
}
