package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/ingest/modbusin"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/scalar"
)

// maxBuses bounds the buses, each of which has a goroutine.
const maxBuses = 256

// maxMap bounds the registers of a map, as package modbusin does those of a slave.
const maxMap = 10_000

// validateModbus checks the maps, and then the buses, which use them.
func (c Config) validateModbus(r refuse) {
	var known []string
	for i, m := range c.Modbus.Maps {
		key := fmt.Sprintf("modbus.map[%d]", i)
		r.named(key+".name", m.Name, known, `write for example "meter", and map = "meter" where it is used`)
		known = append(known, m.Name)
		m.validate(r, key)
	}
	if len(c.Ingest.Modbus) > maxBuses {
		r("ingest.modbus", "put slaves of one line on one bus", "%d buses are too many", len(c.Ingest.Modbus))
	}
	var names, addresses []string
	devices := make(map[string]string) // device and metric: the bus
	for i, m := range c.Ingest.Modbus {
		key := fmt.Sprintf("ingest.modbus[%d]", i)
		r.named(key+".name", m.Name, names, `write for example "hall"`)
		if kind, address, err := modbusin.ParseURL(m.URL); err == nil && kind != modbusin.RTU { // validateLines looks at ports
			address = strings.ToLower(address)
			if slices.Contains(addresses, address) {
				r(key+".url", "put all slaves on one bus", "%s is another bus already", address)
			}
			addresses = append(addresses, address)
		}
		names = append(names, m.Name)
		m.validate(r, key, c, known, devices)
	}
}

// named checks a name that must be there, and once.
func (r refuse) named(key, name string, taken []string, example string) {
	switch {
	case name == "":
		r(key, example, "is missing")
	case !isName(name):
		r(key, nameHint, "%q is no valid name", name)
	case slices.Contains(taken, name):
		r(key, "choose another name", "%q is taken", name)
	}
}

func (m ModbusMap) validate(r refuse, key string) {
	if _, ok := scalar.ParseOrder(m.Order); !ok {
		r.oneOf(key+".order", m.Order, "abcd", "cdab", "badc", "dcba")
	}
	between(r, key+".gap", m.Gap, 0, modbusin.MaxBits)
	between(r, key+".max_registers", m.MaxRegisters, 1, modbusin.MaxRegisters)
	between(r, key+".max_bits", m.MaxBits, 1, modbusin.MaxBits)
	for i, text := range m.NeverRead {
		if _, ok := parseSpan(text); !ok {
			r(fmt.Sprintf("%s.never_read[%d]", key, i), `write for example "holding 100-110"`, "%q is no run of addresses", text)
		}
	}
	if len(m.Registers) == 0 {
		r(key+".register", "add a [[modbus.map.register]]", "is missing")
	}
	if len(m.Registers) > maxMap {
		r(key+".register", "take out what nobody needs", "%d registers are too many: a map has at most %d", len(m.Registers), maxMap)
		return
	}
	metrics := make(map[string]bool)
	var placed []modbusin.Register
	for i, reg := range m.Registers {
		key := fmt.Sprintf("%s.register[%d]", key, i)
		switch {
		case reg.Metric == "":
			r(key+".metric", `write for example "voltage"`, "is missing")
		case metrics[reg.Metric]:
			r(key+".metric", "give each register a metric of its own", "%q is in this map already", reg.Metric)
		}
		metrics[reg.Metric] = true
		placed = reg.validate(r, key, m, placed)
	}
}

// validate checks a register against those before it, and returns all that are
// right.
func (m ModbusRegister) validate(r refuse, key string, kind ModbusMap, placed []modbusin.Register) []modbusin.Register {
	if m.Interval != nil {
		validInterval(r, key+".interval", *m.Interval)
	}
	reg, wrong := m.register(kind)
	if wrong != nil {
		r.because(key+"."+wrong.key, wrong.err)
		return placed
	}
	where := key + ".address"
	if m.Number != "" {
		where = key + ".number"
	}
	if n := int(reg.Last()) - int(reg.Address) + 1; !reg.Table.Bits() && n > kind.MaxRegisters {
		r(key+".type", "raise max_registers of the map", "it has %d registers, and %d are read at once", n, kind.MaxRegisters)
	}
	for _, text := range kind.NeverRead {
		if n, ok := parseSpan(text); ok && n.Table == reg.Table && n.First <= reg.Last() && n.Last >= reg.Address {
			r(where, "take one of the two out", "it is in never_read: %s", text)
		}
	}
	for _, other := range placed {
		if reg.Overlaps(other) && !reg.Shares(other) {
			r(where, "one of the two has the wrong address, or the wrong type; fields of one register have the type bits or bool",
				"%s %d to %d overlaps %s at %d to %d, which is of another form", reg.Table, reg.Address, reg.Last(), other.Metric, other.Address, other.Last())
			break
		}
	}
	return append(placed, reg)
}

func validInterval(r refuse, key string, d conf.Duration) {
	between(r, key, d, conf.Duration(10*time.Millisecond), conf.Duration(24*time.Hour))
}

func (m Modbus) validate(r refuse, key string, c Config, maps []string, devices map[string]string) {
	kind, ok := m.validateLine(r, key)
	if len(m.Slaves) == 0 {
		r(key+".slave", "add an [[ingest.modbus.slave]]", "is missing")
	}
	var units []int
	for i, s := range m.Slaves {
		slave := fmt.Sprintf("%s.slave[%d]", key, i)
		low, high := 1, 247
		if kind == modbusin.TCP {
			low, high = 0, 255
		}
		between(r, slave+".unit", s.Unit, low, high)
		if slices.Contains(units, s.Unit) {
			r(slave+".unit", "give each device on a bus an address of its own", "%d is on this bus already", s.Unit)
		}
		units = append(units, s.Unit)
		s.validate(r, slave, c, maps)
		s.validateMetrics(r, slave, c.Modbus.Maps, devices)
	}
	if ok {
		m.validateLoad(r, key, c)
	}
}

// validateLine checks how the bus is reached.
func (m Modbus) validateLine(r refuse, key string) (kind modbusin.Kind, ok bool) {
	kind, _, err := modbusin.ParseURL(m.URL)
	if err != nil {
		r.because(key+".url", err)
		return modbusin.TCP, false
	}
	between(r, key+".data_bits", m.DataBits, 8, 8) // RTU frames are bytes
	line := m.line()
	line.Port = cmp.Or(line.Port, "/dev/null")
	line.validatePort(r, key)
	if m.FrameGap != nil {
		between(r, key+".frame_gap", *m.FrameGap, conf.Duration(time.Microsecond), conf.Duration(time.Second))
	}
	between(r, key+".pipeline", m.Pipeline, 1, modbusin.MaxPipeline)
	if kind != modbusin.TCP && m.Pipeline > 1 {
		r(key+".pipeline", "write 1: answers on a serial line cannot be told apart", "%d needs Modbus TCP", m.Pipeline)
	}
	return kind, line.port().Check() == nil
}

func (s ModbusSlave) validate(r refuse, key string, c Config, maps []string) {
	if s.Device == "" {
		r(key+".device", `write for example "meter-1"`, "is missing")
	}
	if !slices.Contains(maps, s.Map) {
		hint := "add a [[modbus.map]]"
		if len(maps) > 0 {
			hint = conf.Suggest(s.Map, maps)
		}
		r(key+".map", hint, "%q is the name of no [[modbus.map]]", s.Map)
	}
	validInterval(r, key+".interval", s.Interval)
	between(r, key+".timeout", s.Timeout, conf.Duration(10*time.Millisecond), conf.Duration(time.Minute))
	between(r, key+".probe", s.Probe, conf.Duration(time.Second), conf.Duration(24*time.Hour))
	between(r, key+".retries", s.Retries, 0, 10)
	s.meaning().validate(r, key, c.words())
}

// validateMetrics refuses a series that two slaves would write.
func (s ModbusSlave) validateMetrics(r refuse, key string, maps []ModbusMap, devices map[string]string) {
	i := slices.IndexFunc(maps, func(m ModbusMap) bool { return m.Name == s.Map })
	if i < 0 || s.Device == "" {
		return
	}
	var metrics []string
	for _, reg := range maps[i].Registers {
		metrics = append(metrics, reg.Metric)
	}
	switch {
	case s.StatusMetric == "":
	case slices.Contains(metrics, s.StatusMetric):
		r(key+".status_metric", "choose another name", "%q is a metric of the map", s.StatusMetric)
	default:
		metrics = append(metrics, s.StatusMetric)
	}
	for _, metric := range metrics {
		series := s.Device + "\x00" + metric
		if other, taken := devices[series]; taken {
			r(key+".device", "give each slave a device of its own, or other metrics", "%q has the metric %q already, from %s", s.Device, metric, other)
			return
		}
		devices[series] = key
	}
}

// validateLoad refuses what no line of that speed can carry.
func (m Modbus) validateLoad(r refuse, key string, c Config) {
	load, known := m.bus(c.Modbus.Maps, vocabulary{}).Load()
	if known && load.Wire > 1 {
		r(key+".baud", "raise intervals, put registers closer together, or raise the speed",
			"%d baud are too slow: the polls would take %.0f %% of the time", m.Baud, 100*load.Wire)
	}
}
