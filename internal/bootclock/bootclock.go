// Package bootclock tells how far the machine's clock can be trusted: which
// boot this is, how long it has been up, and whether the kernel holds the wall
// clock for synchronised. A gateway without a battery often boots in 1970.
package bootclock

import (
	"hash/crc32"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// BootID returns a number that is the same during one boot and, very likely,
// different in the next: CRC-32 of the kernel's boot id. Where the kernel does
// not tell, it is the process's own.
func BootID() uint32 {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return uint32(os.Getpid()) ^ uint32(time.Now().UnixNano())
	}
	return crc32.ChecksumIEEE(id)
}

// Written returns when this program was written, as far as it knows: no clock is
// right that says less. The tools note the time of the commit that they build.
func Written() time.Time {
	written := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return written
	}
	for _, s := range info.Settings {
		if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil && t.After(written) {
			return t
		}
	}
	return written
}

// Uptime returns the time since boot, sleep included, from the clock that
// nobody can set (CLOCK_BOOTTIME).
func Uptime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
