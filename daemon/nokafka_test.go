//go:build nokafka

package daemon

import (
	"strings"
	"testing"
)

func TestWithoutKafkaTheConfigurationSaysSo(t *testing.T) {
	_, err := Parse("nokafka.toml", []byte("[[uplink.kafka]]\nname = \"kafka\"\nbrokers = [\"kafka.example:9093\"]\n"))
	if err == nil || !strings.Contains(err.Error(), "nokafka.toml:2:8") || !strings.Contains(err.Error(), "built without Kafka") {
		t.Errorf("%v, want it refused", err)
	}
}
