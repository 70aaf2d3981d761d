package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/internal/servertest"
)

// published is a message as a client publishes it or is sent it.
type published struct {
	topic, payload string
	qos            byte
	retain         bool
}

// client is one of somebody else's library. What it subscribes to comes into
// inbox.
func client(t *testing.T, address, id string, subscriptions ...string) (c *paho.Client, inbox chan published) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	inbox = make(chan published, 100)
	c = paho.NewClient(paho.ClientConfig{
		Conn: packets.NewThreadSafeConn(conn), PacketTimeout: patience,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			inbox <- published{p.Packet.Topic, string(p.Packet.Payload), p.Packet.QoS, p.Packet.Retain}
			return true, nil
		}},
	})
	t.Cleanup(func() { conn.Close(); <-c.Done() })
	if _, err := c.Connect(t.Context(), &paho.Connect{ClientID: id, CleanStart: true, KeepAlive: 60}); err != nil {
		t.Fatal(err)
	}
	for _, filter := range subscriptions {
		if _, err := c.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 2, RetainAsPublished: true}}}); err != nil {
			t.Fatal(err)
		}
	}
	return c, inbox
}

// gateway runs one in this process until the test ends, and returns the address
// of its broker.
func gateway(t *testing.T, id, config string) string {
	t.Helper()
	address := porttest.For(t)
	dir, err := os.MkdirTemp("", "gw") // shorter than TempDir: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("bridge.toml", []byte(fmt.Sprintf(`
gateway.id = %q
gateway.data_dir = %q
ingest.mqtt.listen = %q
dashboard.listen = ""
buffer.profile = "speed"
[[ingest.mqtt.route]]
topic = "#"
decode = "raw"
%s`, id, filepath.Join(dir, "data"), address, config)))
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(c, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("gateway %s: %v", id, err)
		}
		os.RemoveAll(dir)
	})
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for range look.C { // it listens soon
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return address
		}
	}
	return ""
}

// crossing is what goes over the bridges of the tests.
var crossing = []published{
	{"site/hall/temp", "21.5", 1, false},
	{"site/hall/door", "\x00\xffopen\n", 2, true},
	{"site/hall/light", `{"on":true}`, 0, false},
	{"zigbee2mqtt/0x00158d/availability", "online", 1, true},
	{"site/hall/door", "", 1, true}, // takes the retained one away
	{"/leading//empty/", "levels", 1, false},
	{"site/100%/ä€", strings.Repeat("x", 20_000), 1, false},
}

// TestRawPassThroughTakesThePlaceOfABridge: what is published at the gateway
// comes out at another broker with its topic, payload, retain flag and QoS.
func TestRawPassThroughTakesThePlaceOfABridge(t *testing.T) {
	for name, broker := range map[string]string{
		"Mosquitto": servertest.Mosquitto(t).Addr("mqtt"),
		"Gateway":   gateway(t, "there", ""),
	} {
		t.Run(name+"/Custody", func(t *testing.T) {
			cross(t, broker, "custody/7/", "", func(m published) published { m.qos = max(m.qos, 1); return m })
		})
		t.Run(name+"/AsPublished", func(t *testing.T) {
			cross(t, broker, "exact/7/", "qos = 0\naccept_loss = true", func(m published) published { return m })
		})
	}
}

// cross publishes at a gateway that bridges to the broker, under a prefix there.
func cross(t *testing.T, broker, prefix, config string, becomes func(published) published) {
	moved := func(m published) published {
		m.topic = prefix + strings.TrimPrefix(m.topic, "site/")
		return becomes(m)
	}
	_, inbox := client(t, broker, "reader", prefix+"#")
	here := gateway(t, "here", fmt.Sprintf(`
[[uplink.mqtt]]
name = "bridge"
url = "mqtt://%s"
encoding = "raw"
strip_prefix = "site/"
prefix = %q
state_topic = ""
%s`, broker, prefix, config))
	sensor, _ := client(t, here, "sensor")
	for _, m := range crossing {
		if _, err := sensor.Publish(t.Context(), &paho.Publish{Topic: m.topic, Payload: []byte(m.payload), QoS: m.qos, Retain: m.retain}); err != nil {
			t.Fatal(err)
		}
		want := moved(m)
		select {
		case got := <-inbox:
			if got != want {
				t.Errorf("got  %.200v\nwant %.200v", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("nothing came, want %.200v", want)
		}
	}
	_, later := client(t, broker, "later", prefix+"#")
	if got, want := <-later, moved(crossing[3]); got != want {
		t.Errorf("the broker keeps %+v, want %+v", got, want)
	}
	select {
	case got := <-later:
		t.Errorf("the broker keeps %+v, too", got)
	default:
	}
}
