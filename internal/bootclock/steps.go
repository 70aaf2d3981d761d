package bootclock

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// Steps calls notify whenever somebody has set the wall clock, until ctx ends. The kernel
// tells (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET); nothing is polled. A clock that is
// made right gently is not set. listening, if not nil, is closed when no later step is
// missed.
func Steps(ctx context.Context, notify func(), listening chan<- struct{}) error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("timer of the clock: %w", err)
	}
	timer := os.NewFile(uintptr(fd), "timerfd") // non-blocking: Close ends a Read
	defer timer.Close()
	never := unix.ItimerSpec{Value: unix.Timespec{Sec: math.MaxInt32}} // 2038, where it ends once and goes on being told
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &never, nil); err != nil {
		return fmt.Errorf("timer of the clock: %w", err)
	}
	defer context.AfterFunc(ctx, func() { timer.Close() })()
	if listening != nil {
		close(listening)
	}
	for b := make([]byte, 8); ; {
		_, err := timer.Read(b)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
		case errors.Is(err, unix.ECANCELED):
			notify()
		default:
			return fmt.Errorf("timer of the clock: %w", err)
		}
	}
}
