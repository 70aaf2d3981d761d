package daemon

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/bootclock"
)

// clockWatch notices that the clock is set. It compares the wall clock with the
// time since boot, which nobody sets, whenever it is asked.
type clockWatch struct {
	mu     sync.Mutex
	asked  bool
	synced bool
	since  time.Time // when synced changed; zero if it has not
	zero   time.Time // the wall clock at boot, as it was last
	steps  int
	last   time.Time // when the last step was noticed
	by     time.Duration
}

// aStep is how far the clock must jump. A clock that is made right gently runs
// together with the time since boot.
const aStep = time.Second

// look says how the clock is at the time now of the wall clock, up after boot.
func (c *clockWatch) look(now time.Time, up time.Duration, synced bool) dashboard.Clock {
	c.mu.Lock()
	defer c.mu.Unlock()
	zero := now.Round(0).Add(-up)
	if by := zero.Sub(c.zero); c.asked && by.Abs() >= aStep {
		c.steps++
		c.last, c.by, c.zero = now, by, zero
	}
	if c.asked && synced != c.synced {
		c.since = now
	}
	if !c.asked {
		c.zero = zero
	}
	c.asked, c.synced = true, synced
	return dashboard.Clock{Since: unixMilli(c.since), Steps: c.steps, Stepped: unixMilli(c.last), StepBy: c.by.Milliseconds()}
}

// hostStatus is what the gateway runs on.
func hostStatus(now time.Time, up time.Duration) dashboard.Host {
	h := dashboard.Host{Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Booted: now.Add(-up).UnixMilli()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	return h
}

// machineStatus fills in the clock, the machine and its disk.
func (d *Daemon) machineStatus(s *dashboard.Status) {
	now, up := time.UnixMilli(s.Now), bootclock.Uptime()
	s.ClockIs = d.clock.look(now, up, bootclock.Synced())
	s.Host = hostStatus(now, up)
	var fs unix.Statfs_t
	if unix.Statfs(d.cfg.Gateway.DataDir, &fs) == nil {
		s.Buffer.DiskFree, s.Buffer.DiskSize = int64(fs.Bavail)*int64(fs.Bsize), int64(fs.Blocks)*int64(fs.Bsize)
	}
}

// clockText words the clock for people.
func clockText(s dashboard.Status) string {
	text := s.Clock
	if s.ClockIs.Since != 0 {
		text += " since " + localTime(s.ClockIs.Since)
	}
	if s.ClockIs.Steps > 0 {
		by, where := time.Duration(s.ClockIs.StepBy)*time.Millisecond, "forward"
		if by < 0 {
			where = "back"
		}
		text += fmt.Sprintf(", set %s by %v at %s", where, by.Abs().Round(time.Second), localTime(s.ClockIs.Stepped))
		if s.ClockIs.Steps > 1 {
			text += fmt.Sprintf(" (%d times since the start)", s.ClockIs.Steps)
		}
	}
	return text
}
