//go:build !nokafka

package kafkaout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/internal/kafka"
	"github.com/tidegate/tidegate/uplink"
)

const (
	// maxRounds bounds how often a Send goes to the brokers with something else
	// than what they have already.
	maxRounds = 12
	// maxRenewals is how often a Send may find its numbers unknown.
	maxRenewals = 5
	// What a broker has, but not its replicas, it is asked for again: after so
	// long, twice that, and so on to the most. Its bytes travel each time.
	firstRepeat = 100 * time.Millisecond
	lastRepeat  = 5 * time.Second
)

// delivery is one Send's way to custody.
type delivery struct {
	sink     *Sink
	topics   []string
	left     []*record // to be put into batches
	again    []*batch  // to be sent as they are
	begun    time.Time
	throttle time.Duration
	worst    error
	rounds   int
	repeats  int
	// The rounds after which something was tried that is tried once only.
	followed, reconnected, relearnt, renewed int
	renewals                                 int
	changed                                  bool // what relearning has found
}

// errRounds says that something else was in the way each time.
var errRounds = errors.New("the brokers have refused it for passing reasons too often")

// deliver sends the message's records until all are in custody, ctx ends, or an
// error makes more of it pointless.
func (s *Sink) deliver(ctx context.Context, m uplink.Message) error {
	d := &delivery{sink: s, begun: time.Now(), left: s.records(m)}
	for d.worst == nil && (len(d.left) > 0 || len(d.again) > 0) {
		if len(d.left) > 0 {
			d.rounds++
		}
		if d.rounds > maxRounds {
			return judge(errRounds, 0)
		}
		d.round(ctx)
	}
	return d.worst
}

// round sends what there is.
func (d *delivery) round(ctx context.Context) {
	batches := d.again
	if len(batches) > 0 {
		if !pause(ctx, min(firstRepeat<<min(d.repeats, 8), lastRepeat)) {
			d.blame(silence(ctx, batches[0].err))
			return
		}
		d.repeats++
	}
	d.again = nil
	if len(d.left) > 0 {
		made, err := d.prepare(ctx)
		if errors.Is(err, errForgotten) {
			d.again = batches // once more
			return
		}
		if err != nil {
			d.blame(err)
			return
		}
		batches = append(batches, made...)
	}
	d.throttle = d.sink.fly(ctx, batches)
	for _, b := range batches {
		if b.err != nil {
			d.conclude(ctx, b)
		}
	}
}

// blame notes an error that decides about the message, if no worse one does.
func (d *delivery) blame(err error) {
	err = judge(err, d.throttle)
	if d.worst == nil || rankOf(err) > rankOf(d.worst) {
		d.worst = err
	}
}

// once says whether this is the round in which something is tried that is tried
// once only.
func (d *delivery) once(at *int) bool {
	if *at == 0 {
		*at = d.rounds
	}
	return *at == d.rounds
}

// conclude decides what is tried at once with a batch that is not in custody.
func (d *delivery) conclude(ctx context.Context, b *batch) {
	_, lost := errors.AsType[*lostError](b.err)
	todo := remedyFor(b.err)
	if lost || todo == follow {
		d.sink.mu.Lock()
		d.sink.known.doubt(b.topic)
		d.sink.mu.Unlock()
	}
	again := false
	switch {
	case todo == repeat:
		b.repeated = true
		d.again = append(d.again, b)
		return
	case todo == renew:
		again = d.renew()
	case todo == follow:
		again = d.once(&d.followed)
		for _, r := range b.records {
			r.refused, r.by = b.err, b.address
		}
	case lost:
		again = ctx.Err() == nil && b.link != nil && b.link.made.Before(d.begun) && d.once(&d.reconnected)
	case errors.Is(b.err, errSpent):
		again = true
	case errors.Is(b.err, kafka.InvalidTimestamp):
		again = retime(b)
	case errors.Is(b.err, kafka.MessageTooLarge), errors.Is(b.err, kafka.RecordListTooLarge):
		again = d.relearn(ctx)
	}
	if again {
		d.left = append(d.left, b.records...)
		return
	}
	d.blame(b.err)
}

// renew says whether the numbers may be renewed once more.
func (d *delivery) renew() bool {
	if d.renewed != d.rounds {
		d.renewed = d.rounds
		d.renewals++
	}
	return d.renewals <= maxRenewals
}

// retime makes the time of sending that of the batch's records, and says whether
// any had another one.
func retime(b *batch) (changed bool) {
	for _, r := range b.records {
		changed = changed || r.Time != 0
		r.Time = 0
	}
	return changed
}

// relearn asks for the limits again, once, and says whether they have changed.
func (d *delivery) relearn(ctx context.Context) bool {
	if d.relearnt == 0 {
		d.changed = d.sink.relearn(ctx, d.topics)
	}
	return d.once(&d.relearnt) && d.changed
}

// prepare finds out where the records go, and makes batches of them. Nothing is
// sent if one of them cannot be: the others would travel in vain.
func (d *delivery) prepare(ctx context.Context) ([]*batch, error) {
	if d.topics == nil {
		d.topics = topicsOf(d.left)
	}
	if err := d.sink.ready(ctx, d.topics); err != nil {
		return nil, err
	}
	batches, err := d.sink.gather(d.left, time.Now())
	if err != nil {
		return nil, err
	}
	d.left = nil
	packer := d.sink.packerNow()
	for _, b := range batches {
		b.pack(packer)
	}
	return batches, nil
}

// packerNow returns what all brokers unpack that were met so far.
func (s *Sink) packerNow() *kafka.Packer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.produce < kafka.ZstdVersion {
		return s.elder
	}
	return s.packer
}

// gather puts records into batches that are not larger than their topics allow, in
// their order.
func (s *Sink) gather(records []*record, now time.Time) (all []*batch, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := make(map[place]*batch)
	limits := make(map[string]int)
	for _, r := range records {
		partition, address, err := s.known.place(r.Topic, r.Key)
		if err != nil {
			return nil, err
		}
		if r.by == address {
			return nil, r.refused // it has not moved
		}
		if limits[r.Topic] == 0 {
			limits[r.Topic] = int(s.limits.batchBytes(r.Topic))
		}
		limit, size := limits[r.Topic], r.Most()
		if kafka.Overhead+size > limit {
			return nil, fmt.Errorf("%w: topic %s takes batches of %d bytes, and this needs %d", kafka.MessageTooLarge, r.Topic, limit, kafka.Overhead+size)
		}
		at := place{r.Topic, partition}
		b := open[at]
		if b == nil || b.size+size > limit {
			b = &batch{place: at, address: address, size: kafka.Overhead, now: now.UnixMilli()}
			open[at] = b
			all = append(all, b)
		}
		b.size += size
		b.records = append(b.records, r)
	}
	return all, nil
}

// pack makes the batch's bytes.
func (b *batch) pack(p *kafka.Packer) {
	records := make([]kafka.Record, len(b.records))
	for i, r := range b.records {
		records[i] = r.Record
		if r.Time == 0 {
			records[i].Time = b.now
		}
	}
	b.bytes = kafka.AppendBatch(make([]byte, 0, b.size), records, p)
}
