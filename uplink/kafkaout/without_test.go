//go:build nokafka

package kafkaout

import (
	"errors"
	"testing"

	"github.com/tidegate/tidegate/uplink"
)

func TestWithoutKafkaThereIsNoSink(t *testing.T) {
	sink, err := New(Config{Brokers: []string{"kafka.example:9093"}})
	if sink != nil || !errors.Is(err, errNotBuilt) || Built {
		t.Errorf("%v %v", sink, err)
	}
	if err := new(Sink).Send(t.Context(), uplink.Message{}); !errors.Is(err, errNotBuilt) {
		t.Errorf("%v", err)
	}
}
