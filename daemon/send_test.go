package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/internal/netcheck"
	"github.com/tidegate/tidegate/reading"
)

// brokerAt lets a gateway have a broker.
func brokerAt(t *testing.T) (address, config string) {
	address = porttest.For(t)
	return address, fmt.Sprintf("ingest.mqtt.listen = %q\n", address)
}

// byHand sends a message, and returns the verdict with what became of it.
func byHand(t *testing.T, d *Daemon, m api.Message) (last api.SentLine, err error) {
	t.Helper()
	err = postAdmin(t.Context(), d.current().cfg.Gateway.SocketPath(), "/api/v1/send", m, func(l api.SentLine) { last = l })
	return last, err
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
		last, err := byHand(t, d, c.m)
		if err != nil || last.Sent == nil || last.Verdict == "" {
			t.Fatalf("%+v, %v", last, err)
		}
		if want := map[bool]netcheck.State{true: netcheck.OK, false: netcheck.Warn}[c.fate == "decoded"]; last.State != want {
			t.Errorf("%+v", last)
		}
		got := *last.Sent
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
		if _, err := byHand(t, d, m); err == nil || !strings.Contains(err.Error(), "hint") {
			t.Errorf("%+v: %v", m, err)
		}
	}
	if n := len(audits(t, d, SentMetric)); n != 5 {
		t.Errorf("%d audits", n)
	}
}

// giveCommand gives a command and returns its answers, and the verdict.
func giveCommand(t *testing.T, d *Daemon, o api.Order) (all []command.Answer, verdict netcheck.Line, err error) {
	t.Helper()
	err = postAdmin(t.Context(), d.current().cfg.Gateway.SocketPath(), "/api/v1/command", o, func(l api.OrderLine) {
		if verdict = l.Line; l.Answer != nil && l.State != netcheck.Running && l.State != netcheck.Skipped && l.Verdict == "" {
			all = append(all, *l.Answer)
		}
	})
	return all, verdict, err
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

	expect := func(o api.Order, state netcheck.State, says string, states ...command.State) (last command.Answer) {
		t.Helper()
		got, v, err := giveCommand(t, d, o)
		if err != nil || len(got) != len(states) || v.State != state || !strings.Contains(v.Verdict, says) {
			t.Fatalf("%+v, %+v, %v", got, v, err)
		}
		for i, a := range got {
			if a.State != states[i] {
				t.Errorf("answer %d: %+v", i, a)
			}
			last = a
		}
		return last
	}
	expect(api.Order{Device: "pump", Payload: "on"}, netcheck.Warn, "Nobody is subscribed", command.Accepted, command.Accepted)
	pump, inbox := client(t, address, "pump", "dev/pump/set")
	if last := expect(api.Order{Device: "pump", Payload: "on"}, netcheck.OK, "Delivered to pump", command.Accepted, command.Delivered); last.By != "pump" {
		t.Errorf("%+v", last)
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
	last := expect(api.Order{Topic: "dev/valve/set", Payload: "open", TTL: "1m", Wait: &none}, netcheck.Warn, "kept for one that sleeps", command.Accepted, command.Accepted)
	if *last.Receivers != 1 {
		t.Errorf("%+v", last)
	}
	expect(api.Order{Topic: "other/pump", Payload: "on"}, netcheck.Bad, "allow in [command]", command.Refused)
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
	if _, _, err := giveCommand(t, d, api.Order{Topic: "dev/pump/set", Payload: "on"}); err == nil || !strings.Contains(err.Error(), "set allow in [command]") {
		t.Errorf("%v", err)
	}
}

// A reload may take the broker away behind the look whether there is one.
func TestAMessageByHandFindsTheBrokerGone(t *testing.T) {
	d := inside(t, `ingest.mqtt.listen = ""`)
	_, err := d.publish(t.Context(), api.Message{Topic: "plant/boiler"}, nil, reading.Reading{})
	if !errors.Is(err, errNoBroker) {
		t.Error(err)
	}
}
