package stompout

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

const (
	user     = "gateway"
	password = "open sesame: \\o/"
	queue    = "/queue/telemetry"
	limit    = 150_000 // of the servers' messages, in bytes
)

var (
	active = servertest.Share(servertest.ActiveMQ, servertest.User(user, password), servertest.MaxMessage(limit))
	rabbit = servertest.Share(servertest.RabbitMQ, servertest.User(user, simple), servertest.MaxMessage(limit))
)

// simple is a password that a configuration of RabbitMQ can hold.
const simple = "sesame"

func TestMain(m *testing.M) { servertest.Main(m, active, rabbit) }

func TestActiveMQ(t *testing.T) { uplinktest.RunReal(t, real(active, password)) }

func TestRabbitMQ(t *testing.T) { uplinktest.RunReal(t, real(rabbit, simple)) }

func real(server *servertest.Shared, password string) uplinktest.Real {
	as := func(t *testing.T, address, password string, secure *tls.Config) uplink.Sink {
		return newSink(t, Config{
			Address: address, TLS: secure, Username: user, Password: uplinktest.Secret(t, password), Destination: template(t, queue),
			// Shorter than the patience of these tests: a server that is full shows life.
			Heartbeat: time.Second,
		})
	}
	return uplinktest.Real{
		Server:   func(t *testing.T) *servertest.Server { return server.Get(t) },
		Protocol: "stomp",
		New:      func(t *testing.T, address string) uplink.Sink { return as(t, address, password, nil) },
		BadPassword: func(t *testing.T, address string) uplink.Sink {
			return as(t, address, uplinktest.WrongPassword, nil)
		},
		TLS: func(t *testing.T, address string, secure *tls.Config) uplink.Sink {
			return as(t, address, password, secure)
		},
		Read: func(t *testing.T, address string) []uplinktest.Received {
			return drain(t, address, password)
		},
		Pieces: true, Fills: true, TooLarge: limit + 1,
	}
}

// drain takes what is in the queue with a client of others: up to a message that it
// has put there itself, and until nothing more comes. A second without any is nothing
// to go by if it was the reader that stood still, so another message of its own must
// be the next.
func drain(t *testing.T, address, password string) (all []uplinktest.Received) {
	t.Helper()
	client, err := stomp.Dial("tcp", address, stomp.ConnOpt.Login(user, password), stomp.ConnOpt.Host("/"), stomp.ConnOpt.HeartBeat(0, 0), stomp.ConnOpt.Logger(mute{}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.MustDisconnect() // no harm after Disconnect
	end := rand.Text()
	if err := client.Send(queue, "text/plain", []byte(end), stomp.SendOpt.Receipt); err != nil {
		t.Fatal(err)
	}
	messages, err := client.Subscribe(queue, stomp.AckClientIndividual)
	if err != nil {
		t.Fatal(err)
	}
	var quiet <-chan time.Time // ActiveMQ does not keep the order when readers come and go
	asked := false             // the message with end is to be the next
	for done := false; !done; {
		select {
		case m := <-messages.C:
			if m == nil || m.Err != nil {
				t.Fatalf("the reader's subscription has ended: %+v", m)
			}
			if err := client.Ack(m); err != nil {
				t.Fatal(err)
			}
			switch own := string(m.Body) == end; {
			case own && asked:
				done = true
			case own || asked || quiet != nil:
				asked, quiet = false, time.After(time.Second)
			}
			if m.ContentType != "text/plain" {
				all = append(all, uplinktest.Received{Key: m.Header.Get(KeyHeader), Body: m.Body})
			}
		case <-quiet:
			asked, quiet, end = true, nil, rand.Text()
			if err := client.Send(queue, "text/plain", []byte(end)); err != nil {
				t.Fatal(err)
			}
		case <-time.After(6 * soon):
			t.Fatalf("%d messages, and not the last one", len(all))
		}
	}
	// Politely: what a server sends to a reader that has just gone would be missed by
	// the next one.
	if err := errors.Join(messages.Unsubscribe(), client.Disconnect()); err != nil {
		t.Fatal(err)
	}
	return all
}

// mute is a logger for a reader that says goodbye, and complains of it.
type mute struct{}

func (mute) Debugf(string, ...any)   {}
func (mute) Infof(string, ...any)    {}
func (mute) Warningf(string, ...any) {}
func (mute) Errorf(string, ...any)   {}
func (mute) Debug(string)            {}
func (mute) Info(string)             {}
func (mute) Warning(string)          {}
func (mute) Error(string)            {}
