package daemon

import (
	"context"
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
	set    *dashboard.ClockSet
	told   int // steps that are logged
}

// aStep is how far the clock must jump. A clock that is made right gently runs
// together with the time since boot.
const aStep = time.Second

// look says how the clock is at the time now of the wall clock, up after boot.
func (c *clockWatch) look(now time.Time, up time.Duration, synced bool) (since time.Time, set *dashboard.ClockSet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	zero := now.Round(0).Add(-up)
	if by := zero.Sub(c.zero); c.asked && by.Abs() >= aStep {
		times := 1
		if c.set != nil {
			times += c.set.Times
		}
		c.set = &dashboard.ClockSet{Times: times, Last: now.UnixMilli(), Seconds: by.Round(time.Millisecond).Seconds()}
		c.zero = zero
	}
	if c.asked && synced != c.synced {
		c.since = now
	}
	if !c.asked {
		c.zero = zero
	}
	c.asked, c.synced = true, synced
	return c.since, c.set
}

// news returns the latest step if nobody was told of it, nil otherwise.
func (c *clockWatch) news() *dashboard.ClockSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.set == nil || c.told == c.set.Times {
		return nil
	}
	c.told = c.set.Times
	return c.set
}

// lookAtClock says how the clock is, and logs that it was set.
func (d *Daemon) lookAtClock(now time.Time, up time.Duration) (since time.Time, set *dashboard.ClockSet) {
	since, set = d.clock.look(now, up, bootclock.Synced())
	if step := d.clock.news(); step != nil {
		d.log.Warn("the clock was set", "event", "clock_step", "by", time.Duration(step.Seconds*float64(time.Second)), "times", step.Times)
	}
	return since, set
}

// watchClock looks at the clock whenever somebody sets it, until ctx ends.
func (d *Daemon) watchClock(ctx context.Context) error {
	look := func() { d.lookAtClock(time.Now(), bootclock.Uptime()) }
	look()
	return bootclock.Steps(ctx, look, nil)
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

// machineStatus fills in the clock, the machine and its disk, on which dir is.
func (d *Daemon) machineStatus(s *dashboard.Status, dir string) {
	now, up := time.UnixMilli(s.Now), bootclock.Uptime()
	since, set := d.lookAtClock(now, up)
	s.ClockSince, s.ClockSet = unixMilli(since), set
	s.Host = hostStatus(now, up)
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) == nil {
		s.Buffer.DiskFree, s.Buffer.DiskSize = int64(fs.Bavail)*int64(fs.Bsize), int64(fs.Blocks)*int64(fs.Bsize)
	}
}

// clockText words the clock for people.
func clockText(s dashboard.Status) string {
	text := s.Clock
	if s.ClockSince != 0 {
		text += " since " + localTime(s.ClockSince)
	}
	if c := s.ClockSet; c != nil {
		where := "forward"
		if c.Seconds < 0 {
			where = "back"
		}
		by := time.Duration(c.Seconds * float64(time.Second)).Abs().Round(time.Second)
		text += fmt.Sprintf(", set %s by %v at %s", where, by, localTime(c.Last))
		if c.Times > 1 {
			text += fmt.Sprintf(" (%s since the start)", times(uint64(c.Times)))
		}
	}
	return text
}
