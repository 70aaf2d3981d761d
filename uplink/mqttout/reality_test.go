package mqttout

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	paho3 "github.com/eclipse/paho.mqtt.golang"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

// The mosquittos and the RabbitMQ of the suite. One that is killed would lose
// what it had acknowledged: mosquitto writes when it is stopped.
var mosquitto = servertest.Share(servertest.Mosquitto, servertest.User("gw", "s3cret"), servertest.MaxMessage(600_000))

func TestReality(t *testing.T) {
	for _, c := range []struct {
		name string
		qos  byte
		real uplinktest.Real
	}{
		{"Mosquitto5", 1, realMosquitto(V5, readSession5)},
		{"Mosquitto5QoS2", 2, realMosquitto(V5, readSession5)},
		{"Mosquitto311", 1, realMosquitto(V311, readSession3)},
		{"RabbitMQ", 1, uplinktest.Real{Fills: true, Server: func(t *testing.T) *servertest.Server { return subscribed(t, rabbit.Get(t)) }, Read: readSession3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.real
			r.Protocol = "mqtt"
			configure := func(address string) Config {
				cfg := basic(address)
				cfg.QoS, cfg.Username, cfg.Password = c.qos, "gw", uplinktest.Secret(t, "s3cret")
				cfg.Topic = template("tg/{gateway}/{lane}")
				if c.name == "Mosquitto311" {
					cfg.Protocol = V311
				}
				return cfg
			}
			r.New = func(t *testing.T, address string) uplink.Sink { return newSink(t, configure(address)) }
			r.BadPassword = func(t *testing.T, address string) uplink.Sink {
				cfg := configure(address)
				cfg.Password = uplinktest.Secret(t, uplinktest.WrongPassword)
				return newSink(t, cfg)
			}
			r.TLS = func(t *testing.T, address string, secure *tls.Config) uplink.Sink {
				cfg := configure(address)
				cfg.TLS = secure
				return newSink(t, cfg)
			}
			r.Pieces = true
			uplinktest.RunReal(t, r)
		})
	}
}

func realMosquitto(p Protocol, read func(*testing.T, string) []uplinktest.Received) uplinktest.Real {
	r := uplinktest.Real{
		Server:  func(t *testing.T) *servertest.Server { return subscribed(t, mosquitto.Get(t)) },
		Read:    read,
		Forgets: true,
	}
	if p == V5 {
		r.TooLarge = 700_000 // 3.1.1 has no word for it
	}
	return r
}

// subscribed makes the server keep what is published for a reader that comes
// later.
func subscribed(t *testing.T, s *servertest.Server) *servertest.Server {
	t.Helper()
	client := session3(t, s.Addr("mqtt"), nil)
	if token := client.Subscribe("tg/#", 1, nil); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatal("reader:", token.Error())
	}
	client.Disconnect(250)
	return s
}

func session3(t *testing.T, address string, take paho3.MessageHandler) paho3.Client {
	t.Helper()
	options := paho3.NewClientOptions().AddBroker("tcp://" + address).SetClientID("keeper").SetUsername("gw").SetPassword("s3cret").
		SetProtocolVersion(4).SetCleanSession(false).SetAutoReconnect(false).SetOrderMatters(true).SetDefaultPublishHandler(take)
	client := paho3.NewClient(options)
	if token := client.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatal("reader:", token.Error())
	}
	return client
}

// marker is behind everything that the server had for the reader.
const marker = "tg/marker"

func readSession3(t *testing.T, address string) []uplinktest.Received {
	t.Helper()
	inbox := make(chan uplinktest.Received, 100_000)
	client := session3(t, address, func(_ paho3.Client, m paho3.Message) {
		inbox <- uplinktest.Received{Body: m.Payload(), Key: strings.TrimPrefix(m.Topic(), marker)}
	})
	defer client.Disconnect(250)
	mark := time.Now().Format(time.RFC3339Nano)
	if token := client.Publish(marker, 1, false, mark); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatal("reader:", token.Error())
	}
	return until(t, inbox, mark)
}

// until takes everything up to the mark. Readers of MQTT 3.1.1 have no keys.
func until(t *testing.T, inbox <-chan uplinktest.Received, mark string) (all []uplinktest.Received) {
	t.Helper()
	for {
		select {
		case r := <-inbox:
			if string(r.Body) == mark {
				return all
			}
			if strings.HasPrefix(r.Key, "tg/") || r.Key == "" {
				r.Key = ""
			}
			all = append(all, r)
		case <-time.After(patience):
			t.Fatal("the reader waits in vain for its mark")
		}
	}
}

func readSession5(t *testing.T, address string) []uplinktest.Received {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	inbox := make(chan uplinktest.Received, 100_000)
	client := paho.NewClient(paho.ClientConfig{
		Conn: packets.NewThreadSafeConn(conn), PacketTimeout: patience,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			inbox <- uplinktest.Received{Key: p.Packet.Properties.User.Get(keyProperty), Body: p.Packet.Payload}
			return true, nil
		}},
	})
	defer func() { conn.Close(); <-client.Done() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	expiry := uint32(3600)
	if _, err := client.Connect(ctx, &paho.Connect{
		ClientID: "keeper", KeepAlive: 60, Username: "gw", UsernameFlag: true, Password: []byte("s3cret"), PasswordFlag: true,
		Properties: &paho.ConnectProperties{SessionExpiryInterval: &expiry},
	}); err != nil {
		t.Fatal(err)
	}
	mark := time.Now().Format(time.RFC3339Nano)
	if _, err := client.Publish(ctx, &paho.Publish{Topic: marker, QoS: 1, Payload: []byte(mark)}); err != nil {
		t.Fatal(err)
	}
	all := until(t, inbox, mark)
	if err := client.Disconnect(&paho.Disconnect{}); err != nil {
		t.Error(err)
	}
	return all
}
