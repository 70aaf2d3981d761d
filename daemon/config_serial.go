package daemon

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/ingest/serialin"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/serialport"
)

// Serial is [[ingest.serial]]: a device at a serial port.
type Serial struct {
	// Name names the door, serial:NAME.
	Name string `toml:"name"`
	// Port is the device file; one that survives plugging in anew.
	Port     string `toml:"port"`
	Baud     int    `toml:"baud"`
	DataBits int    `toml:"data_bits"`
	// Parity is none, even, odd, mark or space.
	Parity   string `toml:"parity"`
	StopBits int    `toml:"stop_bits"`
	// FlowControl is none, rts-cts or xon-xoff.
	FlowControl string `toml:"flow_control"`
	// RTS and DTR are high or low after opening; empty leaves them alone.
	RTS   string `toml:"rts"`
	DTR   string `toml:"dtr"`
	RS485 RS485  `toml:"rs485"`
	// Framing tells frames apart, Gap is the silence that it looks at.
	Framing Framing       `toml:"framing"`
	Gap     conf.Duration `toml:"gap"`
	// Device and Metric are for readings that do not name their own; an empty
	// Device is Name.
	Device      string `toml:"device"`
	Metric      string `toml:"metric"`
	Decode      string `toml:"decode"`
	Lane        string `toml:"lane"`
	Undecodable string `toml:"undecodable"`
	// Refine names tables of [[refine]].
	Refine []string `toml:"refine"`
	// Unasked is decode or drop: what becomes of frames that answer no poll.
	Unasked string `toml:"unasked"`
	// Init is sent after opening, Confirm after each frame is on flash.
	Init    conf.Bytes `toml:"init"`
	Confirm conf.Bytes `toml:"confirm"`
	// AllowSend lets a person at the page write to the device.
	AllowSend bool `toml:"allow_send"`
	// Backlog bounds what waits in memory for the disk.
	Backlog conf.Size    `toml:"backlog"`
	Polls   []SerialPoll `toml:"poll"`
}

// RS485 is [ingest.serial.rs485]: half duplex, switched by the driver.
type RS485 struct {
	Enabled             bool          `toml:"enabled"`
	LowOnSend           bool          `toml:"low_on_send"`
	DelayBefore         conf.Duration `toml:"delay_before"`
	DelayAfter          conf.Duration `toml:"delay_after"`
	ReceiveWhileSending bool          `toml:"receive_while_sending"`
	Terminate           bool          `toml:"terminate"`
}

// SerialPoll is [[ingest.serial.poll]]: what a device is asked. Empty keys are as
// those of the door.
type SerialPoll struct {
	Request     conf.Bytes    `toml:"request"`
	Interval    conf.Duration `toml:"interval"`
	Timeout     conf.Duration `toml:"timeout"`
	Expect      conf.Bytes    `toml:"expect"`
	Device      string        `toml:"device"`
	Metric      string        `toml:"metric"`
	Decode      string        `toml:"decode"`
	Lane        string        `toml:"lane"`
	Undecodable string        `toml:"undecodable"`
	Refine      []string      `toml:"refine"`
}

// SetDefaults makes s what an empty [[ingest.serial]] would be.
func (s *Serial) SetDefaults() {
	*s = Serial{
		Baud: 9600, DataBits: 8, Parity: "none", StopBits: 1, FlowControl: "none",
		Decode: "json", Lane: "normal", Undecodable: "keep", Unasked: "decode", Backlog: conf.MiB,
	}
	s.Framing.SetDefaults()
}

// SetDefaults makes p what an empty [[ingest.serial.poll]] would be.
func (p *SerialPoll) SetDefaults() {
	*p = SerialPoll{Interval: conf.Duration(10 * time.Second), Timeout: conf.Duration(time.Second)}
}

// The words of the configuration for what has numbers in package serialport.
var (
	parities = map[string]serialport.Parity{
		"none": serialport.None, "even": serialport.Even, "odd": serialport.Odd, "mark": serialport.Mark, "space": serialport.Space,
	}
	levels = map[string]serialport.Level{"": serialport.AsOpened, "low": serialport.Low, "high": serialport.High}
)

// port returns the settings of the line.
func (s Serial) port() serialport.Config {
	return serialport.Config{
		Path: s.Port, Baud: s.Baud, DataBits: s.DataBits, Parity: parities[s.Parity], StopBits: s.StopBits,
		RTSCTS: s.FlowControl == "rts-cts", XONXOFF: s.FlowControl == "xon-xoff", RTS: levels[s.RTS], DTR: levels[s.DTR],
		RS485: serialport.RS485{
			Enabled: s.RS485.Enabled, LowOnSend: s.RS485.LowOnSend,
			DelayBefore: time.Duration(s.RS485.DelayBefore), DelayAfter: time.Duration(s.RS485.DelayAfter),
			ReceiveWhileSending: s.RS485.ReceiveWhileSending, Terminate: s.RS485.Terminate,
		},
	}
}

func (s Serial) doorName() string { return "serial:" + s.Name }

func (s Serial) meaning() meaning {
	return meaning{decode: s.Decode, lane: s.Lane, undecodable: s.Undecodable, refine: s.Refine}
}

// meaning of a poll is that of its door, as far as it does not say otherwise.
func (p SerialPoll) meaning(door meaning) meaning {
	door.decode = cmp.Or(p.Decode, door.decode)
	door.lane = cmp.Or(p.Lane, door.lane)
	door.undecodable = cmp.Or(p.Undecodable, door.undecodable)
	if len(p.Refine) > 0 {
		door.refine = p.Refine
	}
	return door
}

func validateSerial(r refuse, doors []Serial, w words) {
	for i, s := range doors {
		key := fmt.Sprintf("ingest.serial[%d]", i)
		s.validate(r, key, w)
		if same := func(other Serial) bool { return other.Name == s.Name }; s.Name != "" && slices.IndexFunc(doors, same) < i {
			r(key+".name", "give each line a name of its own", "%q is taken", s.Name)
		}
	}
}

func (s Serial) validate(r refuse, key string, w words) {
	switch {
	case s.Name == "":
		r(key+".name", `write for example "boiler"`, "is missing")
	case !isName(s.Name):
		r(key+".name", nameHint, "%q is no valid name", s.Name)
	}
	s.validatePort(r, key)
	s.Framing.validate(r, key+".framing")
	if s.Gap != 0 {
		between(r, key+".gap", s.Gap, conf.Duration(time.Millisecond), conf.Duration(time.Minute))
	}
	s.meaning().validate(r, key, w)
	r.oneOf(key+".unasked", s.Unasked, "decode", "drop")
	if s.Unasked == "drop" && len(s.Polls) == 0 {
		r(key+".unasked", "add a [[ingest.serial.poll]], or take unasked out", "drops everything, because nothing is asked")
	}
	if s.AllowSend && len(s.Polls) > 0 {
		r(key+".allow_send", "take it out, and let the door pause for it", "stands beside polls, which would take what comes back for their answers")
	}
	s.validateSense(r, key)
	between(r, key+".backlog", s.Backlog, 16*conf.KiB, 64*conf.MiB)
	for i, p := range s.Polls {
		p.validate(r, fmt.Sprintf("%s.poll[%d]", key, i), s.meaning(), w)
	}
}

// validatePort asks serialport, when the words are words.
func (s Serial) validatePort(r refuse, key string) {
	if s.Port == "" {
		r(key+".port", `"tidegate ports" lists those of this machine`, "is missing")
		return
	}
	if !filepath.IsAbs(s.Port) {
		r(key+".port", `write the whole path, for example "/dev/serial/by-id/…" or "/dev/ttyUSB0"`, "%q is no path of a device", s.Port)
	}
	r.oneOf(key+".parity", s.Parity, "none", "even", "odd", "mark", "space")
	r.oneOf(key+".flow_control", s.FlowControl, "none", "rts-cts", "xon-xoff")
	for name, level := range map[string]string{"rts": s.RTS, "dtr": s.DTR} {
		if _, ok := levels[level]; !ok {
			r.oneOf(key+"."+name, level, "high", "low")
		}
	}
	between(r, key+".baud", s.Baud, serialport.MinBaud, serialport.MaxBaud)
	between(r, key+".data_bits", s.DataBits, 5, 8)
	between(r, key+".stop_bits", s.StopBits, 1, 2)
	between(r, key+".rs485.delay_before", s.RS485.DelayBefore, 0, conf.Duration(serialport.MaxRS485Delay))
	between(r, key+".rs485.delay_after", s.RS485.DelayAfter, 0, conf.Duration(serialport.MaxRS485Delay))
	s.validateRTS(r, key)
}

// validateRTS refuses settings that want one wire for two things.
func (s Serial) validateRTS(r refuse, key string) {
	free := serialport.Config{Path: s.Port, RTSCTS: s.FlowControl == "rts-cts", RTS: levels[s.RTS], RS485: s.port().RS485}
	free.RS485.DelayBefore, free.RS485.DelayAfter = 0, 0 // looked at already
	err := free.Check()
	switch {
	case err == nil:
	case s.RS485.Enabled:
		r.because(key+".rs485.enabled", err)
	case free.RS485 != (serialport.RS485{}):
		r(key+".rs485", "write enabled = true beside it, or take the table out", "is not enabled")
	default:
		r.because(key+".rts", err)
	}
}

func (p SerialPoll) validate(r refuse, key string, door meaning, w words) {
	if len(p.Request) == 0 {
		r(key+".request", `write what makes the device answer, for example 'T?\r\n' or "hex:01 03"`, "is missing")
	}
	between(r, key+".interval", p.Interval, conf.Duration(10*time.Millisecond), conf.Duration(24*time.Hour))
	between(r, key+".timeout", p.Timeout, conf.Duration(5*time.Millisecond), conf.Duration(time.Minute))
	p.meaning(door).validate(r, key, w)
}

// lineUse is a serial port that a door has for itself.
type lineUse struct{ key, port string }

// lines returns the serial ports of all kinds of doors.
func (c Config) lines() []lineUse {
	var all []lineUse
	for i, s := range c.Ingest.Serial {
		all = append(all, lineUse{fmt.Sprintf("ingest.serial[%d].port", i), s.Port})
	}
	for i, m := range c.Ingest.Modbus {
		if port := m.line().Port; port != "" {
			all = append(all, lineUse{fmt.Sprintf("ingest.modbus[%d].url", i), port})
		}
	}
	return all
}

// validateLines refuses two doors at one port: each byte would go to one of
// them. Names that lead to one device are a matter for check.
func (c Config) validateLines(r refuse) {
	all := c.lines()
	for i, l := range all {
		for _, other := range all[:i] {
			if l.port != "" && filepath.Clean(l.port) == filepath.Clean(other.port) {
				r(l.key, "let one door have it; a door may poll for several things", "%q is the port of %s", l.port, other.key)
				break
			}
		}
	}
}

// buildSerial builds the doors at serial ports.
func (b *builder) buildSerial(v vocabulary) error {
	for _, s := range b.cfg.Ingest.Serial {
		name := s.doorName()
		err := b.door(name, of(s, b.cfg.told(s.meanings()...)), v, func(v vocabulary) (ingest.Source, []func(), error) {
			door, forget := s.door(v)
			source, err := serialin.New(door, b.log.With("source", name))
			if err != nil {
				return nil, nil, fmt.Errorf("ingest.serial %q: %w", s.Name, err)
			}
			return source, forget, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// meanings are those of all frames of the line.
func (s Serial) meanings() []meaning {
	all := []meaning{s.meaning()}
	for _, p := range s.Polls {
		all = append(all, p.meaning(s.meaning()))
	}
	return all
}

// door returns what the door is built from, and what is to be called when custody
// did not keep what it was given.
func (s Serial) door(v vocabulary) (door serialin.Config, forget []func()) {
	door = serialin.Config{
		Port: s.port(), Framing: s.Framing.build(), Gap: time.Duration(s.Gap),
		Init: s.Init, Confirm: s.Confirm, AllowSend: s.AllowSend, MaxBacklog: int(s.Backlog),
	}
	device := cmp.Or(s.Device, s.Name)
	if s.Unasked == "decode" {
		t := v.target(s.meaning(), device, s.Metric)
		door.Target, forget = &t, append(forget, forgets(t)...)
	}
	for _, p := range s.Polls {
		t := v.target(p.meaning(s.meaning()), cmp.Or(p.Device, device), p.Metric)
		door.Polls = append(door.Polls, serialin.Poll{
			Request: p.Request, Expect: p.Expect,
			Interval: time.Duration(p.Interval), Timeout: time.Duration(p.Timeout), Target: &t,
		})
		forget = append(forget, forgets(t)...)
	}
	return door, forget
}

// forgets returns what is to be called when custody did not keep what it was given.
func forgets(t route.Target) []func() {
	if t.Refine == nil {
		return nil
	}
	return []func(){t.Refine.Forget}
}
