// Package linkup tells when the network has changed, and when it may have come
// back: an interface got its carrier, an address or a route appeared. The kernel says so on a netlink
// socket (rtnetlink(7)); nothing is polled.
package linkup

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// groups are the multicast groups that are listened to.
const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE

// Watch calls notify at every event of an interface, an address or a route until
// ctx ends; up says that something appeared. Events come in bursts. listening, if
// not nil, is closed when no later event is missed.
func Watch(ctx context.Context, notify func(up bool), listening chan<- struct{}) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	socket := os.NewFile(uintptr(fd), "netlink") // non-blocking: Close ends a Read
	defer socket.Close()
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return fmt.Errorf("netlink groups: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	defer stop()
	if listening != nil {
		close(listening)
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := socket.Read(buf)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && n <= 0 {
			if isOverrun(err) {
				notify(true) // events were dropped, and one of them may have been it
				continue
			}
			return fmt.Errorf("netlink: %w", err)
		}
		notify(isUp(buf[:n]))
	}
}

func isOverrun(err error) bool {
	e, ok := err.(*os.PathError)
	return ok && e.Err == unix.ENOBUFS
}

// isUp says whether one of the messages tells of something that appeared.
func isUp(b []byte) bool {
	messages, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return false
	}
	for _, m := range messages {
		switch m.Header.Type {
		case unix.RTM_NEWADDR, unix.RTM_NEWROUTE:
			return true
		case unix.RTM_NEWLINK:
			// The flags are the third word of ifinfomsg.
			if len(m.Data) >= 12 && binary.NativeEndian.Uint32(m.Data[8:])&unix.IFF_RUNNING != 0 {
				return true
			}
		}
	}
	return false
}
