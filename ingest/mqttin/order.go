package mqttin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

// Order is a message that the gateway itself has for devices. Those who are
// subscribed get it as any other message, with one difference: nobody is sent
// it before custody has it, whatever its QoS. So what a crash has made unsaid was
// never seen either.
type Order struct {
	// ID names it to Config.Delivered: text without control characters.
	ID      string
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
	// Expiry is for how long it is worth delivering, in whole seconds, at least
	// one; 0 stands for ever.
	Expiry time.Duration
}

// ErrNotRunning means that the broker has not started yet, or was stopped.
var ErrNotRunning = errors.New("the mqtt broker is not running")

// Publish takes an order into custody, with readings and notes of the caller, in
// one commit: after a crash all of it is there, or nothing. Nothing is decoded.
// receivers is how many sessions it is for; those of clients that are away count
// if it waits for them. An error means that nothing was taken and nobody will be
// sent anything; so does one of the receipt.
func (s *Source) Publish(ctx context.Context, o Order, rs []reading.Reading, notes ...reading.Note) (receipt ingest.Receipt, receivers int, err error) {
	b := s.running()
	if b == nil || !b.hold() {
		return nil, 0, ErrNotRunning
	}
	defer b.ended.Done()
	if err := o.check(); err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	m := &message{
		number: b.memory.number(), origin: orderOrigin + o.ID, topic: o.Topic, qos: o.QoS, retain: o.Retain, payload: o.Payload,
		expires: o.Expiry > 0, expiry: uint32(o.Expiry / time.Second), born: b.clock.uptime(),
	}
	receipt, copies, err := b.take(ctx, b.intake, m, rs, notes)
	for _, d := range copies {
		if d.queued != nil || d.session.isAttached() {
			receivers++
		}
	}
	return receipt, receivers, err
}

func (o Order) check() error {
	switch err := checkTopicName([]byte(o.Topic)); {
	case err != nil:
		return fmt.Errorf("order %q: topic %q: %w", o.ID, o.Topic, err)
	case o.Topic[0] == '$':
		return fmt.Errorf("order %q: topic %q: %w", o.ID, o.Topic, errReserved)
	case o.ID == "" || !validText([]byte(o.ID)) || hasControls([]byte(o.ID)):
		return fmt.Errorf("order %q: the id is empty or holds control characters", o.ID)
	case o.QoS > 2:
		return fmt.Errorf("order %q: QoS %d", o.ID, o.QoS)
	case o.Expiry < 0 || o.Expiry > 0 && o.Expiry < time.Second || o.Expiry/time.Second > 1<<32-1:
		return fmt.Errorf("order %q: it expires in %v", o.ID, o.Expiry)
	}
	return nil
}

// hold keeps stop waiting until ended.Done; false means that it does not wait
// any more.
func (b *broker) hold() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return false
	}
	b.ended.Add(1)
	return true
}

// orderOrigin begins the origin of orders. No client has such an identifier: the
// guard lets no control characters in.
const orderOrigin = "\x01order/"

func (m *message) isOrder() bool { return strings.HasPrefix(m.origin, orderOrigin) }

// orderDelivered tells whoever gave an order that a client has it.
func (b *broker) orderDelivered(m *message, client string) {
	if id, ok := strings.CutPrefix(m.origin, orderOrigin); ok && b.cfg.Delivered != nil {
		b.cfg.Delivered(id, client)
	}
}
