package serialport

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"

	"github.com/tarm/serial"
	"golang.org/x/sys/unix"
)

// Open opens the port, locks it and sets the line. What arrives from then on is
// read; nothing is thrown away. Errors are ErrAbsent, ErrBusy, ErrStranger,
// ErrGone, or tell what the driver refuses, and end in a hint.
func Open(c Config) (*Port, error) {
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	c = c.WithDefaults()
	place, err := c.Host.find(c.Path, c.Expect)
	if err != nil {
		return nil, err
	}
	p, err := c.open(place)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	return p, nil
}

// open does it in the order that matters: the lock first, because setting a
// line that another program reads would damage what it receives; the line
// before and after tarm/serial, which sets it as well and knows less of it;
// TIOCEXCL last, because it would keep tarm/serial out, too.
func (c Config) open(place Place) (_ *Port, err error) {
	control, err := unix.Open(place.Device, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, c.Host.explain(place.Device, err)
	}
	p := &Port{config: c, place: place, control: control, wake: -1, released: make(chan struct{})}
	defer func() {
		if err != nil {
			p.release()
		}
	}()
	if err := c.Host.lock(control, place.Device); err != nil {
		return nil, err
	}
	p.ours = true
	pseudo, err := isPseudo(control)
	if err != nil {
		return nil, c.Host.explain(place.Device, err)
	}
	if err := c.apply(control, pseudo); err != nil {
		return nil, err
	}
	p.reader, err = serial.OpenPort(c.tarm(place.Device))
	if err != nil {
		return nil, c.Host.explain(place.Device, err)
	}
	if err := p.settle(pseudo); err != nil {
		return nil, err
	}
	p.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return p, nil
}

// settle sets the line once more, after tarm/serial, and then all the rest.
func (p *Port) settle(pseudo bool) error {
	if err := p.config.apply(p.control, pseudo); err != nil {
		return err
	}
	if err := p.config.setLines(p.control); err != nil {
		return err
	}
	if err := p.config.RS485.apply(p.control); err != nil {
		return err
	}
	if err := unix.IoctlSetInt(p.control, unix.TIOCEXCL, 0); err != nil {
		return fmt.Errorf("exclusive use: %w", gone(err))
	}
	p.base, p.counts = readCounts(p.control)
	p.last.Store(&p.base)
	p.origin = uint32(p.base.rx) - uint32(p.inQueue())
	return nil
}

// tarmSpeeds are the speeds that tarm/serial knows. It is given the right one
// where it can be, so that the line does not change its speed even for the
// moment between its opening and our setting of the line.
var tarmSpeeds = []int{
	50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800,
	500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000,
}

// tarm returns the nearest that tarm/serial can do. A read timeout is always
// set: without one its descriptor blocks for ever, and Close with it.
func (c Config) tarm(device string) *serial.Config {
	t := &serial.Config{Name: device, Baud: 9600, ReadTimeout: 1, Size: byte(c.DataBits), Parity: serial.ParityNone, StopBits: serial.StopBits(c.StopBits)}
	if slices.Contains(tarmSpeeds, c.Baud) {
		t.Baud = c.Baud
	}
	if c.Parity == Even || c.Parity == Odd {
		t.Parity = serial.Parity(c.Parity)
	}
	return t
}

// lock takes the port for this program. Both kinds of lock are needed: programs
// look for one or the other, and TIOCEXCL does not keep root out. Some old ones
// only leave a file that says that they are there, which is respected.
func (h Host) lock(fd int, device string) error {
	if pid := h.lockFile(device); pid > 0 {
		return fmt.Errorf("%w by %s — hint: stop that program, or give tidegate another port", ErrBusy, h.program(pid))
	}
	err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return h.busy(device)
	}
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return nil
}

func (h Host) busy(device string) error {
	if by := h.heldBy(device); by != "" {
		return fmt.Errorf("%w by %s — hint: stop that program, or give tidegate another port", ErrBusy, by)
	}
	return fmt.Errorf("%w by another program — hint: fuser -v %s tells which", ErrBusy, device)
}

// explain turns the error of an open into one that helps.
func (h Host) explain(device string, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return h.busy(device)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w — hint: check the cable; tidegate ports lists what is there", ErrAbsent)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w — hint: the program must be in the group %s", os.ErrPermission, GroupOf(device))
	case errors.Is(err, unix.ENOTTY):
		return errors.New("is no serial port — hint: tidegate ports lists those of this machine")
	case errors.Is(err, unix.EIO):
		return fmt.Errorf("%w: nothing answers behind this name — hint: tidegate ports lists what is there", ErrAbsent)
	}
	return fmt.Errorf("open: %w", err)
}

// MayOpen says whether this user may open the device, without opening it.
func MayOpen(device string) bool {
	return unix.Access(device, unix.R_OK|unix.W_OK) == nil
}

// GroupOf names the group that a device belongs to: dialout, uucp or tty.
func GroupOf(device string) string {
	var st unix.Stat_t
	if unix.Stat(device, &st) != nil {
		return "dialout"
	}
	id := strconv.Itoa(int(st.Gid))
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}

// The major numbers of the device ends of pseudo terminals.
const firstPseudo, lastPseudo = 136, 143

// isPseudo says whether the device is a pseudo terminal, and refuses what is no
// terminal at all.
func isPseudo(fd int) (bool, error) {
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS2); err != nil {
		return false, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, fmt.Errorf("stat: %w", err)
	}
	major := unix.Major(uint64(st.Rdev))
	return major >= firstPseudo && major <= lastPseudo, nil
}
