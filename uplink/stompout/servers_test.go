package stompout

import (
	"strings"
	"testing"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

// What Caution warns of is so: RabbitMQ confirms what goes nowhere.
func TestRabbitMQConfirmsWhatItThrowsAway(t *testing.T) {
	sink := onServer(t, rabbit, simple, Config{Destination: template(t, "/exchange/amq.topic/nobody")})
	if err := sink.Send(within(t, soon), message(0, 10)); err != nil {
		t.Errorf("%v: it has become better; Caution and the page can be too", err)
	}
	if about, err := sink.Probe(within(t, soon)); err != nil || !strings.Contains(about, "\nover STOMP, RabbitMQ confirms what no queue") {
		t.Errorf("%q, %v", about, err)
	}
}

// RabbitMQ makes a queue for the first message of a connection, and does not look
// afterwards whether it is still there.
func TestRabbitMQConfirmsWhatADeletedQueueWouldHaveGot(t *testing.T) {
	server := rabbit.Get(t)
	sink := onServer(t, rabbit, simple, Config{Destination: template(t, "/queue/short-lived")})
	if err := sink.Send(within(t, soon), message(0, 10)); err != nil {
		t.Fatal(err)
	}
	server.Ctl("delete_queue", "short-lived")
	if err := sink.Send(within(t, soon), message(1, 10)); err != nil || strings.Contains(server.Ctl("list_queues", "name"), "short-lived") {
		t.Errorf("%v: it has become better; Caution and the page can be too", err)
	}
	if about, err := sink.Probe(within(t, soon)); err != nil || !strings.Contains(about, "\nover STOMP, RabbitMQ makes a queue once") {
		t.Errorf("%q, %v", about, err)
	}
}

// ActiveMQ has no place for very long names, and closes the connection: the message
// would be in everybody's way for good.
func TestActiveMQRefusesVeryLongNames(t *testing.T) {
	sink := onServer(t, active, password, Config{Destination: template(t, queue)})
	m := inParts(message(0, 10), strings.Repeat("x", 20_000))
	m.Parts[0].Last++ // not alone: its key needs the device
	if err := sink.Send(within(t, soon), m); classOf(err) != isPermanent || !strings.Contains(err.Error(), "too long for its headers") {
		t.Errorf("%v", err)
	}
	if err := sink.Send(within(t, soon), message(1, 10)); err != nil {
		t.Error(err)
	}
}

// A queue that rejects what is new confirms nothing, and RabbitMQ says nothing: it
// closes the connection.
func TestRabbitMQConfirmsNothingThatItRejects(t *testing.T) {
	server := rabbit.Get(t)
	server.Ctl("set_policy", "rejecting", "^rejecting$", `{"max-length":1,"overflow":"reject-publish"}`)
	sink := onServer(t, rabbit, simple, Config{Destination: template(t, "/queue/rejecting")})
	if err := sink.Send(within(t, soon), message(0, 10)); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := sink.Send(within(t, soon), message(1, 10)); classOf(err) != isTransient {
			t.Errorf("%s: %v", classOf(err), err)
		}
	}
}

// What ActiveMQ says when it has no room, and may say so.
func TestActiveMQRefuses(t *testing.T) {
	server := servertest.ActiveMQ(t, servertest.User(user, password), servertest.Config(
		`<destinationPolicy><policyMap><policyEntries><policyEntry queue=">" sendFailIfNoSpace="true"/></policyEntries></policyMap></destinationPolicy>`))
	sink := newSink(t, Config{Address: server.Addr("stomp"), Username: user, Password: uplinktest.Secret(t, password)})
	if err := sink.Send(within(t, soon), message(0, 10)); err != nil {
		t.Fatal(err)
	}
	server.Fill()
	for n := range 3 {
		err := sink.Send(within(t, soon), message(n, 1000))
		if n > 0 && classOf(err) != "30s" { // the first may find the connection gone
			t.Errorf("%s: %v", classOf(err), err)
		}
	}
}

// onServer returns a Sink for a shared server.
func onServer(t *testing.T, server *servertest.Shared, password string, cfg Config) *Sink {
	t.Helper()
	cfg.Address, cfg.Username, cfg.Password = server.Get(t).Addr("stomp"), user, uplinktest.Secret(t, password)
	return newSink(t, cfg)
}
