package daemon

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/dashboard"
)

// meters serves Modbus TCP until the test ends: unit 1 counts its polls in
// register 0, unit 2 has no power.
func meters(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var polls uint16
	serve := func(conn net.Conn) {
		defer conn.Close()
		for {
			var q [12]byte
			if _, err := io.ReadFull(conn, q[:]); err != nil {
				return
			}
			if q[6] != 1 {
				continue
			}
			polls++
			answer := append(q[:4:4], 0, 5, 1, 3, 2)
			if _, err := conn.Write(binary.BigEndian.AppendUint16(answer, polls)); err != nil {
				return
			}
		}
	}
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn) // one master at a time, as many devices do
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String()
}

// TestModbusReadingsReachTheCloud goes from a register to the cloud, with a slave
// that is dead and a gateway that is killed.
func TestModbusReadingsReachTheCloud(t *testing.T) {
	s := newSite(t)
	s.more = fmt.Sprintf(`
[[modbus.map]]
name = "meter"
[[modbus.map.register]]
metric = "polls"
unit = "1"
address = 0
[[ingest.modbus]]
name = "hall"
url = "tcp://%s"
[[ingest.modbus.slave]]
device = "meter-1"
map = "meter"
interval = "20ms"
status_metric = "up"
[[ingest.modbus.slave]]
unit = 2
device = "meter-2"
map = "meter"
timeout = "10ms"
status_metric = "up"
`, meters(t))
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	s.startCloud()
	for life := range 2 {
		gateway := s.startGateway()
		s.eventuallyStatus("one slave is up and one is down", func(st dashboard.Status) bool {
			if len(st.Doors) != 2 || len(st.Doors[1].Slaves) != 2 {
				return false
			}
			d := st.Doors[1]
			return d.Name == "modbus:hall" && d.Clients == 1 && d.Slaves[0].State == dashboard.LinkUp && d.Slaves[0].Polls > 20 &&
				d.Slaves[1].State == dashboard.LinkDown && strings.Contains(strings.Join(st.Problems, "\n"), "no answer from meter-2 (unit 2)")
		})
		// What was polled and is not on flash yet goes with the kill.
		s.eventually("20 polls more are in the cloud", func() bool { return len(s.exported("meter-1", "polls")) >= 20*(life+1) })
		gateway.kill()
	}
	last := s.startGateway()
	s.eventuallyForwards()
	last.stop()
	polls, before, ups := 0, "", make(map[string]string)
	for _, r := range s.export("") {
		switch r.Metric {
		case "polls":
			if string(r.Value) == before {
				t.Errorf("poll %s arrived twice", before)
			}
			before = string(r.Value)
			polls++
		case "up":
			ups[r.Device] = string(r.Value)
		}
	}
	if polls < 40 || ups["meter-1"] != "true" || ups["meter-2"] != "false" {
		t.Errorf("%d polls, %v", polls, ups)
	}
}
