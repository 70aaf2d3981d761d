package fileout

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
)

const (
	// stickDelay is how long to wait for a stick: looking costs nothing.
	stickDelay = 10 * time.Second
)

var errNotMounted = errors.New("no file system is mounted there")

// noRoom means that writing would leave less free than it should.
type noRoom struct{ free, keep int64 }

func (n noRoom) Error() string {
	return fmt.Sprintf("%s are free, and %s are to stay free", conf.Size(n.free).Approx(), conf.Size(n.keep).Approx())
}

// changed means that somebody else has written into, moved or removed the file.
type changed struct{ what string }

func (c changed) Error() string { return c.what }

// judge gives an error of the disk its class and its hint: the table of what may
// be wrong with a folder. Nothing is ever held against the readings.
func judge(err error) error {
	hint, delay := hintFor(err)
	if err == nil || strings.Contains(err.Error(), "hint: ") {
		return err
	}
	if hint != "" {
		err = fmt.Errorf("%w — hint: %s", err, hint)
	}
	switch {
	case delay == uplink.ConfigDelay:
		return uplink.Misconfigured(err)
	case delay > 0:
		return uplink.RetryAfter(err, delay)
	}
	return err
}

func hintFor(err error) (hint string, delay time.Duration) {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	var room noRoom
	var other changed
	switch {
	case is(errNotMounted):
		return "put the stick back and mount it; readings are kept until then", stickDelay
	case errors.As(err, &room):
		return "make room, set keep so that old files are removed, or set min_free lower", uplink.ConfigDelay
	case errors.As(err, &other):
		return "does another program, or another uplink of this name, write there? A new file is begun", 0
	case is(syscall.ENOSPC, syscall.EDQUOT):
		return "the disk is full: make room, or set keep so that old files are removed", uplink.ConfigDelay
	case is(syscall.EROFS):
		return "it is mounted read-only, perhaps after an error: see \"dmesg\" and check the file system", uplink.ConfigDelay
	case is(syscall.EACCES, syscall.EPERM):
		return "let the user who runs the gateway write there (chown, or uid= in the mount options)", uplink.ConfigDelay
	case is(syscall.EFBIG):
		return "the file system takes no file of this size; set max_size lower", uplink.ConfigDelay
	case is(syscall.ENOENT, syscall.ENOTDIR):
		return "the folder is gone; is the disk mounted?", stickDelay
	case is(syscall.EIO, syscall.ENXIO, syscall.ENODEV, syscall.ESTALE, syscall.ENOTCONN):
		return "the disk is bad, or was pulled out: see \"dmesg\"", 0
	}
	return "", 0
}
