// Package serialport opens serial ports, and says which there are.
//
// github.com/tarm/serial opens and reads a port. What it cannot do is done on a
// second descriptor of the same device, the control descriptor: the settings of
// a line belong to the line, not to a descriptor. It holds the lock, sets any
// speed, checks parity on receive, switches RS-485, waits for bytes and for the
// end of the device, and writes without ever blocking.
//
// The traps of tarm/serial that this avoids, each with a test of its name:
//   - a read without a timeout never ends, and Close waits for it for ever;
//   - a timeout is rounded up to tenths of a second, and told as io.EOF;
//   - after an unplug every read ends at once with io.EOF: a loop at full speed;
//   - a write to a device that holds the line up never ends;
//   - two programs may open one port, and the second changes its speed;
//   - parity is sent and never checked: damaged bytes pass for good ones;
//   - speeds outside its table, mark and space parity, flow control, the modem
//     lines and RS-485 are missing.
package serialport

import (
	"errors"
	"fmt"
	"time"
)

// Errors of a port. They are wrapped: use errors.Is.
var (
	// ErrGone means that the device went away. Close the port, and wait for it.
	ErrGone = errors.New("the device went away")
	// ErrDamaged means that the last byte of what was read arrived with a wrong
	// parity bit or without its stop bit, or stands for a break.
	ErrDamaged = errors.New("damaged byte")
	// ErrStuck means that the device did not take what was written in time.
	ErrStuck = errors.New("the device does not take what is written")
	// ErrBusy means that another program has the port.
	ErrBusy = errors.New("the port is in use")
	// ErrStranger means that another device has taken the name.
	ErrStranger = errors.New("the name belongs to another device now")
	// ErrUnable means that the driver cannot do what is configured.
	ErrUnable = errors.New("the driver cannot do that")
	// ErrAbsent means that there is no such device at present.
	ErrAbsent = errors.New("no such device")
)

// Parity is the parity bit of a character.
type Parity byte

// The parities. Mark is always 1, Space always 0.
const (
	None  Parity = 'N'
	Even  Parity = 'E'
	Odd   Parity = 'O'
	Mark  Parity = 'M'
	Space Parity = 'S'
)

// String returns the word that the configuration uses.
func (p Parity) String() string {
	switch p {
	case 0, None:
		return "none"
	case Even:
		return "even"
	case Odd:
		return "odd"
	case Mark:
		return "mark"
	case Space:
		return "space"
	}
	return fmt.Sprintf("parity(%d)", byte(p))
}

// Level is the state of a modem line.
type Level int8

// The states. As it is after opening: most drivers raise both lines then.
const (
	AsOpened Level = iota
	Low
	High
)

// RS485 makes the driver switch the direction of a half-duplex line with RTS.
type RS485 struct {
	// Enabled turns the mode on.
	Enabled bool
	// LowOnSend makes RTS low while sending and high otherwise, for
	// transceivers that are wired the other way round.
	LowOnSend bool
	// DelayBefore and DelayAfter are between RTS and the first bit, and between
	// the last bit and RTS. The kernel counts in whole milliseconds.
	DelayBefore, DelayAfter time.Duration
	// ReceiveWhileSending keeps the receiver on: the port hears its own echo.
	ReceiveWhileSending bool
	// Terminate connects the terminating resistor, where the board can.
	Terminate bool
}

// Config says what to open. Zero values stand for the defaults.
type Config struct {
	// Path is the device: /dev/serial/by-id/…, /dev/serial/by-path/…, /dev/ttyS0.
	Path string
	// Baud is the speed in bits a second, any that the driver can make. 9600 by default.
	Baud int
	// DataBits is 5 to 8, 8 by default.
	DataBits int
	// Parity is None by default. Received parity is checked.
	Parity Parity
	// StopBits is 1 (the default) or 2.
	StopBits int
	// RTSCTS and XONXOFF turn on flow control, by lines or by characters.
	RTSCTS, XONXOFF bool
	// RTS and DTR are set right after opening.
	RTS, DTR Level
	// RS485 is off by default.
	RS485 RS485
	// WriteTimeout is how much longer than its time on the line a write may
	// take. 1 s by default.
	WriteTimeout time.Duration
	// Expect, unless it is zero, is the device that must be behind a kernel
	// name such as /dev/ttyUSB0, or one under by-id; see Host.Find.
	Expect Identity
	// Host says where devices are. The zero value is this machine.
	Host Host
}

// The bounds of a speed. Below 50 no driver goes; above 12,000,000 no chip.
const (
	MinBaud = 50
	MaxBaud = 12_000_000
)

// MaxRS485Delay is the longest delay that the kernel takes.
const MaxRS485Delay = 100 * time.Millisecond

// WithDefaults returns the configuration with its zero values replaced.
func (c Config) WithDefaults() Config {
	if c.Baud == 0 {
		c.Baud = 9600
	}
	if c.DataBits == 0 {
		c.DataBits = 8
	}
	if c.Parity == 0 {
		c.Parity = None
	}
	if c.StopBits == 0 {
		c.StopBits = 1
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = time.Second
	}
	return c
}

// Check returns an error for what no port can be.
func (c Config) Check() error {
	c = c.WithDefaults()
	switch {
	case c.Path == "":
		return errors.New("no path — hint: tidegate ports lists the serial ports of this machine")
	case c.Baud < MinBaud || c.Baud > MaxBaud:
		return fmt.Errorf("baud %d is not within %d to %d — hint: 9600 and 115200 are usual", c.Baud, MinBaud, MaxBaud)
	case c.DataBits < 5 || c.DataBits > 8:
		return fmt.Errorf("%d data bits — hint: 5, 6, 7 or 8", c.DataBits)
	case c.StopBits != 1 && c.StopBits != 2:
		return fmt.Errorf("%d stop bits — hint: 1 or 2", c.StopBits)
	case c.WriteTimeout < 0:
		return fmt.Errorf("write timeout %v is negative — hint: leave it out for one second", c.WriteTimeout)
	}
	switch c.Parity {
	case None, Even, Odd, Mark, Space:
	default:
		return fmt.Errorf("unknown parity %q — hint: none, even, odd, mark or space", string(rune(c.Parity)))
	}
	return c.checkLines()
}

// checkLines refuses what wants the RTS line for two things.
func (c Config) checkLines() error {
	delays := min(c.RS485.DelayBefore, c.RS485.DelayAfter)
	longest := max(c.RS485.DelayBefore, c.RS485.DelayAfter)
	switch {
	case c.RTSCTS && c.RTS != AsOpened:
		return errors.New("RTS cannot be set while RTS/CTS flow control moves it — hint: leave one of the two out")
	case c.RS485.Enabled && (c.RTSCTS || c.RTS != AsOpened):
		return errors.New("RS-485 moves RTS by itself — hint: leave RTS/CTS flow control and the RTS line out")
	case c.RTSCTS && c.XONXOFF:
		return errors.New("both kinds of flow control — hint: RTS/CTS alone, where its wires are connected")
	case !c.RS485.Enabled && c.RS485 != (RS485{}):
		return errors.New("RS-485 settings without RS-485 — hint: turn it on, or leave them out")
	case delays < 0 || longest > MaxRS485Delay:
		return errors.New("an RS-485 delay is not within 0 to 100 ms, which is what the kernel allows — hint: 0 is right for nearly all transceivers")
	}
	return nil
}

// CharTime is how long one character is on the line.
func (c Config) CharTime() time.Duration {
	c = c.WithDefaults()
	bits := 1 + c.DataBits + c.StopBits
	if c.Parity != None {
		bits++
	}
	return time.Duration(bits) * time.Second / time.Duration(c.Baud)
}

// String returns the settings as they are written on a label: 9600 8N1.
func (c Config) String() string {
	c = c.WithDefaults()
	return fmt.Sprintf("%d %d%c%d", c.Baud, c.DataBits, c.Parity, c.StopBits)
}
