package firmwaresim

import (
	"context"
	"math"
	"strings"
	"time"
)

// node is one device of a fleet with its connection.
type node struct {
	name    string
	cfg     FleetConfig
	device  *Device
	client  *Client
	topics  map[string]string // by metric; "" unless the shape is Plain
	count   uint64            // messages to publish
	period  time.Duration     // 0: as fast as acknowledgements come
	offset  time.Duration     // spreads a fleet over the period
	latency histogram
}

func newNode(cfg FleetConfig, index int, ledger *Ledger) *node {
	n := &node{
		name:   deviceName(cfg.Prefix, index),
		cfg:    cfg,
		device: NewDevice(cfg.Seed, index, cfg.Shape, cfg.Audited),
		topics: make(map[string]string),
		count:  math.MaxUint64,
	}
	for _, metric := range append(plainMetrics(), "seq", "") {
		n.topics[metric] = strings.NewReplacer("{device}", n.name, "{metric}", metric).Replace(cfg.Topic)
	}
	if cfg.Count > 0 {
		n.count = share(cfg.Count, cfg.Devices, index)
	}
	if cfg.Rate > 0 {
		n.period = time.Duration(float64(time.Second) / cfg.Rate)
		n.offset = n.period * time.Duration(index) / time.Duration(cfg.Devices)
	}
	client := cfg.Client
	client.Addr, client.ClientID = cfg.Addr, n.name
	client.OnAck, client.OnRepublish = n.callbacks(ledger)
	n.client = NewClient(client)
	return n
}

// share is how many of total messages fall to the device with the given index.
func share(total uint64, devices, index int) uint64 {
	part := total / uint64(devices)
	if uint64(index) < total%uint64(devices) {
		part++
	}
	return part
}

// callbacks enter into the ledger what the client reports. A message's tag is
// the counter of its first sample.
func (n *node) callbacks(ledger *Ledger) (onAck func(uint64, time.Duration), onRepublish func(uint64)) {
	if ledger == nil {
		return func(_ uint64, took time.Duration) { n.latency.add(took) }, nil
	}
	account := ledger.Account(n.name)
	further := n.cfg.Shape.samples() - 1
	onAck = func(tag uint64, took time.Duration) {
		n.latency.add(took)
		account.Acked(tag, tag+further)
	}
	return onAck, func(tag uint64) { account.Again(tag, tag+further) }
}

// publish sends the node's messages and waits for the answers.
func (n *node) publish(ctx context.Context) {
	pace := newPace(n.period, n.offset)
	defer pace.stop()
	var payload []byte
	for range n.count {
		if pace.wait(ctx) != nil {
			return
		}
		topic := n.topics[n.device.Metric()]
		tag := n.device.Seq() + 1
		payload = n.device.Append(payload[:0], n.sampleTime(tag))
		if n.client.Publish(ctx, Message{Topic: topic, Payload: payload, QoS: n.cfg.QoS, Tag: tag}) != nil {
			return
		}
		if n.period > 0 {
			n.client.Flush()
		}
	}
	n.client.Drain(ctx)
}

func (n *node) sampleTime(seq uint64) time.Time {
	if n.cfg.Start.IsZero() {
		return time.Now()
	}
	return n.cfg.Start.Add(time.Duration(seq) * time.Second)
}

// maxLate is how far behind its timetable a device may be and still catch up;
// it lets rates beyond the resolution of timers come out right.
const maxLate = 100 * time.Millisecond

// pace lets one message through each period. What is missed while the
// connection is away is not caught up: a sensor measures now.
type pace struct {
	period time.Duration
	due    time.Time
	timer  *time.Timer
}

func newPace(period, offset time.Duration) *pace {
	p := &pace{period: period, due: time.Now().Add(offset)}
	if period > 0 {
		p.timer = time.NewTimer(offset)
	}
	return p
}

func (p *pace) wait(ctx context.Context) error {
	if p.period == 0 {
		return ctx.Err()
	}
	select {
	case <-p.timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	now := time.Now()
	p.due = p.due.Add(p.period)
	if p.due.Before(now.Add(-max(p.period, maxLate))) {
		p.due = now
	}
	p.timer.Reset(p.due.Sub(now))
	return nil
}

func (p *pace) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
}
