package firmwaresim

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"time"
)

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// sendingDevice is one device of a Sender.
type sendingDevice struct {
	sender         *Sender
	name           string
	account        *Account
	device         *Device
	urls           map[string]*url.URL // by metric
	count          uint64
	period, offset time.Duration

	faults sync.Mutex // held around stream
	stream *FaultStream
}

// shipment is one message.
type shipment struct {
	first, last uint64 // counters of its samples
	url         *url.URL
	payload     []byte // or the frame
	began       time.Time
}

// fate is what became of an attempt to deliver a shipment.
type fate struct {
	kind  fateKind
	after time.Duration // what the other side asks to wait
	err   error         // what went wrong
}

type fateKind byte

const (
	fateAcked   fateKind = iota // the other side has custody
	fateSent                    // nobody will ever say
	fateAgain                   // to be sent again
	fateRefused                 // the same would be refused again
)

// courier takes shipments to the other side.
type courier interface {
	// bring tries once and waits for what becomes of it. It may be called
	// concurrently.
	bring(ctx context.Context, p *shipment) fate
	close()
}

func (d *sendingDevice) run(ctx context.Context) error {
	s := d.sender
	switch {
	case s.scheme == "tcp" && s.cfg.Reply != "":
		return (&pipeline{sendingDevice: d}).run(ctx)
	case s.scheme == "tcp":
		c := &streamCourier{device: d}
		defer c.close()
		return d.each(ctx, c)
	case s.scheme == "udp":
		c := &datagramCourier{device: d}
		defer c.close()
		return d.each(ctx, c)
	case s.scheme == "coap":
		c := newCoAPCourier(d)
		defer c.close()
		return d.each(ctx, c)
	}
	c := newHTTPCourier(d)
	defer c.close()
	return d.each(ctx, c)
}

// each delivers one shipment after the other, up to a window at a time.
func (d *sendingDevice) each(ctx context.Context, c courier) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pace := newPace(d.period, d.offset)
	defer pace.stop()
	room := make(chan struct{}, d.sender.cfg.Window)
	var under sync.WaitGroup
	for range d.count {
		if pace.wait(ctx) != nil {
			break
		}
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		p := d.next()
		if d.sender.cfg.Window == 1 { // in order, and without a goroutine
			d.deliver(ctx, c, p, cancel)
			<-room
			continue
		}
		under.Go(func() {
			defer func() { <-room }()
			d.deliver(ctx, c, p, cancel)
		})
	}
	under.Wait()
	if err := context.Cause(ctx); errors.Is(err, ErrUnwanted) {
		return err
	}
	return nil
}

// next takes a sample and enters that it is about to be sent.
func (d *sendingDevice) next() *shipment {
	s := d.sender
	p := &shipment{first: d.device.Seq() + 1, began: time.Now()}
	p.url = d.urls[d.device.Metric()]
	if s.lines() {
		name := ""
		if s.cfg.Named {
			name = d.name
		}
		payload := s.cfg.Encoding.Payload(nil, name, d.device.Measure(p.began))
		p.payload = s.cfg.Encoding.Frame(nil, payload, s.cfg.Summed)
	} else {
		p.payload = d.device.Append(nil, p.began)
	}
	p.last = d.device.Seq()
	if s.cfg.Audited {
		d.account.Sent(p.first, p.last)
	}
	s.messages.Add(1)
	s.bytes.Add(uint64(len(p.payload)))
	return p
}

// deliver tries until the other side has custody, refuses for good, or ctx ends.
func (d *sendingDevice) deliver(ctx context.Context, c courier, p *shipment, stop context.CancelCauseFunc) {
	wait := firstRetry
	for {
		f := c.bring(ctx, p)
		switch f.kind {
		case fateAcked:
			d.acked(p)
			return
		case fateSent:
			return
		case fateRefused:
			d.sender.refused.Add(1)
			d.sender.troubled(f.err)
			if errors.Is(f.err, ErrUnwanted) {
				stop(f.err)
			}
			return
		}
		if ctx.Err() != nil {
			return
		}
		d.sender.troubled(f.err)
		if sleepUntil(ctx, time.Now().Add(max(wait, f.after))) != nil {
			return
		}
		wait = min(2*wait, lastRetry)
		d.repeat(p)
	}
}

// acked enters an acknowledgement, after it was parsed.
func (d *sendingDevice) acked(p *shipment) {
	d.sender.latency.add(time.Since(p.began))
	d.account.Acked(p.first, p.last)
	d.sender.acked.Add(1)
}

// repeat enters that a shipment is about to be sent again.
func (d *sendingDevice) repeat(p *shipment) {
	d.account.Again(p.first, p.last)
	d.sender.again.Add(1)
}

// copies says how often something is sent because of the faults, and how long
// the device pauses before.
func (d *sendingDevice) copies() (n int, pause time.Duration) {
	d.faults.Lock()
	defer d.faults.Unlock()
	n = d.stream.copies()
	if d.stream.hit(kindPause, d.stream.faults.Pause) {
		pause = d.stream.faults.PauseFor
	}
	return n, pause
}

// pieces is FaultStream.Frame. Its result is valid until the next call, so it is
// for couriers that are called one at a time.
func (d *sendingDevice) pieces(frame []byte) ([]Piece, int) {
	d.faults.Lock()
	defer d.faults.Unlock()
	return d.stream.Frame(frame)
}
