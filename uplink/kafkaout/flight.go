//go:build !nokafka

package kafkaout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tidegate/tidegate/internal/kafka"
)

// ackTimeout is how long a broker may wait for its replicas.
const ackTimeout = 10 * time.Second

// batch is records of one Send for one partition.
type batch struct {
	place
	address string // of the partition's broker
	records []*record
	size    int   // of its records, at the most, in bytes
	now     int64 // the time of those that have none, in ms
	bytes   []byte
	// numbers are nil until it was about to be written.
	numbers  *numbers
	sequence int32
	repeated bool // the broker has said that it has it
	err      error
	link     *link // that it was sent over, if any
}

// request is a Produce request: one batch at the most for each partition.
type request struct {
	sink     *Sink
	link     *link
	batches  []*batch
	call     *call
	errs     []error // once the call is done
	throttle time.Duration
}

// fly sends the batches to their brokers, and returns when it is known what has
// become of each, or when ctx has ended; and how long the brokers want to be left
// alone.
func (s *Sink) fly(ctx context.Context, batches []*batch) (throttle time.Duration) {
	var order []string
	by := make(map[string][]*batch)
	for _, b := range batches {
		if by[b.address] == nil {
			order = append(order, b.address)
		}
		by[b.address] = append(by[b.address], b)
	}
	throttles := make([]time.Duration, len(order))
	var flights sync.WaitGroup
	for i, address := range order[1:] {
		flights.Go(func() { throttles[i+1] = s.flyTo(ctx, address, by[address]) })
	}
	throttles[0] = s.flyTo(ctx, order[0], by[order[0]])
	flights.Wait()
	for _, t := range throttles {
		throttle = max(throttle, t)
	}
	return throttle
}

// flyTo sends the batches of one broker.
func (s *Sink) flyTo(ctx context.Context, address string, batches []*batch) (throttle time.Duration) {
	l, fresh, err := s.linkTo(ctx, address)
	if err != nil {
		if unreachable(err) && ctx.Err() == nil {
			err = &lostError{advertised(err)}
		}
		return fail(batches, err)
	}
	if end, ok := ctx.Deadline(); ok && l.paused() > time.Until(end) {
		fail(batches, fmt.Errorf("broker %s: %w", address, kafka.ThrottlingQuotaExceeded))
		return l.paused()
	}
	for _, b := range batches {
		b.link = l
	}
	requests := s.requests(l, batches)
	for _, r := range requests {
		r.call = l.start(&call{key: kafka.Produce, version: r.version(), body: r.body, landed: r.landed})
	}
	if fresh {
		s.tidy()
	}
	for _, r := range requests {
		_, err := l.wait(ctx, r.call)
		if _, gaveUp := errors.AsType[*givenUpError](err); gaveUp {
			err = silence(ctx, nil)
			for _, b := range r.batches {
				b.err = err
			}
			continue // r's errors are not final
		}
		throttle = max(throttle, r.throttle)
		for i, b := range r.batches {
			b.err = r.errs[i]
		}
	}
	return throttle
}

// fail says why nothing was sent.
func fail(batches []*batch, err error) (throttle time.Duration) {
	for _, b := range batches {
		b.err, b.link = err, nil
	}
	return 0
}

// requests spreads the batches over as few requests as can be: brokers take one
// batch a partition in each.
func (s *Sink) requests(l *link, batches []*batch) (all []*request) {
	nth := make(map[place]int)
	for _, b := range batches {
		n := nth[b.place]
		nth[b.place]++
		if n == len(all) {
			all = append(all, &request{sink: s, link: l})
		}
		all[n].batches = append(all[n].batches, b)
	}
	return all
}

func (r *request) version() int16 {
	version, _ := r.link.versions.Best(kafka.Produce) // greet has looked
	return version
}

// body gives the batches their numbers, in the order in which they are written,
// and appends them. Batches of one topic stand together.
func (r *request) body(dst []byte) ([]byte, error) {
	if err := r.number(); err != nil {
		return dst, err
	}
	var topics []string
	by := make(map[string][]*batch)
	for _, b := range r.batches {
		kafka.Seal(b.bytes, b.numbers.id, b.numbers.epoch, b.sequence)
		if by[b.topic] == nil {
			topics = append(topics, b.topic)
		}
		by[b.topic] = append(by[b.topic], b)
	}
	dst = kafka.AppendProduce(dst, int32(ackTimeout.Milliseconds()), len(topics))
	for _, t := range topics {
		dst = kafka.AppendTopic(dst, t, len(by[t]))
		for _, b := range by[t] {
			dst = kafka.AppendPartition(dst, b.partition, b.bytes)
		}
	}
	return dst, nil
}

// number gives all batches numbers that have none, or none of them.
func (r *request) number() error {
	r.sink.mu.Lock()
	defer r.sink.mu.Unlock()
	var taken []*batch
	for _, b := range r.batches {
		if b.numbers != nil {
			continue
		}
		if err := r.sink.numbers.take(b); err != nil {
			for _, b := range taken {
				b.numbers = nil // spent, so nobody else gets them
			}
			return err
		}
		taken = append(taken, b)
	}
	return nil
}

// landed notes what has become of each batch, whether anybody waits for it or not.
// It runs before the next answer is read.
func (r *request) landed(k *call) {
	r.errs = make([]error, len(r.batches))
	err := k.err
	if err == nil {
		err = r.hear(k)
	}
	failed := false
	r.sink.mu.Lock()
	defer r.sink.mu.Unlock()
	for i, b := range r.batches {
		if err != nil {
			r.errs[i] = err
		}
		if r.errs[i] == nil {
			continue
		}
		failed = true
		if b.numbers != nil && remedyFor(r.errs[i]) != repeat {
			b.numbers.spent = true
		}
	}
	if !failed {
		r.sink.home = r.link.address
		if r.throttle > 0 {
			r.link.pause(r.throttle)
		}
	}
}

// hear reads an answer, which must have a word for each batch and for no other.
func (r *request) hear(k *call) error {
	all, throttle, err := kafka.ParseProduce(k.answer, k.version)
	if err != nil {
		return r.link.mumbled(err)
	}
	r.throttle = throttle
	words := make(map[place]kafka.Produced, len(all))
	for _, p := range all {
		words[place{p.Topic, p.Partition}] = p
	}
	if len(words) != len(all) || len(all) != len(r.batches) {
		return r.link.mumbled(kafka.ErrAnswer)
	}
	for i, b := range r.batches {
		word, ok := words[b.place]
		if !ok {
			return r.link.mumbled(kafka.ErrAnswer)
		}
		if b.repeated && errors.Is(word.Err, kafka.DuplicateSequenceNumber) {
			word.Err = nil // it is what we have repeated, and the broker has more of us behind it
		}
		if word.Err != nil {
			r.errs[i] = fmt.Errorf("partition %d of topic %s: %w", b.partition, b.topic, word.Err)
		}
	}
	return nil
}
