package daemon

import (
	"reflect"
	"slices"
	"testing"
)

func TestTheExampleShowsTheDefaultsOfSTOMPAndNATS(t *testing.T) {
	c, err := Parse("example.toml", []byte(uncommented()))
	if err != nil {
		t.Fatal(err)
	}
	var queues STOMPUplink
	queues.SetDefaults()
	queues.Name, queues.URL = "stomp", "stomp+ssl://activemq.example"
	if want := []STOMPUplink{queues}; !reflect.DeepEqual(c.Uplink.STOMP, want) {
		t.Errorf("uplink: %+v, want %+v", c.Uplink.STOMP, want)
	}
	var streams NATSUplink
	streams.SetDefaults()
	streams.Name, streams.URLs = "nats", []string{"tls://nats.example"}
	if want := []NATSUplink{streams}; !reflect.DeepEqual(c.Uplink.NATS, want) {
		t.Errorf("uplink: %+v, want %+v", c.Uplink.NATS, want)
	}
}

// What a sink warns of while it is tried out becomes findings with hints.
func TestCautionsOfASinkAreWarnings(t *testing.T) {
	var k checklist
	k.cautions("queue", "it keeps nothing — hint: use /queue/\nit is old — hint: renew it\n")
	want := []Finding{
		{Warn, "uplink queue: it keeps nothing", "use /queue/"},
		{Warn, "uplink queue: it is old", "renew it"},
	}
	if !slices.Equal(k.findings, want) {
		t.Errorf("%v, want %v", k.findings, want)
	}
}
