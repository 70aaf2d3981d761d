package daemon

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/ingest/modbusin"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/scalar"
)

// ModbusMaps is [modbus]: what kinds of Modbus devices there are.
type ModbusMaps struct {
	Maps []ModbusMap `toml:"map"`
}

// ModbusMap is [[modbus.map]]: the registers of a kind of device. Ten meters of
// one kind are ten slaves with one map.
type ModbusMap struct {
	Name string `toml:"name"`
	// Order is that of the bytes in numbers of more than one register, for those
	// registers that say nothing.
	Order string `toml:"order"`
	// Gap is how many registers that are not in the map may be read with those
	// around them.
	Gap int `toml:"gap"`
	// MaxRegisters and MaxBits bound one request.
	MaxRegisters int `toml:"max_registers"`
	MaxBits      int `toml:"max_bits"`
	// NeverRead are addresses that no request may cover: "holding 100-110".
	NeverRead []string         `toml:"never_read"`
	Registers []ModbusRegister `toml:"register"`
}

// SetDefaults makes m what an empty [[modbus.map]] would be.
func (m *ModbusMap) SetDefaults() {
	*m = ModbusMap{Order: "abcd", MaxRegisters: modbusin.MaxRegisters, MaxBits: modbusin.MaxBits}
}

// ModbusRegister is [[modbus.map.register]]: one metric.
type ModbusRegister struct {
	Metric string `toml:"metric"`
	Unit   string `toml:"unit"`
	// Table and Address say where it is, Address counting from 0; or Number
	// does, as in "40001".
	Table   string `toml:"table"`
	Address *int   `toml:"address"`
	Number  string `toml:"number"`
	// Type, Order, Words, Bit and Width say what its bits mean; see
	// modbusin.Format.
	Type  string `toml:"type"`
	Order string `toml:"order"`
	Words int    `toml:"words"`
	Bit   *int   `toml:"bit"`
	Width int    `toml:"width"`
	// Scale multiplies, Offset is added after that.
	Scale  float64 `toml:"scale"`
	Offset float64 `toml:"offset"`
	// Missing are values that mean "no value".
	Missing []string `toml:"missing"`
	// Enum gives texts to numbers: "1=heating".
	Enum []string `toml:"enum"`
	// Interval is how often it is read, if not as often as the slave says.
	Interval *conf.Duration `toml:"interval"`
}

// SetDefaults makes m what an empty [[modbus.map.register]] would be.
func (m *ModbusRegister) SetDefaults() {
	*m = ModbusRegister{Table: "holding", Width: 1, Scale: 1}
}

// Modbus is [[ingest.modbus]]: a bus, and who is on it.
type Modbus struct {
	// Name names the bus, modbus:NAME.
	Name string `toml:"name"`
	// URL says where it is; see modbusin.ParseURL.
	URL string `toml:"url"`
	// Baud, DataBits, Parity and StopBits are those of the serial line.
	Baud     int    `toml:"baud"`
	DataBits int    `toml:"data_bits"`
	Parity   string `toml:"parity"`
	StopBits int    `toml:"stop_bits"`
	// RS485 is as that of [[ingest.serial]].
	RS485 RS485 `toml:"rs485"`
	// FrameGap is the silence before a frame, if not 3.5 characters.
	FrameGap *conf.Duration `toml:"frame_gap"`
	// Pipeline is how many requests may be under way at once over TCP.
	Pipeline int           `toml:"pipeline"`
	Slaves   []ModbusSlave `toml:"slave"`
}

// SetDefaults makes m what an empty [[ingest.modbus]] would be.
func (m *Modbus) SetDefaults() {
	*m = Modbus{Baud: 9600, DataBits: 8, Parity: "none", StopBits: 1, Pipeline: 1}
}

// ModbusSlave is [[ingest.modbus.slave]]: a device on a bus.
type ModbusSlave struct {
	Unit   int    `toml:"unit"`
	Device string `toml:"device"`
	// Map is the name of a [[modbus.map]].
	Map string `toml:"map"`
	// Interval is how often registers are read that say nothing else.
	Interval conf.Duration `toml:"interval"`
	Timeout  conf.Duration `toml:"timeout"`
	Retries  int           `toml:"retries"`
	// Probe is how often it is asked while it does not answer.
	Probe conf.Duration `toml:"probe"`
	// StatusMetric is the metric that tells whether it answers; empty for none.
	StatusMetric string `toml:"status_metric"`
	Lane         string `toml:"lane"`
	// Refine names [[refine]] tables.
	Refine []string `toml:"refine"`
}

// SetDefaults makes s what an empty [[ingest.modbus.slave]] would be.
func (s *ModbusSlave) SetDefaults() {
	*s = ModbusSlave{
		Unit: 1, Interval: conf.Duration(10 * time.Second), Timeout: conf.Duration(time.Second), Retries: 2,
		Probe: conf.Duration(30 * time.Second), Lane: "normal",
	}
}

// meaning is what the table says of its readings. There are no payloads, hence
// nothing to decode or to keep.
func (s ModbusSlave) meaning() meaning {
	return meaning{decode: "json", lane: s.Lane, undecodable: "keep", refine: s.Refine}
}

// line returns the serial line, at a port if there is one on this machine.
func (m Modbus) line() Serial {
	kind, port, err := modbusin.ParseURL(m.URL)
	if err != nil || kind != modbusin.RTU {
		port = ""
	}
	return Serial{
		Port: port, Baud: m.Baud, DataBits: m.DataBits, Parity: m.Parity, StopBits: m.StopBits, FlowControl: "none", RS485: m.RS485,
	}
}

func (m Modbus) doorName() string { return "modbus:" + m.Name }

// bus is the door's configuration. All of m must be valid.
func (m Modbus) bus(maps []ModbusMap, v vocabulary) modbusin.Config {
	cfg := modbusin.Config{URL: m.URL, Serial: m.line().port(), Pipeline: m.Pipeline}
	if m.FrameGap != nil {
		cfg.FrameGap = time.Duration(*m.FrameGap)
	}
	shared := make(map[string][]modbusin.Register)
	for _, s := range m.Slaves {
		for _, kind := range maps {
			if kind.Name != s.Map {
				continue
			}
			if shared[s.Map] == nil {
				shared[s.Map] = kind.registers()
			}
			cfg.Slaves = append(cfg.Slaves, s.slave(kind, shared[s.Map], v))
		}
	}
	return cfg
}

func (m ModbusMap) registers() (all []modbusin.Register) {
	for _, reg := range m.Registers {
		if r, err := reg.register(m); err == nil {
			all = append(all, r)
		}
	}
	return all
}

func (s ModbusSlave) slave(kind ModbusMap, registers []modbusin.Register, v vocabulary) modbusin.Slave {
	target := v.target(s.meaning(), s.Device, "")
	slave := modbusin.Slave{
		Unit: byte(s.Unit), Device: s.Device, Lane: target.Lane, Refine: target.Refine, Status: s.StatusMetric,
		Every: time.Duration(s.Interval), Timeout: time.Duration(s.Timeout), Retries: s.Retries, Probe: time.Duration(s.Probe),
		Gap: kind.Gap, MaxRegisters: kind.MaxRegisters, MaxBits: kind.MaxBits, Registers: registers,
	}
	for _, text := range kind.NeverRead {
		if span, ok := parseSpan(text); ok {
			slave.NeverRead = append(slave.NeverRead, span)
		}
	}
	return slave
}

// parseSpan reads "holding 100-110" or "coil 7".
func parseSpan(text string) (span modbusin.Span, ok bool) {
	name, addresses, _ := strings.Cut(text, " ")
	low, high, between := strings.Cut(addresses, "-")
	if !between {
		high = low
	}
	table, known := modbusin.ParseTable(name)
	first, err1 := strconv.ParseUint(low, 10, 16)
	last, err2 := strconv.ParseUint(high, 10, 16)
	return modbusin.Span{Table: table, First: uint16(first), Last: uint16(last)}, known && err1 == nil && err2 == nil && first <= last
}

// keyError is what is wrong with one key of a table.
type keyError struct {
	key string
	err error
}

// register returns the door's idea of a register, or what is wrong with it.
func (m ModbusRegister) register(kind ModbusMap) (modbusin.Register, *keyError) {
	r := modbusin.Register{Metric: m.Metric, Unit: m.Unit}
	if m.Interval != nil {
		r.Every = time.Duration(*m.Interval)
	}
	if wrong := m.place(&r); wrong != nil {
		return r, wrong
	}
	order, ok := scalar.ParseOrder(cmp.Or(m.Order, kind.Order))
	if !ok && m.Order != "" {
		return r, &keyError{"order", fmt.Errorf("%q is no order of bytes — hint: abcd, cdab, badc or dcba", m.Order)}
	}
	r.Format = modbusin.Format{
		Type: m.Type, Order: order, Words: m.Words, Scale: m.Scale, Offset: m.Offset, Missing: m.Missing,
	}
	switch m.Scale {
	case 0:
		return r, &keyError{"scale", fmt.Errorf("0 makes every value the same — hint: write for example 0.1")}
	case 1:
		r.Format.Scale = 0 // which is the same, and nothing for texts and truths to complain about
	}
	if wrong := m.bits(&r.Format); wrong != nil {
		return r, wrong
	}
	for _, text := range m.Enum {
		number, name, ok := strings.Cut(text, "=")
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		name = strings.TrimSpace(name)
		if !ok || err != nil || name == "" {
			return r, &keyError{"enum", fmt.Errorf(`%q gives no text to a number — hint: write for example "1=heating"`, text)}
		}
		if r.Format.Enum == nil {
			r.Format.Enum = make(map[int64]string)
		}
		if before, taken := r.Format.Enum[n]; taken {
			return r, &keyError{"enum", fmt.Errorf("%d is %q and %q — hint: give each number one text", n, before, name)}
		}
		r.Format.Enum[n] = name
	}
	if err := r.Check(); err != nil {
		return r, &keyError{"type", err}
	}
	return r, nil
}

// place fills in where the register is.
func (m ModbusRegister) place(r *modbusin.Register) *keyError {
	var err error
	switch {
	case m.Number != "" && m.Address != nil:
		return &keyError{"number", fmt.Errorf("stands beside address — hint: write one of the two; they may differ by one")}
	case m.Number != "":
		if r.Table, r.Address, err = modbusin.ParseNumber(m.Number); err != nil {
			return &keyError{"number", err}
		}
		if m.Table != "holding" && m.Table != r.Table.String() { // which is the default
			return &keyError{"table", fmt.Errorf("%q stands beside number %s, which is in the table %s — hint: leave table out", m.Table, m.Number, r.Table)}
		}
		return nil
	case m.Address == nil:
		return &keyError{"address", fmt.Errorf(`is missing — hint: write table and address, counted from 0, or number = "40001"`)}
	case *m.Address < 0 || *m.Address > 0xffff:
		return &keyError{"address", fmt.Errorf(`%d is not within 0 to 65535 — hint: a number like 400001 out of a manual is written number = "400001"`, *m.Address)}
	}
	table, ok := modbusin.ParseTable(m.Table)
	if !ok {
		return &keyError{"table", fmt.Errorf("%q is no table — hint: coil, discrete, input or holding", m.Table)}
	}
	r.Table, r.Address = table, uint16(*m.Address)
	return nil
}

// bits fills in which bits are meant.
func (m ModbusRegister) bits(f *modbusin.Format) *keyError {
	switch {
	case m.Bit == nil && m.Type == "bits":
		return &keyError{"bit", fmt.Errorf("is missing — hint: the lowest bit of the field, 0 being the least significant; its width is width")}
	case m.Bit == nil && m.Width != 1:
		return &keyError{"width", fmt.Errorf("stands without bit — hint: bit is the lowest bit of the field")}
	case m.Bit != nil:
		f.Bit, f.Width = *m.Bit, m.Width
	}
	return nil
}

// meanings are those of all slaves.
func (m Modbus) meanings() (all []meaning) {
	for _, s := range m.Slaves {
		all = append(all, s.meaning())
	}
	return all
}
