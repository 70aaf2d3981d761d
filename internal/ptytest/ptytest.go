// Package ptytest makes pseudo terminals for tests: serial lines without wires.
// They have no speed, no parity and no modem lines, and a full one makes its
// writer wait.
package ptytest

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// New returns the device's end of a line and the path of the gateway's end. The
// device is unplugged when its end is closed, at the latest with the test.
func New(t testing.TB) (device *os.File, path string) {
	t.Helper()
	device, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("pseudo terminals are missing: %v", err)
	}
	t.Cleanup(func() { device.Close() })
	raw, err := device.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	if controlled := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); controlled != nil || err != nil {
		t.Fatal(controlled, err)
	}
	return device, fmt.Sprintf("/dev/pts/%d", number)
}
