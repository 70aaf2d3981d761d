//go:build !nokafka

package kafkaout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidegate/tidegate/uplink"
)

// errHungUp is how brokers before Kafka 1.0, and some others, refuse a login.
var errHungUp = errors.New("the broker closed the connection during the login")

// session is one client of the library: its connections to the brokers, and a
// producer's number. It is given up as a whole, because the library would go on
// trying whatever had been in flight over a connection that broke.
type session struct {
	sink   *Sink
	client *kgo.Client
	idle   *time.Timer
	users  int // under the Sink's lock

	once   sync.Once
	err    error         // why it ended
	broken chan struct{} // closed then

	throttle atomic.Int64 // the delay that a broker has asked for, in ns
	learnt   atomic.Bool  // the next session has other limits

	mu      sync.Mutex
	leaders map[int32]struct{} // brokers that our records go to
	missed  error              // the last connection that could not be made
}

func (k *session) isBroken() bool {
	select {
	case <-k.broken:
		return true
	default:
		return false
	}
}

// disconnected says that the session broke, and not because of anything that a
// broker said.
func (k *session) disconnected() bool {
	return k.isBroken() && !errors.Is(k.err, errRetired) && !said(k.err)
}

// fail ends the session and all that is in flight in it. Only the first reason
// counts.
func (k *session) fail(reason error) {
	k.once.Do(func() {
		k.err = reason
		close(k.broken)
		// Elsewhere: this may be a call of the library's own, which Close waits
		// for.
		go func() {
			k.client.Close()
			k.sink.gone(k)
		}()
	})
}

// send produces the pieces, and those once more whose time a broker did not like.
func (k *session) send(ctx context.Context, m uplink.Message) error {
	defer k.bind(ctx)()
	records := k.sink.records(m)
	if err := k.learn(ctx, records); err != nil {
		return k.worst([]error{k.because(err)})
	}
	errs := k.produce(ctx, records)
	var again []*kgo.Record
	for i, r := range records {
		if errors.Is(errs[i], kerr.InvalidTimestamp) && !r.Timestamp.IsZero() {
			again = append(again, &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers})
			errs[i] = nil
		}
	}
	if again != nil {
		errs = append(errs, k.produce(ctx, again)...)
	}
	err := k.worst(errs)
	if err == nil {
		k.throttle.Store(0)
		return nil
	}
	if uplink.IsTooLarge(err) && k.relearn(ctx, records) {
		k.learnt.Store(true)
		k.sink.retire(k)
	}
	return err
}

// bind ends the session with ctx, because the library does not stop at its end
// whatever it is doing. The function that it returns ends that.
func (k *session) bind(ctx context.Context) (release func() bool) {
	return context.AfterFunc(ctx, func() { k.fail(k.silence(ctx.Err())) })
}

// because returns why the session ended, unless a broker has said something
// about the matter itself.
func (k *session) because(err error) error {
	if k.isBroken() && !said(err) {
		return k.err
	}
	return err
}

// said reports whether err is the word of a broker.
func said(err error) bool { return errors.As(err, new(*kerr.Error)) }

// produce sends the records and returns an error for each, nil where all
// replicas in sync have it. It returns soon after ctx or the session has ended;
// what the library still has then is of no consequence.
func (k *session) produce(ctx context.Context, records []*kgo.Record) []error {
	tally := &tally{errs: make([]error, len(records)), left: len(records), done: make(chan struct{})}
	for i, r := range records {
		k.client.Produce(ctx, r, func(_ *kgo.Record, err error) { tally.note(i, err) })
	}
	select {
	case <-tally.done:
	case <-k.broken:
	}
	return tally.result(k.because)
}

// silence says why nothing was heard until err, as far as that is known.
func (k *session) silence(err error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.missed != nil {
		return fmt.Errorf("%w, after %w", err, k.missed)
	}
	return fmt.Errorf("%w — hint: no acknowledgement in time; the link is slow or dead, or the topic has fewer replicas in sync than min.insync.replicas", err)
}

// worst returns the error that decides about the message.
func (k *session) worst(errs []error) error {
	var worst error
	rank := 0
	for _, err := range errs {
		if err == nil {
			continue
		}
		judged, keep := judge(err, time.Duration(k.throttle.Load()))
		if !keep {
			k.fail(err)
		} else if moved(err) {
			k.client.ForceMetadataRefresh()
		}
		if r := rankOf(judged); r > rank {
			worst, rank = judged, r
		}
	}
	return worst
}

// rankOf orders errors: what is refused for good must be bisected before
// anything else can be said about the rest.
func rankOf(err error) int {
	_, asked := uplink.RetryDelay(err)
	switch {
	case uplink.IsTooLarge(err):
		return 4
	case uplink.IsPermanent(err):
		return 3
	case asked:
		return 2
	}
	return 1
}

// tally collects what has become of records.
type tally struct {
	mu   sync.Mutex
	errs []error
	set  []bool
	left int
	done chan struct{} // closed when none is left
}

func (t *tally) note(i int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.set == nil {
		t.set = make([]bool, len(t.errs))
	}
	t.errs[i], t.set[i] = err, true
	if t.left--; t.left == 0 {
		close(t.done)
	}
}

// errUnheard is what is known of a record that was not answered for.
var errUnheard = errors.New("no acknowledgement")

// result returns what is known now, nil for those only that were acknowledged.
// explain makes another error of each.
func (t *tally) result(explain func(error) error) []error {
	t.mu.Lock()
	defer t.mu.Unlock()
	errs := make([]error, len(t.errs))
	for i, err := range t.errs {
		if t.set == nil || !t.set[i] {
			err = errUnheard
		}
		if err != nil {
			errs[i] = explain(err)
		}
	}
	return errs
}

// What the library tells about its connections.

// OnBrokerConnect is called for every connection, made or not. One to a broker
// that has nothing of ours is not needed, and neither is one of the first
// brokers as long as another answers.
func (k *session) OnBrokerConnect(b kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	k.mu.Lock()
	_, needed := k.leaders[b.NodeID]
	if err != nil {
		err = fmt.Errorf("broker %s: %w", place(b), err)
		if needed {
			err = advertised(b, err)
		}
		k.missed = err
	}
	k.mu.Unlock()
	if err != nil && needed {
		k.fail(err)
	}
}

// OnBrokerE2E is called for every request that was written, or should have been.
func (k *session) OnBrokerE2E(b kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	err := e2e.Err()
	switch {
	case err == nil:
	case key == int16(kmsg.Produce):
		k.fail(fmt.Errorf("broker %s: %w", place(b), err))
	case key == int16(kmsg.SASLAuthenticate) || key == int16(kmsg.SASLHandshake):
		if errors.Is(err, io.EOF) {
			k.fail(errHungUp)
		}
	}
}

// OnBrokerThrottle is called when a broker wants to be left alone for a while.
func (k *session) OnBrokerThrottle(_ kgo.BrokerMetadata, d time.Duration, _ bool) {
	k.throttle.Store(int64(d))
}

// OnProduceRecordPartitioned is called when it is known which broker gets a
// record.
func (k *session) OnProduceRecordPartitioned(_ *kgo.Record, leader int32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.leaders[leader] = struct{}{}
}

func place(b kgo.BrokerMetadata) string {
	return net.JoinHostPort(b.Host, fmt.Sprint(b.Port))
}
