package daemon

import (
	"maps"
	"os/exec"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/dashboard"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
	"github.com/tidegate/tidegate/internal/conf"
)

// More clients than there are file descriptors for: those who find room are
// served, and so is everything else that the gateway does.
func TestClientsLeaveFileDescriptorsToTheRest(t *testing.T) {
	prlimit, err := exec.LookPath("prlimit")
	if err != nil {
		t.Skip("no prlimit: apt-get install util-linux")
	}
	const room, devices = 20, 60 // and 8 for the page, 64 for the rest
	s := newSite(t)
	s.start(prlimit, "--nofile=92:92", "tidegate", "run", "-config", s.configFile())
	s.eventually("the broker listens", func() bool { return listens(s.mqtt) })
	ledger := firmwaresim.NewLedger()
	fleet := s.startFleet(firmwaresim.FleetConfig{Devices: devices, Rate: 5, QoS: 1}, ledger)
	s.eventuallyStatus("there are as many as there may be, and the others are turned away", func(st dashboard.Status) bool {
		return st.Doors[0].Clients == room && st.Doors[0].TurnedAway > devices-room
	})
	fleet.eventuallyAcked(5 * room)
	s.startCloud()
	fleet.eventuallyAcked(5 * room)
	fleet.stop()
	s.eventuallyDelivered()
	s.audit(ledger)
	if !strings.Contains(s.said(), "LimitNOFILE") {
		t.Error("nobody was told")
	}
}

func TestCheckWarnsOfMoreClientsThanFit(t *testing.T) {
	c := Default()
	c.Ingest.MQTT.MaxClients = 1 << 30
	var k checklist
	k.clients(c)
	if len(k.findings) != 2 {
		t.Errorf("got %+v", k.findings)
	}
	c.Ingest.MQTT.MaxClients, c.Gateway.Memory = 2000, 64*conf.MiB
	k = checklist{}
	k.clients(c)
	if len(k.findings) != 0 {
		t.Errorf("got %+v", k.findings)
	}
}

// Whatever doors there are, their clients leave the same number of descriptors to
// the rest, and none of them has to do without.
func TestTheDoorsShareTheFileDescriptors(t *testing.T) {
	for _, tt := range []struct {
		mqtt, http, line string
		descriptors      int
		want             map[string]int
	}{
		{":1", ":2", "", 20_000, map[string]int{"mqtt": 1024, "http": 512}},
		{":1", "", "", 84, map[string]int{"mqtt": 20}},
		{"", ":2", "", 84, map[string]int{"http": 20}},
		{":1", ":2", "", 64 + 30, map[string]int{"mqtt": 20, "http": 10}},
		{":1", ":2", ":3", 64 + 50, map[string]int{"mqtt": 20, "http": 10, "line:a": 20}},
		{":1", ":2", "", 64 + 1536, map[string]int{"mqtt": 1024, "http": 512}},
		{":1", ":2", "", 10, map[string]int{"mqtt": 1, "http": 1}},
	} {
		c := Default()
		c.Dashboard.Listen = ""
		c.Ingest.MQTT.Listen, c.Ingest.HTTP.Listen = tt.mqtt, tt.http
		if tt.line != "" {
			c.Ingest.Line = []Line{{Name: "a", Transport: "tcp", Listen: tt.line, MaxClients: 1024}, {Name: "b", Transport: "udp", Listen: ":4", MaxClients: 9}}
		}
		if got := c.clientsWithin(tt.descriptors); !maps.Equal(got, tt.want) {
			t.Errorf("%+v: %v", tt, got)
		}
	}
	c := Default()
	for descriptors, page := range map[int]int{64 + 8 + 30: 8, 1024: 64, 20_000: dashboard.MaxConnections} {
		if got := c.clientsWithin(descriptors)["mqtt"]; got != min(1024, descriptors-64-page) {
			t.Errorf("beside the page, %d descriptors leave %d to clients", descriptors, got)
		}
	}
	c.Ingest.MQTT.Listen, c.Ingest.HTTP.Listen, c.Ingest.HTTP.MaxClients = "", "127.0.0.1:0", 1<<30
	var k checklist
	k.clients(c)
	if len(k.findings) != 2 {
		t.Errorf("got %+v", k.findings)
	}
}
