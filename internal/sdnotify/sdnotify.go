// Package sdnotify tells the service manager how a service is: that it is ready, that
// it stops, that it is alive, and a line for people. The protocol is that of
// sd_notify(3): datagrams of lines NAME=VALUE to the socket that $NOTIFY_SOCKET names.
package sdnotify

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a message may wait for a manager that reads slowly.
const patience = 5 * time.Second

// maxStatus bounds the line for people, in bytes.
const maxStatus = 300

// Supervisor is the service manager that started the process. A nil Supervisor is none, and
// costs nothing.
type Supervisor struct {
	address  net.UnixAddr
	watchdog time.Duration
}

// FromEnvironment returns the manager that the environment names, nil if there is
// none. getenv is os.Getenv outside tests.
func FromEnvironment(getenv func(string) string) (*Supervisor, error) {
	socket := getenv("NOTIFY_SOCKET")
	switch {
	case socket == "":
		return nil, nil
	case socket[0] != '/' && socket[0] != '@' || len(socket) < 2:
		return nil, fmt.Errorf("$NOTIFY_SOCKET is %q, which is no path and no abstract socket — hint: start the gateway by systemd, or unset it", socket)
	}
	// An address that begins with @ is taken for an abstract one by package net.
	m := &Supervisor{address: net.UnixAddr{Name: socket, Net: "unixgram"}}
	if pid := getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return m, nil // another process is watched
	}
	if text := getenv("WATCHDOG_USEC"); text != "" {
		usec, err := strconv.ParseInt(text, 10, 64)
		if err != nil || usec <= 0 || usec > int64(1<<62)/int64(time.Microsecond) {
			return m, fmt.Errorf("$WATCHDOG_USEC is %q, which is no number of microseconds — hint: set WatchdogSec= in the unit", text)
		}
		m.watchdog = time.Duration(usec) * time.Microsecond
	}
	return m, nil
}

// Watchdog is within what time of the last one the manager wants to hear Alive, before
// it kills the process; zero if it does not watch.
func (s *Supervisor) Watchdog() time.Duration {
	if s == nil {
		return 0
	}
	return s.watchdog
}

// Ready says that the service has started, or has loaded its configuration again.
// Status is a line for people; empty leaves the last one.
func (s *Supervisor) Ready(status string) error { return s.say("READY=1", statusLine(status)) }

// Reloading says that the configuration is loaded again, until Ready.
func (s *Supervisor) Reloading() error {
	if s == nil {
		return nil
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	return s.say("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
}

// Stopping says that the service has begun to stop.
func (s *Supervisor) Stopping() error { return s.say("STOPPING=1") }

// Status is a line for people.
func (s *Supervisor) Status(line string) error { return s.say(statusLine(line)) }

// Alive says that the service works, and feeds the watchdog.
func (s *Supervisor) Alive() error { return s.say("WATCHDOG=1") }

// statusLine is empty for no status. A line end would begin another variable.
func statusLine(status string) string {
	if status == "" {
		return ""
	}
	status = strings.Join(strings.FieldsFunc(status, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	if len(status) > maxStatus {
		status = strings.ToValidUTF8(status[:maxStatus], "") + "…"
	}
	return "STATUS=" + status
}

// say sends the lines that are not empty, in one datagram. It dials for each: so it
// does not matter whether the manager has been replaced since the last.
func (s *Supervisor) say(lines ...string) error {
	if s == nil {
		return nil
	}
	text := ""
	for _, l := range lines {
		if l != "" {
			text += l + "\n"
		}
	}
	if text == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &s.address)
	if err == nil {
		defer c.Close()
		c.SetWriteDeadline(time.Now().Add(patience))
		_, err = c.Write([]byte(text))
	}
	if err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	return nil
}
