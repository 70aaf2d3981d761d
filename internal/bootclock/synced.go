package bootclock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Mark is a file that says that the clock was set in this boot: tidegate-clock.service
// makes it, "tidegate clock -wait".
const Mark = "/run/tidegate-clock/set"

// Synced reports whether the wall clock is disciplined by a time source: adjtimex(2)
// without STA_UNSYNC. A sandbox that takes away what sets the clock takes that call
// away, too: there, whether Mark exists.
func Synced() bool { return synced(Mark) }

func synced(mark string) bool {
	yes, err := ask()
	if errors.Is(err, unix.EPERM) {
		_, err = os.Stat(mark)
		return err == nil
	}
	return yes
}

func ask() (yes bool, err error) {
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	return err == nil && state != unix.TIME_ERROR && tx.Status&unix.STA_UNSYNC == 0, err
}
