package mqttout

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

// TestWhatMosquittoSaysToWhatItDoesNotWant: in MQTT 5 a reason, in MQTT 3.1.1
// that all is well, which no client can see through. docs/connect/mqtt-uplink.md
// warns of it; a mosquitto that hangs up instead would make this test fail, and
// the page better.
func TestWhatMosquittoSaysToWhatItDoesNotWant(t *testing.T) {
	list := filepath.Join(t.TempDir(), "acl")
	if err := os.WriteFile(list, []byte("topic write tg/ok\ntopic read #\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	address := servertest.Mosquitto(t, servertest.Config("acl_file "+list, "message_size_limit 1000")).Addr("mqtt")
	large := cut(0, 1)
	large.Parts[0].Body = make([]byte, 2000)
	for _, c := range []struct {
		name, topic string
		message     uplink.Message
		says        map[Protocol]string
		hint        string
	}{
		{"Forbidden", "tg/secret", cut(0, 1), map[Protocol]string{V5: "1m0s", V311: "accepted"}, "access list"},
		{"TooLarge", "tg/ok", large, map[Protocol]string{V5: "too large", V311: "accepted"}, "max_batch"},
		{"Welcome", "tg/ok", cut(0, 1), map[Protocol]string{V5: "accepted", V311: "accepted"}, ""},
	} {
		for protocol, want := range c.says {
			inbox := watch5(t, address, "#")
			cfg := basic(address)
			cfg.Protocol, cfg.Topic = protocol, template(c.topic)
			sink := newSink(t, cfg)
			err := sink.Send(within(t), c.message)
			if got := classOf(err); got != want || err != nil && !strings.Contains(err.Error(), c.hint) {
				t.Errorf("%s in %s: %s (%v), want %s", c.name, protocol, got, err, want)
			}
			cfg.Topic, cfg.ClientID = template("tg/ok"), "other"
			if err := newSink(t, cfg).Send(within(t), cut(7, 1)); err != nil {
				t.Fatal(err)
			}
			arrived := next(t, inbox).payload == string(c.message.Parts[0].Body)
			if arrived != (c.name == "Welcome") {
				t.Errorf("%s in %s: arrived is %v", c.name, protocol, arrived)
			}
		}
	}
}

// TestRabbitMQHangsUpOnWhatItDoesNotWant, and the third time in a row that is
// said.
func TestRabbitMQHangsUpOnWhatItDoesNotWant(t *testing.T) {
	server := rabbit.Get(t)
	server.Ctl("add_user", "shy", "s3cret")
	t.Cleanup(func() { server.Ctl("delete_user", "shy") }) // the server may be used again
	server.Ctl("set_permissions", "shy", ".*", ".*", ".*")
	server.Ctl("set_topic_permissions", "shy", "amq.topic", "^ok.*", ".*")
	cfg := basic(server.Addr("mqtt"))
	cfg.Username, cfg.Password, cfg.Topic = "shy", uplinktest.Secret(t, "s3cret"), template("secret/{gateway}")
	sink := newSink(t, cfg)
	for n := range 4 {
		err := sink.Send(within(t), cut(0, 1))
		said := err != nil && strings.Contains(err.Error(), "access list")
		if classOf(err) != "transient" || said != (n >= suspicious-1) {
			t.Errorf("attempt %d: %v", n+1, err)
		}
		if said {
			t.Log(err)
		}
	}
	cfg.Topic = template("ok/{gateway}")
	if err := newSink(t, cfg).Send(within(t), cut(0, 1)); err != nil {
		t.Error(err)
	}
}
