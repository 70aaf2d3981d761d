package stompout

import (
	"strings"
	"testing"

	"github.com/tidegate/tidegate/internal/servertest"
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
	sink := newSink(t, Config{Address: server.Addr("stomp"), Username: user, Password: secret(t, password)})
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
	cfg.Address, cfg.Username, cfg.Password = server.Get(t).Addr("stomp"), user, secret(t, password)
	return newSink(t, cfg)
}
