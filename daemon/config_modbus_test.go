package daemon

import (
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/ingest/modbusin"
	"github.com/tidegate/tidegate/internal/scalar"
	"github.com/tidegate/tidegate/internal/serialport"
	"github.com/tidegate/tidegate/reading"
)

// checkModbusExample compares the example's tables with their defaults.
func checkModbusExample(t *testing.T, c Config) {
	t.Helper()
	var kind ModbusMap
	kind.SetDefaults()
	kind.Name = "meter"
	var register ModbusRegister
	register.SetDefaults()
	address := 0
	register.Metric, register.Unit, register.Address = "voltage", "V", &address
	kind.Registers = []ModbusRegister{register}
	var bus Modbus
	bus.SetDefaults()
	bus.Name, bus.URL = "hall", "tcp://192.0.2.7:502"
	var slave ModbusSlave
	slave.SetDefaults()
	slave.Device, slave.Map = "meter-1", "meter"
	bus.Slaves = []ModbusSlave{slave}
	if want := []ModbusMap{kind}; !reflect.DeepEqual(c.Modbus.Maps, want) {
		t.Errorf("map: %+v, want %+v", c.Modbus.Maps, want)
	}
	if want := []Modbus{bus}; !reflect.DeepEqual(c.Ingest.Modbus, want) {
		t.Errorf("modbus: %+v, want %+v", c.Ingest.Modbus, want)
	}
}

// TestABusIsBuiltAsItsTablesSay goes from text to what the door is given.
func TestABusIsBuiltAsItsTablesSay(t *testing.T) {
	c, err := Load("testdata/config/modbus.good.toml")
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	cfg := c.Ingest.Modbus[0].bus(c.Modbus.Maps, v)
	if _, err := modbusin.New(cfg, nil); err != nil {
		t.Error(err)
	}
	if &cfg.Slaves[0].Registers[0] != &cfg.Slaves[1].Registers[0] {
		t.Error("slaves of one map have registers of their own")
	}
	if len(cfg.Slaves) != 2 || cfg.FrameGap != 5*time.Millisecond || cfg.Serial.Baud != 19200 || cfg.Serial.String() != "19200 8E1" {
		t.Errorf("%+v", cfg)
	}
	got := cfg.Slaves[1]
	registers := got.Registers
	got.Registers = nil
	if got.Refine == nil || cfg.Slaves[0].Refine != nil {
		t.Errorf("refined by %v and %v", cfg.Slaves[0].Refine, got.Refine)
	}
	got.Refine = nil
	if want := (modbusin.Slave{
		Unit: 2, Device: "meter-2", Lane: reading.Alarm, Status: "up", Every: 5 * time.Second, Timeout: 300 * time.Millisecond,
		Retries: 1, Probe: time.Minute, Gap: 8, MaxRegisters: 60, MaxBits: 2000,
		NeverRead: []modbusin.Span{{Table: modbusin.Holding, First: 100, Last: 110}, {Table: modbusin.Coil, First: 7, Last: 7}},
	}); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	want := []modbusin.Register{
		{Metric: "power", Unit: "W", Table: modbusin.Input, Address: 12, Format: modbusin.Format{Type: "f32", Order: scalar.MidLittle}},
		{Metric: "energy", Unit: "kWh", Table: modbusin.Holding, Address: 0, Every: time.Minute, Format: modbusin.Format{Type: "u32", Scale: 0.01, Offset: -5, Missing: []string{"0xFFFFFFFF"}}},
		{Metric: "mode", Table: modbusin.Holding, Address: 4, Format: modbusin.Format{Type: "bits", Order: scalar.MidLittle, Bit: 4, Width: 3, Enum: map[int64]string{0: "off", 1: "on = full"}}},
		{Metric: "alarm", Table: modbusin.Holding, Address: 4, Format: modbusin.Format{Type: "bool", Order: scalar.MidLittle, Bit: 15, Width: 1}},
		{Metric: "serial", Table: modbusin.Holding, Address: 20, Format: modbusin.Format{Type: "string", Order: scalar.MidLittle, Words: 8}},
		{Metric: "relay", Table: modbusin.Coil, Address: 3, Format: modbusin.Format{Order: scalar.MidLittle}},
	}
	if !reflect.DeepEqual(registers, want) {
		t.Errorf("got  %+v\nwant %+v", registers, want)
	}
}

func TestCheckTellsPlanAndLoad(t *testing.T) {
	c, err := Load("testdata/config/modbus.good.toml")
	if err != nil {
		t.Fatal(err)
	}
	k := &checklist{}
	k.modbus(t.Context(), c)
	k.serial(c.lines(), "", serialport.Host{})
	if len(k.findings) != 7 {
		t.Fatalf("%+v", k.findings)
	}
	expect(t, k.findings[6], Warn, "ingest.modbus[0].url", "/dev/serial/by-id/usb-none-here", "no such device")
	expect(t, k.findings[0], OK, "every 5s, 8 requests for 10 registers of 2 slaves")
	expect(t, k.findings[1], OK, "every 1m0s, 2 requests for 2 registers of 2 slaves")
	expect(t, k.findings[2], OK, "busy ", " at 19200 baud")
	expect(t, k.findings[3], Warn, "plc", "127.0.0.1:1 is out of reach")
	expect(t, k.findings[4], OK, "every 10s, 4 requests for 5 registers of 1 slave")
}

func TestCheckWarnsOfABusyLine(t *testing.T) {
	c, err := Parse("busy", []byte(`
[[modbus.map]]
name = "m"
[[modbus.map.register]]
metric = "a"
address = 0
[[ingest.modbus]]
name = "slow"
url = "rtu:/dev/ttyS0"
baud = 1200
[[ingest.modbus.slave]]
device = "d"
map = "m"
interval = "260ms"
`))
	if err != nil {
		t.Fatal(err)
	}
	k := &checklist{}
	k.load(c.Ingest.Modbus[0], c.Ingest.Modbus[0].bus(c.Modbus.Maps, vocabulary{}))
	expect(t, only(t, k), Warn, "the line will be busy 74 %", "raise intervals")
}

// TestTheExampleOfTheDocsIsPlannedAsItSays keeps the figures of the page true.
func TestTheExampleOfTheDocsIsPlannedAsItSays(t *testing.T) {
	page, err := os.ReadFile("../docs/connect/modbus.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "```toml\n")
	example, prose, _ := strings.Cut(after, "```")
	c, err := Parse("example", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	k := &checklist{}
	bus := c.Ingest.Modbus[0].bus(c.Modbus.Maps, vocabulary{})
	k.plans("meters", bus)
	k.load(c.Ingest.Modbus[0], bus)
	said := strings.Join(strings.Fields(prose), " ")
	for _, f := range k.findings {
		if _, what, _ := strings.Cut(f.What, ": "); !strings.Contains(said, what) {
			t.Errorf("the page does not say %q", what)
		}
	}
}

func TestStatusTellsOfSlaves(t *testing.T) {
	s := dashboard.Status{Now: 90_000, Doors: []dashboard.Door{{Name: "modbus:hall", State: dashboard.OK, Slaves: []dashboard.Slave{
		{Unit: 1, Device: "meter-1", State: dashboard.LinkUp, LastAnswer: 87_000, Polls: 7},
		{Unit: 2, Device: "meter-2", State: dashboard.LinkDown, Polls: 3, Skipped: 1, Failed: 4, BadRegisters: 2,
			Errors: map[string]uint64{"no answer": 12, "device busy": 1}},
	}}}}
	var out strings.Builder
	if err := writeStatus(&out, s); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"modbus:hall: unit 1, meter-1, is up, last answer 3s ago: 7 polls\n",
		"modbus:hall: unit 2, meter-2, is down, last answer never: 3 polls, 1 skipped for want of time, 4 requests failed, 2 registers left out (the log says which), 1 × device busy, 12 × no answer\n",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is not in\n%s", line, out.String())
		}
	}
	many := s.Doors[0]
	for range 5 {
		many.Slaves = append(many.Slaves, many.Slaves[1])
	}
	if got := silentSlaves([]dashboard.Door{s.Doors[0], many}); len(got) != 2 ||
		!strings.HasPrefix(got[0], "modbus:hall: no answer from meter-2 (unit 2) — hint: ") || !strings.HasPrefix(got[1], "modbus:hall: no answer from 6 of 7 slaves — hint: ") {
		t.Errorf("%q", got)
	}
	many.State = "dial tcp 192.0.2.7:502: connection refused — hint: check the address"
	if got := silentSlaves([]dashboard.Door{many}); len(got) != 1 || got[0] != "modbus:hall: "+many.State {
		t.Errorf("of a bus that cannot be reached: %q", got)
	}
}

// TestABusThatCannotBeReachedSaysWhy instead of blaming slaves that nobody could ask.
func TestABusThatCannotBeReachedSaysWhy(t *testing.T) {
	c, err := Load("testdata/config/modbus.good.toml")
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	cfg := c.Ingest.Modbus[1].bus(c.Modbus.Maps, v) // where nobody listens
	bus, err := modbusin.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Run(t.Context(), ingest.NewIntake(ingesttest.NewCustody(), nil, time.Now)); err == nil {
		t.Fatal("it could be reached")
	}
	s := dashboard.Door{Name: "modbus:plc", State: dashboard.OK}
	modbusStatus(&s, bus)
	got := strings.Join(silentSlaves([]dashboard.Door{s}), "\n")
	if !strings.HasPrefix(got, "modbus:plc: ") || !strings.Contains(got, "127.0.0.1:1") || !strings.Contains(got, "refused — hint: ") || strings.Contains(got, "power") {
		t.Error(got)
	}
}
