package daemon

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
	"github.com/tidegate/tidegate/internal/base/porttest"
)

// crowd is simulated devices of every kind, with one ledger.
type crowd struct {
	*site
	ledger  *firmwaresim.Ledger
	senders map[string]*firmwaresim.Sender // those that are acknowledged
	noisy   *firmwaresim.SerialDevice      // nobody confirms what it sends
	sure    *firmwaresim.SerialDevice
	slaves  *firmwaresim.ModbusSlaves
	stops   []func()
}

// everyDoorConfig wants the addresses of HTTP, CoAP and lines, two serial ports,
// and the address of the slaves.
const everyDoorConfig = `
[ingest.http]
listen = %q
[[ingest.http.route]]
topic = "site/{site}/dev/{device}/telemetry"
[ingest.coap]
listen = %q
[[ingest.coap.route]]
topic = "site/{site}/dev/{device}/telemetry"
[[decoder.json]]
name = "named"
device_keys = ["dev"]
[[decoder.binary]]
name = "record"
order = "little"
fields = [
  { name = "seq", type = "u32" }, { type = "u64", time = "ms" }, { name = "temp", type = "i16", scale = 0.01 },
  { name = "hum", type = "u16", scale = 0.1 }, { name = "bat", type = "u16", scale = 0.01 },
  { name = "rssi", type = "i16" }, { name = "lux", type = "u16" },
]
[[ingest.line]]
name = "lines"
listen = %q
reply = 'OK\n'
decode = "named"
[[ingest.serial]]
name = "noisy"
port = %q
baud = 921600
device = "noisy-0"
decode = "record"
undecodable = "drop"
framing = { kind = "slip", checksum = "crc16-ccitt" }
[[ingest.serial]]
name = "sure"
port = %q
baud = 921600
device = "sure-0"
confirm = '{frame} OK\n'
[[modbus.map]]
name = "slave"
[[modbus.map.register]]
metric = "seq"
type = "u32"
address = 0
[[ingest.modbus]]
name = "bus"
url = "tcp://%s"
[[ingest.modbus.slave]]
unit = 1
device = "mb-0001"
map = "slave"
interval = "20ms"
`

// everyDoor is a gateway on which every door is open, and the devices before it,
// each with the faults that its line allows.
func everyDoor(t *testing.T) *crowd {
	s := newSite(t)
	http, coap, lines, bus := porttest.For(t), porttest.For(t), porttest.For(t), porttest.For(t)
	noisy, sure := filepath.Join(s.dir, "noisy"), filepath.Join(s.dir, "sure")
	s.more = fmt.Sprintf(everyDoorConfig, http, coap, lines, noisy, sure, bus)
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	c := &crowd{site: s, ledger: firmwaresim.NewLedger(), senders: map[string]*firmwaresim.Sender{}}
	c.send("http", firmwaresim.SenderConfig{URL: "http://" + http, Prefix: "http-", Devices: 4, Rate: 100, Timeout: time.Second})
	c.send("coap", firmwaresim.SenderConfig{URL: "coap://" + coap, Prefix: "coap-", Devices: 4, Rate: 100, Forgiving: true, AckTimeout: 300 * time.Millisecond})
	c.send("lines", firmwaresim.SenderConfig{URL: "tcp://" + lines, Prefix: "line-", Devices: 4, Rate: 100, Window: 10, Reply: "OK\n", Named: true, Timeout: time.Second})
	faults, err := firmwaresim.ParseFaults("noise 5%, corrupt 5%, drop 1%, split, merge 10%")
	if err != nil {
		t.Fatal(err)
	}
	c.noisy = c.plug(firmwaresim.SerialConfig{Link: noisy, Name: "noisy-0", Encoding: firmwaresim.SLIP, Rate: 200, Faults: faults})
	c.sure = c.plug(firmwaresim.SerialConfig{Link: sure, Name: "sure-0", Confirm: "{frame} OK\n", Timeout: 500 * time.Millisecond})
	slaves, err := firmwaresim.OpenModbusSlaves(firmwaresim.ModbusConfig{Listen: bus}, c.ledger)
	if err != nil {
		t.Fatal(err)
	}
	c.slaves = slaves
	c.run(slaves.Run)
	return c
}

// plug puts a device at a serial line.
func (c *crowd) plug(cfg firmwaresim.SerialConfig) *firmwaresim.SerialDevice {
	c.Helper()
	cfg.Baud = 921_600
	device, err := firmwaresim.OpenSerialDevice(cfg, c.ledger)
	if err != nil {
		c.Fatal(err)
	}
	c.run(device.Run)
	return device
}

// eventuallyMore waits until every door has taken more: of those that
// acknowledge, n messages.
func (c *crowd) eventuallyMore(n uint64) {
	c.Helper()
	for door, sender := range c.senders {
		want := sender.Stats().Acked + n
		c.eventually(door+" is acknowledged", func() bool { return sender.Stats().Acked >= want })
	}
	want := c.sure.Stats().Acked + n
	c.eventually("frames are confirmed", func() bool { return c.sure.Stats().Acked >= want })
	c.eventuallyStatus("lines without confirmation bring readings", func(st dashboard.Status) bool {
		taken := 0
		for _, d := range st.Doors {
			if (d.Name == "serial:noisy" || d.Name == "modbus:bus") && d.Readings >= n {
				taken++
			}
		}
		return taken == 2
	})
}

// TestEveryDoorAtOnceSurvivesKills opens every door, puts devices before them whose
// lines are as bad as lines are, and kills the gateway again and again: what a
// device was told is on flash is in the cloud, and nothing is there that no device
// has sent.
func TestEveryDoorAtOnceSurvivesKills(t *testing.T) {
	c := everyDoor(t)
	c.startCloud()
	gateway := c.startGateway()
	fleet := c.startFleet(firmwaresim.FleetConfig{Devices: 10, Rate: 50, QoS: 1}, c.ledger)
	for range 4 {
		fleet.eventuallyAcked(50)
		c.eventuallyMore(20)
		gateway.kill()
		gateway = c.startGateway()
	}
	fleet.eventuallyAcked(50)
	c.eventuallyMore(20)
	fleet.stop()
	for _, stop := range c.stops {
		stop()
	}
	c.eventuallyDelivered()
	if v := c.audit(c.ledger); v.Unclaimed == 0 {
		t.Errorf("nothing came from the lines without confirmation: %+v", v)
	}
	if got := c.noisy.Stats().Faults; got.Corrupted == 0 || got.Noisy == 0 {
		t.Errorf("the noisy line was not noisy: %+v", got)
	}
	gateway.stop()
}

// send runs devices that are acknowledged until stop.
func (c *crowd) send(door string, cfg firmwaresim.SenderConfig) {
	c.Helper()
	sender, err := firmwaresim.NewSender(cfg, c.ledger)
	if err != nil {
		c.Fatal(err)
	}
	c.senders[door] = sender
	c.run(sender.Run)
}

// run runs a device until stop, or the end of the test.
func (c *crowd) run(device func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- device(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			c.Errorf("device: %v", err)
		}
	}
	c.stops = append(c.stops, stop)
	c.Cleanup(stop)
}
