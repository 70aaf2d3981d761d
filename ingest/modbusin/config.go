package modbusin

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/serialport"
	"github.com/tidegate/tidegate/reading"
)

// Kind is the kind of a bus.
type Kind uint8

// The kinds: Modbus TCP, RTU on a serial line, RTU over a TCP connection to a
// serial device server.
const (
	TCP Kind = iota
	RTU
	RTUOverTCP
)

// ParseURL tells what an url means: "tcp://host:502", "rtu:/dev/ttyUSB0",
// "rtu+tcp://host:4001". Without a port, 502 is meant.
func ParseURL(url string) (kind Kind, address string, err error) {
	const hint = `write for example "tcp://192.0.2.7:502", "rtu:/dev/serial/by-id/…" or "rtu+tcp://192.0.2.7:4001"`
	scheme, rest, _ := strings.Cut(url, ":")
	rest = strings.TrimSuffix(rest, "/")
	host, slashes := strings.CutPrefix(rest, "//")
	switch {
	case scheme == "rtu" && strings.HasPrefix(rest, "/") && !slashes:
		return RTU, rest, nil
	case scheme == "tcp" && slashes:
		kind = TCP
	case scheme == "rtu+tcp" && slashes:
		kind = RTUOverTCP
	default:
		return 0, "", fmt.Errorf("%q is no url of a bus — hint: %s", url, hint)
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		if strings.Count(host, ":") > 1 && !strings.HasPrefix(host, "[") {
			return 0, "", fmt.Errorf(`%q: nothing tells where the address ends — hint: write an IPv6 address in brackets, "tcp://[2001:db8::7]:502"`, url)
		}
		name, port = strings.Trim(host, "[]"), "502"
	}
	if name == "" || port == "" || strings.ContainsAny(host, "/@?# ") {
		return 0, "", fmt.Errorf("%q names no host and port — hint: %s", url, hint)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return 0, "", fmt.Errorf("%q is no port, in %q — hint: a number from 1 to 65535, 502 for most devices", port, url)
	}
	return kind, net.JoinHostPort(name, strconv.FormatUint(n, 10)), nil
}

// Config describes one bus and the slaves on it.
type Config struct {
	// URL says where the bus is; see ParseURL.
	URL string
	// Serial is the port of an RTU bus; its Path comes from URL. For RTU over
	// TCP it tells the speed behind the device server, if Baud is not zero.
	Serial serialport.Config
	// FrameGap is the silence before each frame on a serial line. 0 stands for
	// the 3.5 characters of the specification.
	FrameGap time.Duration
	// Pipeline is how many questions may be under way at once over TCP; 0 and 1
	// stand for one, which every device can bear.
	Pipeline int
	// Slaves are asked in turn.
	Slaves []Slave

	// dial replaces the ways to a bus in tests.
	dial dialer
}

// MaxPipeline bounds Config.Pipeline. The TCP guide (§4.2.2) says that servers
// take from 1 to 16 questions.
const MaxPipeline = 16

// Slave is a device on a bus.
type Slave struct {
	// Unit is its address: 1 to 247 on a serial line, 0 to 255 over TCP.
	Unit byte
	// Device names it in readings.
	Device string
	// Lane is for its readings.
	Lane reading.Lane
	// Refine changes its readings; may be nil.
	Refine route.Refiner
	// Status is the metric that tells whether it answers; empty for none.
	Status string
	// Every is how often registers are read that say nothing else.
	Every time.Duration
	// Timeout is how long it may take to answer, transmission not counted.
	Timeout time.Duration
	// Retries is how often a question is repeated.
	Retries int
	// Probe is how often it is asked while it does not answer.
	Probe time.Duration
	// Gap is how many elements that nobody wants may be read with those around
	// them.
	Gap int
	// MaxRegisters and MaxBits bound a request; 0 stands for the most that the
	// specification allows.
	MaxRegisters, MaxBits int
	// NeverRead must not be asked for: reading it has an effect, or confuses the
	// device.
	NeverRead []Span
	// Registers are what is read. Slaves with one map share them.
	Registers []Register
}

// Bounds of the parts of a bus.
const (
	maxSlaves    = 256
	maxRegisters = 10_000 // of one slave
)

// Check returns what makes no sense, each error ending in a hint.
func (c Config) Check() error {
	kind, _, err := ParseURL(c.URL)
	if err != nil {
		return err
	}
	var all []error
	if c.Pipeline > 1 && kind != TCP || c.Pipeline < 0 || c.Pipeline > MaxPipeline {
		all = append(all, fmt.Errorf("pipeline %d — hint: at most %d over TCP, and 1 on a serial line, where questions cannot be told apart", c.Pipeline, MaxPipeline))
	}
	if len(c.Slaves) == 0 || len(c.Slaves) > maxSlaves {
		all = append(all, fmt.Errorf("%d slaves — hint: a bus has 1 to %d", len(c.Slaves), maxSlaves))
	}
	seen := make(map[byte]bool)
	for _, s := range c.Slaves {
		if seen[s.Unit] {
			all = append(all, fmt.Errorf("unit %d is there twice — hint: two devices with one address disturb each other", s.Unit))
		}
		seen[s.Unit] = true
		all = append(all, s.check(kind))
	}
	return errors.Join(all...)
}

func (s Slave) check(kind Kind) error {
	wrong := func(what, hint string) error { return fmt.Errorf("unit %d: %s — hint: %s", s.Unit, what, hint) }
	switch {
	case kind != TCP && (s.Unit < 1 || s.Unit > 247):
		return wrong("is no address on a serial line", "1 to 247; 0 speaks to all at once, and nobody answers")
	case s.Device == "":
		return wrong("has no device", "the name that readings carry")
	case s.Every <= 0 || s.Timeout <= 0 || s.Probe <= 0 || s.Retries < 0:
		return wrong("times must be positive", "interval, timeout and probe")
	case s.Gap < 0 || s.MaxRegisters < 0 || s.MaxRegisters > MaxRegisters || s.MaxBits < 0 || s.MaxBits > MaxBits:
		return wrong("limits of requests are out of range", fmt.Sprintf("at most %d registers and %d bits", MaxRegisters, MaxBits))
	case len(s.Registers) == 0 || len(s.Registers) > maxRegisters:
		return wrong(fmt.Sprintf("has %d registers", len(s.Registers)), fmt.Sprintf("1 to %d", maxRegisters))
	}
	for _, r := range s.Registers {
		if err := r.Check(); err != nil {
			return fmt.Errorf("unit %d: metric %s: %w", s.Unit, r.Metric, err)
		}
		if n, most := int(r.span().count), s.limits().most(r.Table); n > most {
			return wrong(fmt.Sprintf("metric %s has %d words, and %d are read at once", r.Metric, n, most), "raise max_registers")
		}
	}
	return nil
}

// bitsPerChar is how many bits a character takes on the line.
func bitsPerChar(s serialport.Config) int {
	s = s.WithDefaults()
	n := 1 + s.DataBits + s.StopBits
	if s.Parity != serialport.None {
		n++
	}
	return n
}

// reaction is what a slave is expected to take until it answers. Many take 5 to
// 50 ms.
const reaction = 10 * time.Millisecond

// Load is which part of the time a bus is busy when every slave answers.
type Load struct {
	// Wire is the part that its bytes and the gaps between frames take: more
	// than 1 cannot be.
	Wire float64
	// Expected is the same with 10 ms for each answer to begin.
	Expected float64
}

// Load computes how busy a serial bus will be; false when its speed is not
// known.
func (c Config) Load() (Load, bool) {
	kind, _, err := ParseURL(c.URL)
	if err != nil || kind == TCP || kind == RTUOverTCP && c.Serial.Baud == 0 {
		return Load{}, false
	}
	var l Load
	serial := c.Serial.WithDefaults()
	w := rtuWire{char: serial.CharTime(), gap: cmp.Or(c.FrameGap, gapTime(serial.Baud, bitsPerChar(serial)))}
	for _, s := range c.Slaves {
		for _, p := range s.polls() {
			if p.every <= 0 {
				continue // Check refuses it
			}
			for _, b := range p.plan {
				busy := w.airtime(b.request) + 2*w.gap
				l.Wire += float64(busy) / float64(p.every)
				l.Expected += float64(busy+reaction) / float64(p.every)
			}
		}
	}
	return l, true
}
