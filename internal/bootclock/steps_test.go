package bootclock

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestASetClockIsTold sets the clock by a billionth of a second, which only root may.
func TestASetClockIsTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	listening, told, ended := make(chan struct{}), make(chan bool, 16), make(chan error, 1)
	go func() { ended <- Steps(ctx, func() { told <- true }, listening) }()
	select {
	case <-listening:
	case err := <-ended:
		t.Fatal(err)
	}
	for range 2 {
		set := unix.Timex{Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO, Time: unix.Timeval{Usec: 1}}
		if _, err := unix.Adjtimex(&set); errors.Is(err, unix.EPERM) {
			t.Log("only root may set a clock")
			break
		} else if err != nil {
			t.Fatal(err)
		}
		select {
		case <-told:
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(time.Minute):
			t.Fatal("nobody was told")
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
