// Package plugged tells when a serial port may have come, or changed: the kernel says so
// on a netlink socket (its kobject uevents), and udev once more when it has made the
// links and set the owner. Nothing is polled.
//
// What is no device of the kernel's, such as a link to a pseudo-terminal, is not told of,
// and in some containers nothing is: whoever waits looks from time to time all the same.
package plugged

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The multicast groups: what the kernel says, and what udev says behind it.
const groups = 1 | 2

// Watch calls notify at every event of a serial port until ctx ends; events come in
// bursts. listening, if not nil, is closed when no later event is missed.
func Watch(ctx context.Context, notify func(), listening chan<- struct{}) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	socket := os.NewFile(uintptr(fd), "netlink") // non-blocking: Close ends a Read
	defer socket.Close()
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return fmt.Errorf("netlink groups: %w", err)
	}
	defer context.AfterFunc(ctx, func() { socket.Close() })()
	if listening != nil {
		close(listening)
	}
	for b := make([]byte, 8<<10); ; {
		n, err := socket.Read(b)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ENOBUFS): // events were dropped, and one of them may have been it
			notify()
		case err != nil:
			return fmt.Errorf("netlink: %w", err)
		case isPort(b[:n]):
			notify()
		}
	}
}

// isPort says whether an event is about a serial port. Both kinds of messages have the
// properties as NAME=value, each with a zero behind it. Nobody is believed more than that:
// who is told looks for himself.
func isPort(event []byte) bool { return bytes.Contains(event, []byte("\x00SUBSYSTEM=tty\x00")) }
