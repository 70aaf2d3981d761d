package firmwaresim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// FleetConfig describes a fleet. Zero values stand for the defaults.
type FleetConfig struct {
	// Addr is host:port of the broker.
	Addr string
	// Devices is how many there are, each with a connection of its own; 1 by
	// default.
	Devices int
	// Rate is messages a second and device; 0 means as fast as
	// acknowledgements come.
	Rate float64
	// Count ends the run after so many messages of the whole fleet; 0 means
	// when the context ends.
	Count uint64
	// QoS is 0, 1 or 2.
	QoS byte
	// Shape is the payload's form; JSON4 by default.
	Shape Shape
	// Audited adds the counter seq to every sample. A fleet with a ledger is
	// always audited.
	Audited bool
	// Seed makes two fleets equal, byte for byte, given the same times.
	Seed uint64
	// Start, when set, replaces the clock: sample n of a device was measured n
	// seconds after it.
	Start time.Time
	// Topic is the topic of a message, with {device} and, for Plain, {metric}.
	Topic string
	// Prefix begins the devices' names, which end in a number; "dev-" by
	// default.
	Prefix string
	// Client is the template of each device's connection: version, window,
	// keep-alive, session, name and password. The rest is filled in.
	Client ClientConfig
}

// FleetStats counts since the start, over all devices.
type FleetStats struct {
	ClientStats
	// Online is the number of devices with a session now.
	Online int
	// Latency is how long acknowledgements took.
	Latency Latency
}

// Fleet is many devices that publish to one broker.
type Fleet struct {
	cfg    FleetConfig
	ledger *Ledger
	nodes  []*node
}

// NewFleet returns the fleet that cfg describes. Acknowledgements are entered
// into the ledger, which may be nil.
func NewFleet(cfg FleetConfig, ledger *Ledger) (*Fleet, error) {
	cfg = cfg.withDefaults()
	cfg.Audited = cfg.Audited || ledger != nil
	if err := cfg.check(); err != nil {
		return nil, err
	}
	f := &Fleet{cfg: cfg, ledger: ledger}
	for i := range cfg.Devices {
		f.nodes = append(f.nodes, newNode(cfg, i, ledger))
	}
	return f, nil
}

func (cfg FleetConfig) withDefaults() FleetConfig {
	if cfg.Devices == 0 {
		cfg.Devices = 1
	}
	if cfg.Shape == "" {
		cfg.Shape = JSON4
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "dev-"
	}
	if cfg.Topic == "" {
		cfg.Topic = "site/sim/dev/{device}/telemetry"
		if cfg.Shape == Plain {
			cfg.Topic = "site/sim/dev/{device}/{metric}"
		}
	}
	return cfg
}

func (cfg FleetConfig) check() error {
	switch {
	case cfg.Devices < 0 || cfg.Rate < 0:
		return fmt.Errorf("a fleet needs a positive number of devices and a rate of 0 or more")
	case cfg.QoS > 2:
		return fmt.Errorf("qos %d: there are only 0, 1 and 2", cfg.QoS)
	case !slices.Contains(Shapes(), cfg.Shape):
		return fmt.Errorf("shape %q is not one of %v", cfg.Shape, Shapes())
	case cfg.Audited && cfg.Shape == Opaque:
		return fmt.Errorf("shape %q carries no counter, so it cannot be audited; use another shape or no ledger", Opaque)
	case cfg.Shape == Plain && !strings.Contains(cfg.Topic, "{metric}"):
		return fmt.Errorf("shape %q needs a topic with {metric}, not %q", Plain, cfg.Topic)
	case !strings.Contains(cfg.Topic, "{device}"):
		return fmt.Errorf("topic %q needs {device}", cfg.Topic)
	}
	return nil
}

// Run publishes until ctx ends or Count messages are published and answered. It
// returns ErrRefused, wrapped, when the broker does not want a device.
func (f *Fleet) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var clients, publishers sync.WaitGroup
	for _, n := range f.nodes {
		clients.Go(func() {
			if err := n.client.Run(ctx); err != nil {
				cancel(fmt.Errorf("%s: %w", n.name, err))
			}
		})
		publishers.Go(func() { n.publish(ctx) })
	}
	published := make(chan struct{})
	go func() {
		publishers.Wait()
		close(published)
	}()
	err := f.ledger.keep(published)
	refusal := context.Cause(ctx)
	cancel(nil)
	<-published
	clients.Wait() // acknowledgements come until then
	if f.ledger != nil {
		err = errors.Join(err, f.ledger.Flush())
	}
	if errors.Is(refusal, ErrRefused) {
		return refusal
	}
	return err
}

// Stats returns the counts so far.
func (f *Fleet) Stats() FleetStats {
	var sum FleetStats
	for _, n := range f.nodes {
		s := n.client.Stats()
		sum.Published += s.Published
		sum.Republished += s.Republished
		sum.Acked += s.Acked
		sum.Refused += s.Refused
		sum.Unexpected += s.Unexpected
		sum.Connects += s.Connects
		sum.BytesOut += s.BytesOut
		sum.BytesIn += s.BytesIn
		if s.Connected {
			sum.Online++
		}
		sum.Latency.merge(&n.latency)
	}
	sum.Connected = sum.Online == len(f.nodes)
	return sum
}
