//go:build nokafka

package kafkaout

import (
	"context"
	"errors"

	"github.com/tidegate/tidegate/uplink"
)

// Built says whether this program speaks Kafka.
const Built = false

// errNotBuilt is what everything returns here.
var errNotBuilt = errors.New("this program was built without Kafka — hint: build it without the tag nokafka, or take out [[uplink.kafka]]")

// Sink is nothing in this program: New never returns one.
type Sink struct{}

// New returns an error that says that this program was built without Kafka.
func New(Config) (*Sink, error) { return nil, errNotBuilt }

// Send returns that error, too.
func (*Sink) Send(context.Context, uplink.Message) error { return errNotBuilt }

// Probe returns that error, too.
func (*Sink) Probe(context.Context) (string, error) { return "", errNotBuilt }

// Limit returns 0.
func (*Sink) Limit() int { return 0 }

// Close does nothing.
func (*Sink) Close() error { return nil }
