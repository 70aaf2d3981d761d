package serialport

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// termios returns the settings of the line: raw, with damage marked.
//
// INPCK and PARMRK are set without parity, too: a character without its stop bit
// is marked then. VMIN and VTIME are 0, so that no read ever waits: what waits is
// poll, which Close can end.
func (c Config) termios() *unix.Termios {
	t := &unix.Termios{
		Iflag:  unix.INPCK | unix.PARMRK,
		Cflag:  unix.CREAD | unix.CLOCAL | unix.BOTHER | unix.BOTHER<<unix.IBSHIFT | sizeFlags(c.DataBits) | parityFlags(c.Parity),
		Ispeed: uint32(c.Baud),
		Ospeed: uint32(c.Baud),
	}
	if c.StopBits == 2 {
		t.Cflag |= unix.CSTOPB
	}
	if c.RTSCTS {
		t.Cflag |= unix.CRTSCTS
	}
	if c.XONXOFF {
		t.Iflag |= unix.IXON | unix.IXOFF
		t.Cc[unix.VSTART], t.Cc[unix.VSTOP] = 0x11, 0x13 // DC1, DC3
	}
	return t
}

func sizeFlags(bits int) uint32 {
	switch bits {
	case 5:
		return unix.CS5
	case 6:
		return unix.CS6
	case 7:
		return unix.CS7
	}
	return unix.CS8
}

func parityFlags(p Parity) uint32 {
	switch p {
	case Even:
		return unix.PARENB
	case Odd:
		return unix.PARENB | unix.PARODD
	case Mark:
		return unix.PARENB | unix.CMSPAR | unix.PARODD
	case Space:
		return unix.PARENB | unix.CMSPAR
	}
	return 0
}

// apply sets the line, and looks at what the driver made of it: it changes what
// it cannot do, and says nothing.
func (c Config) apply(fd int, pseudo bool) error {
	err := unix.IoctlSetTermios(fd, unix.TCSETS2, c.termios())
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: set %v: %w — hint: another adapter, or other settings if the device can", ErrUnable, c, err)
	}
	if err != nil {
		return fmt.Errorf("set %v: %w", c, gone(err))
	}
	got, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return fmt.Errorf("read the settings back: %w", gone(err))
	}
	if pseudo {
		return nil // there is no line: characters have no bits there
	}
	return c.compare(got)
}

// compare says what the driver refused.
func (c Config) compare(got *unix.Termios) error {
	want := c.termios()
	differs := want.Cflag ^ got.Cflag
	switch off := int64(got.Ospeed) - int64(c.Baud); {
	// A receiver samples in the middle of a bit, so that ten bits may be half
	// a bit long or short; the device's own clock needs half of that.
	case max(off, -off)*40 > int64(c.Baud):
		return fmt.Errorf("%w: it makes %d of %d baud — hint: choose a speed that the chip divides down to, or another adapter", ErrUnable, got.Ospeed, c.Baud)
	case differs&(unix.PARENB|unix.PARODD|unix.CMSPAR) != 0:
		return fmt.Errorf("%w: it does not know parity %v — hint: another adapter, or parity none if the device can", ErrUnable, c.Parity)
	case differs&unix.CSIZE != 0:
		return fmt.Errorf("%w: it does not know %d data bits — hint: another adapter, or 8 data bits if the device can", ErrUnable, c.DataBits)
	case differs&unix.CSTOPB != 0:
		return fmt.Errorf("%w: it does not know %d stop bits — hint: 1, if the device can", ErrUnable, c.StopBits)
	case differs&unix.CRTSCTS != 0:
		return fmt.Errorf("%w: it does not know RTS/CTS flow control — hint: leave it out", ErrUnable)
	}
	return nil
}

// setLines puts RTS and DTR where the configuration wants them.
func (c Config) setLines(fd int) error {
	for _, line := range []struct {
		name  string
		bit   int
		level Level
	}{{"RTS", unix.TIOCM_RTS, c.RTS}, {"DTR", unix.TIOCM_DTR, c.DTR}} {
		if err := setLine(fd, line.name, line.bit, line.level); err != nil {
			return err
		}
	}
	return nil
}

func setLine(fd int, name string, bit int, level Level) error {
	if level == AsOpened {
		return nil
	}
	var request uint = unix.TIOCMBIC
	if level == High {
		request = unix.TIOCMBIS
	}
	err := unix.IoctlSetPointerInt(fd, request, bit)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("the driver has no %s line: %w — hint: leave it out", name, err)
	}
	if err != nil {
		return fmt.Errorf("set %s: %w", name, gone(err))
	}
	return nil
}

// rs485 is struct serial_rs485 of linux/serial.h.
type rs485 struct {
	flags, before, after uint32
	_                    [5]uint32
}

// The flags of struct serial_rs485.
const (
	rs485Enabled   = 1 << 0
	rs485OnSend    = 1 << 1
	rs485AfterSend = 1 << 2
	rs485HearSelf  = 1 << 4
	rs485Terminate = 1 << 5
)

// request returns what the kernel is asked for.
func (r RS485) request() rs485 {
	ask := rs485{flags: rs485Enabled | rs485OnSend}
	if r.LowOnSend {
		ask.flags = rs485Enabled | rs485AfterSend
	}
	if r.ReceiveWhileSending {
		ask.flags |= rs485HearSelf
	}
	if r.Terminate {
		ask.flags |= rs485Terminate
	}
	ask.before = uint32(r.DelayBefore.Round(time.Millisecond) / time.Millisecond)
	ask.after = uint32(r.DelayAfter.Round(time.Millisecond) / time.Millisecond)
	return ask
}

const noRS485 = "the driver has no RS-485 mode: %w — hint: most USB adapters switch the direction by themselves: leave rs485 out; a UART of the board needs its RTS pin configured"

// apply switches the mode on. The kernel turns off what the hardware has not, so
// what it answers is looked at.
func (r RS485) apply(fd int) error {
	if !r.Enabled {
		return nil
	}
	want := r.request()
	err := ioctl(fd, unix.TIOCSRS485, unsafe.Pointer(&want))
	if err != nil {
		return fmt.Errorf(noRS485, gone(err))
	}
	var got rs485
	if err := ioctl(fd, unix.TIOCGRS485, unsafe.Pointer(&got)); err != nil {
		return fmt.Errorf(noRS485, gone(err))
	}
	return compareRS485(r.request(), got)
}

func compareRS485(want, got rs485) error {
	switch missing := want.flags &^ got.flags; {
	case missing&rs485Enabled != 0:
		return fmt.Errorf(noRS485, unix.ENOTTY)
	case missing&(rs485OnSend|rs485AfterSend) != 0:
		return errors.New("the driver cannot drive RTS that way round while sending — hint: change rts_low_on_send")
	case missing&rs485HearSelf != 0:
		return errors.New("the hardware cannot receive while it sends — hint: leave receive_while_sending out")
	case missing&rs485Terminate != 0:
		return errors.New("the board has no terminating resistor that can be switched — hint: leave terminate out, and put 120 ohms on the ends of the bus")
	}
	return nil
}

// ioctl calls ioctl(2) with a pointer to a struct that x/sys has no name for.
func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// gone turns what the kernel says of a device that is no longer there into
// ErrGone.
func gone(err error) error {
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("%w (%w)", ErrGone, err)
	}
	return err
}
