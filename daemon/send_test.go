package daemon

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/dashboard/api"
)

// brokerAt lets a gateway have a broker.
func brokerAt(t *testing.T) (address, config string) {
	address = freeAddress(t)
	return address, fmt.Sprintf("ingest.mqtt.listen = %q\n", address)
}

// tell asks a gateway over its admin socket.
func tellGateway[T any](t *testing.T, d *Daemon, path string, body any) (got T, err error) {
	t.Helper()
	err = askAdmin(t.Context(), d.current().cfg.Gateway.SocketPath(), http.MethodPost, path, body, &got)
	return got, err
}

// audits are what the gateway has noted of what the operator did.
func audits(t *testing.T, d *Daemon, metric string) (all []string) {
	t.Helper()
	_, err := d.buffer.History(t.Context(), buffer.Query{Device: command.AuditDevice, Metric: metric}, func(e buffer.Entry) error {
		all = append(all, e.Value.Text())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAMessageByHandSaysWhatBecameOfIt(t *testing.T) {
	_, config := brokerAt(t)
	d := inside(t, config+`
[[ingest.mqtt.route]]
topic = "plant/{device}/telemetry"
[[ingest.mqtt.route]]
topic = "strict/{device}"
undecodable = "drop"
`)
	d.current().broker().Addr(t.Context())
	for _, c := range []struct {
		m        api.Message
		fate     string
		readings int
		says     []string
	}{
		{api.Message{Topic: "plant/press-1/telemetry", Payload: `{"temp":21.5,"on":true}`, QoS: 1}, "decoded", 2, []string{"route 1 of ingest.mqtt", "device press-1"}},
		{api.Message{Topic: "strict/press-1", Payload: `{"temp":`, QoS: 1}, "dropped", 0, []string{"route 2", "byte 8"}},
		{api.Message{Topic: "elsewhere", Payload: `{"temp":`}, "kept whole", 1, []string{"no route"}},
		{api.Message{Device: "pump", Payload: `{"flow":7}`}, "decoded", 1, []string{"without any route", "device pump"}},
		{api.Message{Device: "pump", PayloadBase64: []byte(`{"flow":7}`)}, "decoded", 1, nil},
	} {
		got, err := tellGateway[api.Sent](t, d, "/api/v1/send", c.m)
		if err != nil {
			t.Fatal(err)
		}
		if got.Fate != c.fate || len(got.Readings) != c.readings {
			t.Errorf("%+v: %+v", c.m, got)
		}
		for _, part := range c.says {
			if !strings.Contains(got.Where+got.Means+got.Why, part) {
				t.Errorf("%q is not in %+v", part, got)
			}
		}
	}
	all := audits(t, d, SentMetric)
	if len(all) != 5 || !strings.Contains(all[0], `"by":"somebody on the gateway itself","topic":"plant/press-1/telemetry","qos":1,"bytes":23,"sha256":"`) {
		t.Errorf("audits %v", all)
	}
	if strings.Contains(strings.Join(all, ""), "21.5") {
		t.Error("an audit holds the payload")
	}
	for _, m := range []api.Message{{}, {Topic: "a/#"}, {Topic: "$SYS/a"}, {Topic: "a", Device: "b"}, {Device: "b", QoS: 1}, {Topic: "a", Payload: "1", PayloadBase64: []byte("1")}} {
		if _, err := tellGateway[api.Sent](t, d, "/api/v1/send", m); err == nil || !strings.Contains(err.Error(), "hint") {
			t.Errorf("%+v: %v", m, err)
		}
	}
	if n := len(audits(t, d, SentMetric)); n != 5 {
		t.Errorf("%d audits", n)
	}
}

// giveCommand gives a command and returns its answers.
func giveCommand(t *testing.T, d *Daemon, o api.Order) (all []command.Answer, err error) {
	t.Helper()
	err = tellAdmin(t.Context(), d.current().cfg.Gateway.SocketPath(), "/api/v1/command", o, func(a command.Answer) { all = append(all, a) })
	return all, err
}

func TestACommandByHandReachesTheDevice(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("0123456789abcdef0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	address, config := brokerAt(t)
	// Whoever brings commands from elsewhere must sign them; the operator is known.
	d := inside(t, config+fmt.Sprintf("[command]\nallow = [\"dev/+/set\"]\ndevice_topic = \"dev/{device}/set\"\nkey_file = %q\n", keys))
	d.current().broker().Addr(t.Context())

	got, err := giveCommand(t, d, api.Order{Device: "pump", Payload: "on"})
	if err != nil || len(got) != 1 || got[0].State != command.Accepted || *got[0].Receivers != 0 || !strings.Contains(got[0].Reason, "nobody") {
		t.Errorf("%+v, %v", got, err)
	}
	pump, inbox := client(t, address, "pump", "dev/pump/set")
	got, err = giveCommand(t, d, api.Order{Device: "pump", Payload: "on"})
	if err != nil || len(got) != 2 || got[0].State != command.Accepted || got[1].State != command.Delivered || got[1].By != "pump" {
		t.Errorf("%+v, %v", got, err)
	}
	if m := <-inbox; m.payload != "on" || m.topic != "dev/pump/set" {
		t.Errorf("the device got %+v", m)
	}
	if err := pump.Disconnect(&paho.Disconnect{}); err != nil {
		t.Fatal(err)
	}
	if err := sleepsThere(t, address); err != nil {
		t.Fatal(err)
	}
	none := 0
	got, err = giveCommand(t, d, api.Order{Topic: "dev/valve/set", Payload: "open", TTL: "1m", Wait: &none})
	if err != nil || len(got) != 2 || *got[0].Receivers != 1 || !strings.Contains(got[1].Reason, "one that sleeps") {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = giveCommand(t, d, api.Order{Topic: "other/pump", Payload: "on"})
	if err != nil || len(got) != 1 || got[0].State != command.Refused || !strings.Contains(got[0].Reason, "allow in [command]") {
		t.Errorf("%+v, %v", got, err)
	}
	log := strings.Join(audits(t, d, command.AuditMetric), "\n")
	if strings.Count(log, `"courier":"the page","sender":"somebody on the gateway itself"`) < 5 {
		t.Errorf("audits:\n%s", log)
	}
}

// sleepsThere lets a device subscribe in a session that lasts, and go.
func sleepsThere(t *testing.T, address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	c := paho.NewClient(paho.ClientConfig{Conn: packets.NewThreadSafeConn(conn)})
	hour := uint32(3600)
	if _, err := c.Connect(t.Context(), &paho.Connect{ClientID: "valve", KeepAlive: 60, Properties: &paho.ConnectProperties{SessionExpiryInterval: &hour}}); err != nil {
		return err
	}
	if _, err := c.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "dev/valve/set", QoS: 1}}}); err != nil {
		return err
	}
	err = c.Disconnect(&paho.Disconnect{})
	<-c.Done()
	return err
}

func TestCommandsByHandNeedToBeAllowed(t *testing.T) {
	_, config := brokerAt(t)
	d := inside(t, config)
	if _, err := giveCommand(t, d, api.Order{Topic: "dev/pump/set", Payload: "on"}); err == nil || !strings.Contains(err.Error(), "set allow in [command]") {
		t.Errorf("%v", err)
	}
}
