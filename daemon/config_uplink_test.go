package daemon

import (
	"reflect"
	"testing"
)

// checkUplinkExamples compares the tables of the example with what the few keys
// that it sets make of the defaults.
func checkUplinkExamples(t *testing.T, u Uplink) {
	t.Helper()
	isDefault(t, u.HTTP, func(h *HTTPUplink) { h.Name, h.URL = "cloud", "https://cloud.example/v1/ingest" })
	isDefault(t, u.MQTT, func(m *MQTTUplink) { m.Name, m.URL = "broker", "mqtts://broker.example" })
	isDefault(t, u.Kafka, func(k *KafkaUplink) { k.Name, k.Brokers = "kafka", []string{"kafka.example:9093"} })
	isDefault(t, u.AMQP, func(a *AMQPUplink) { a.Name, a.URL = "rabbit", "amqps://broker.example" })
	isDefault(t, u.AMQP1, func(a *AMQP1Uplink) { a.Name, a.URL = "artemis", "amqps://artemis.example" })
	isDefault(t, u.Redis, func(r *RedisUplink) { r.Name, r.URL = "redis", "rediss://redis.example" })
	isDefault(t, u.WebSocket, func(w *WebSocketUplink) { w.Name, w.URL = "cloud-ws", "wss://cloud.example/v1/ingest" })
	isDefault(t, u.File, func(f *FileUplink) { f.Name, f.Dir = "stick", "/media/usb" })
}

func TestTheExampleShowsTheDefaultsOfCommands(t *testing.T) {
	c, err := Parse("example.toml", []byte(uncommented()))
	if err != nil {
		t.Fatal(err)
	}
	isDefault(t, c.Command.HTTP, func(h *HTTPCommands) { h.Name, h.URL = "cloud-orders", "https://cloud.example/v1/commands" })
	isDefault(t, c.Command.NATS, func(n *NATSCommands) { n.Name, n.URLs = "nats-orders", []string{"tls://nats.example"} })
	isDefault(t, c.Command.Redis, func(d *RedisCommands) { d.Name, d.URL = "redis-orders", "rediss://redis.example" })
	isDefault(t, c.Command.AMQP, func(a *AMQPCommands) { a.Name, a.URL = "rabbit-orders", "amqps://broker.example" })
	isDefault(t, c.Command.MQTT, func(m *MQTTCommands) { m.Name, m.URL = "orders", "mqtts://broker.example" })
}

// isDefault checks that there is one table, and that it is the default but for
// what set sets.
func isDefault[T any, P interface {
	*T
	SetDefaults()
}](t *testing.T, got []T, set func(P)) {
	t.Helper()
	var want T
	P(&want).SetDefaults()
	set(&want)
	if !reflect.DeepEqual(got, []T{want}) {
		t.Errorf("the example has\n%+v\nwant\n%+v", got, want)
	}
}
