package mqttin

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

// Submission is a message that somebody at the gateway publishes by hand. It is
// treated as if a client had published it: decoded by its route, kept, and sent to
// those who are subscribed.
type Submission struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
}

// Outcome is what has become of a Submission.
type Outcome struct {
	// Receipt resolves when it is on flash; nil if there was nothing to keep.
	Receipt ingest.Receipt
	// Readings were made of it, Fate says how, and Why why it could not be decoded.
	Readings []reading.Reading
	Fate     route.Fate
	Why      error
	// Receivers is how many sessions it is for; those of clients that are away count
	// if it waits for them.
	Receivers int
}

// Submit publishes a message, with readings of the caller in the same commit. An
// error means that nothing was taken and nobody is sent anything; so does one of the
// receipt.
func (s *Source) Submit(ctx context.Context, p Submission, beside ...reading.Reading) (o Outcome, err error) {
	b := s.running()
	if b == nil || !b.hold() {
		return o, ErrNotRunning
	}
	defer b.ended.Done()
	if p.QoS > 2 {
		return o, fmt.Errorf("QoS %d — hint: 0, 1 or 2", p.QoS)
	}
	if len(p.Payload) > b.cfg.MaxPacket {
		return o, fmt.Errorf("%d bytes are more than max_packet, %d", len(p.Payload), b.cfg.MaxPacket)
	}
	t, err := new(topics).find(b.cfg.Routes, nil, []byte(p.Topic))
	if v, ok := errors.AsType[*violation](err); ok {
		return o, fmt.Errorf("topic %q: %w — hint: name the one topic that a device would publish to", p.Topic, v)
	} else if err != nil {
		return o, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	m := &message{
		number: b.memory.number(), origin: byHand, topic: p.Topic, qos: p.QoS, retain: p.Retain,
		payload: slices.Clone(p.Payload), born: b.clock.uptime(),
	}
	intake := b.intake.Passage()
	defer intake.Leave()
	b.decode(&o, intake, m, t)
	mine := len(o.Readings)
	all := append(o.Readings, beside...)
	var copies []delivery
	if o.Receipt, copies, err = b.take(ctx, intake, m, all, nil); err != nil {
		return o, err
	}
	o.Readings = all[:mine] // with their times
	for _, d := range copies {
		if d.queued != nil || d.session.isAttached() {
			o.Receivers++
		}
	}
	return o, nil
}

// byHand is the origin of messages that are submitted. No client has such an
// identifier: see orderOrigin.
const byHand = "\x01hand"

// decode is readings for somebody who wants to know why.
func (b *broker) decode(o *Outcome, intake *ingest.Intake, m *message, t *topic) {
	flags := reading.Flags(0).WithQoS(m.qos)
	if m.retain {
		flags |= reading.Retained
	}
	n := counts{payload: uint64(len(m.payload))}
	n.messages[m.qos]++
	o.Readings, o.Fate, o.Why = t.target.Read(nil, m.payload, route.Arrival{Intake: intake, Now: intake.Now(), Flags: flags})
	n.note(o.Fate)
	b.stats.add(&n)
}
