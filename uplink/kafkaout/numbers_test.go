//go:build !nokafka

package kafkaout

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidegate/tidegate/uplink"
)

// asked counts the requests of a cluster.
type asked struct {
	mu    sync.Mutex
	count map[kmsg.Key]int
}

func counts(cluster *kfake.Cluster) *asked {
	a := &asked{count: make(map[kmsg.Key]int)}
	cluster.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.count[kmsg.Key(r.Key())]++
		return nil, nil, false
	})
	return a
}

func (a *asked) of(k kmsg.Key) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count[k]
}

// held is a cluster whose answers to Produce wait, each for its turn.
func held(t *testing.T, cluster *kfake.Cluster) (release func()) {
	turns := make(chan struct{}, 100)
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		cluster.SleepControl(func() {
			select {
			case <-turns:
			case <-t.Context().Done():
			}
		})
		return nil, nil, false
	})
	t.Cleanup(func() { close(turns) })
	return func() { turns <- struct{}{} }
}

// sending starts a Send, and waits until it is the n-th on its way.
func sending(t *testing.T, ctx context.Context, sink *Sink, address string, n int, m uplink.Message) <-chan error {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- sink.Send(ctx, m) }()
	flying(t, sink, address, n)
	return result
}

// The first message after a start takes one connection and four round trips: the
// connection, what the broker speaks, all questions at once, the message.
func TestTheFirstMessageTakesFourRoundTrips(t *testing.T) {
	cluster := newCluster(t)
	a := counts(cluster)
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
	for range 3 {
		mustSend(t, sink, message("body"))
	}
	for key, want := range map[kmsg.Key]int{kmsg.ApiVersions: 1, kmsg.Metadata: 1, kmsg.InitProducerID: 1, kmsg.DescribeConfigs: 1, kmsg.Produce: 3} {
		if got := a.of(key); got != want {
			t.Errorf("%d of %s, want %d", got, key.Name(), want)
		}
	}
	sink.rest()
	mustSend(t, sink, message("body"))
	if a.of(kmsg.ApiVersions) != 2 || a.of(kmsg.Metadata) != 1 || a.of(kmsg.InitProducerID) != 1 {
		t.Errorf("after a rest everything is asked again: %v", a.count)
	}
}

// A Send that gives up while the broker is alive leaves its batch its number and
// its place, so those behind it need not know of it.
func TestSendThatGivesUpTakesNobodyAlong(t *testing.T) {
	cluster := newCluster(t)
	address := cluster.ListenAddrs()[0]
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
	mustSend(t, sink, numbered(0, "before"))
	a, release := counts(cluster), held(t, cluster)
	first := sending(t, within(t), sink, address, 1, numbered(1, "first"))
	hasty, cancel := context.WithCancel(within(t))
	second := sending(t, hasty, sink, address, 2, numbered(2, "gives up"))
	third := sending(t, within(t), sink, address, 3, numbered(3, "third"))
	release()
	if err := <-first; err != nil {
		t.Error(err)
	}
	cancel() // the broker has been heard since
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	release()
	release()
	if err := <-third; err != nil {
		t.Error(err)
	}
	release()
	mustSend(t, sink, numbered(4, "afterwards"))
	if a.of(kmsg.InitProducerID) != 0 || a.of(kmsg.ApiVersions) != 0 {
		t.Errorf("it cost a connection or the numbers: %v", a.count)
	}
	if info := cluster.PartitionInfo(topic, 0); info.HighWatermark != 5 {
		t.Errorf("%d records are there, want 5", info.HighWatermark)
	}
}

// The same, and the batch that nobody waits for is then refused: that is a gap for
// those behind it, who are sent again under new numbers.
func TestGapOfASendThatHasGivenUp(t *testing.T) {
	cluster := newCluster(t)
	address := cluster.ListenAddrs()[0]
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
	mustSend(t, sink, numbered(0, "before"))
	a, release := counts(cluster), held(t, cluster)
	first := sending(t, within(t), sink, address, 1, numbered(1, "first"))
	hasty, cancel := context.WithCancel(within(t))
	second := sending(t, hasty, sink, address, 2, numbered(2, "gives up"))
	third := sending(t, within(t), sink, address, 3, numbered(3, "third"))
	fourth := sending(t, within(t), sink, address, 4, numbered(4, "fourth"))
	release()
	<-first
	cancel()
	<-second
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas})
	for range 5 { // the refused one, two behind it, and these once more
		release()
	}
	for _, result := range []<-chan error{third, fourth} {
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
	if n := a.of(kmsg.InitProducerID); n != 1 {
		t.Errorf("%d new numbers, want one for all", n)
	}
	if info := cluster.PartitionInfo(topic, 0); info.HighWatermark != 4 {
		t.Errorf("%d records are there, want 4", info.HighWatermark)
	}
}

// Nothing is heard of the broker at all: the connection goes, and those who still
// have time try another one at once.
func TestFirstOfTwoGetsNoAnswer(t *testing.T) {
	cluster := newCluster(t)
	address := cluster.ListenAddrs()[0]
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
	mustSend(t, sink, numbered(0, "before"))
	arrived := make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		close(arrived)
		return nil, nil, true // swallows it, and all that comes behind it
	})
	hasty, cancel := context.WithCancel(within(t))
	first := sending(t, hasty, sink, address, 1, numbered(1, "first"))
	<-arrived
	second := sending(t, within(t), sink, address, 2, numbered(2, "second"))
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
	mustSend(t, sink, numbered(1, "first"))
	there := consumed(t, cluster, topic)
	for n := range 3 {
		if there[numbered(n, "").Key.String()] != 1 {
			t.Errorf("message %d is there %d times", n, there[numbered(n, "").Key.String()])
		}
	}
}

// Five are on their way and never answered, the broker was heard in between, and
// all five have been given up: who comes next must not wait behind them for ever.
func TestPlacesThatAreNeverGivenBack(t *testing.T) {
	cluster := newCluster(t)
	address := cluster.ListenAddrs()[0]
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
	mustSend(t, sink, numbered(0, "before"))
	release := held(t, cluster)
	first := sending(t, within(t), sink, address, 1, numbered(1, "first"))
	hasty, cancel := context.WithCancel(within(t))
	var others []<-chan error
	for n := 2; n <= maxFlying; n++ {
		others = append(others, sending(t, hasty, sink, address, n, numbered(n, "gives up")))
	}
	sixth := make(chan error, 1)
	go func() { sixth <- sink.Send(hasty, numbered(6, "gives up, too")) }()
	waitUntil(t, func() bool { return queued(sink, address) == 1 })
	release()
	if err := <-first; err != nil {
		t.Error(err)
	}
	flying(t, sink, address, maxFlying)
	cancel()
	for _, result := range append(others, sixth) {
		<-result
	}
	if !linked(sink, address) {
		t.Fatal("the connection is gone, so nothing is tested")
	}
	// A Send that had no time to begin has learnt nothing of the connection.
	for n, late := 0, time.Now().Add(patience); n == 0 || linked(sink, address) && time.Now().Before(late); n++ {
		short, end := context.WithTimeout(t.Context(), 100*time.Millisecond)
		checkClass(t, sink.Send(short, numbered(9, "waits in vain")), transient)
		end()
	}
	if linked(sink, address) {
		t.Error("the connection is kept, which owes answers and says nothing")
	}
}

// What is taken back before it was written leaves no gap.
func TestWhatWasNotWrittenHasNoNumber(t *testing.T) {
	cluster := newCluster(t)
	address := cluster.ListenAddrs()[0]
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
	mustSend(t, sink, numbered(0, "before"))
	a, release := counts(cluster), held(t, cluster)
	var results []<-chan error
	for n := 1; n <= maxFlying; n++ {
		results = append(results, sending(t, within(t), sink, address, n, numbered(n, "on its way")))
	}
	hasty, cancel := context.WithCancel(within(t))
	waiting := make(chan error, 1)
	go func() { waiting <- sink.Send(hasty, numbered(6, "waits for a place")) }()
	waitUntil(t, func() bool { return queued(sink, address) == 1 })
	last := make(chan error, 1)
	go func() { last <- sink.Send(within(t), numbered(7, "waits longer")) }()
	waitUntil(t, func() bool { return queued(sink, address) == 2 })
	release()
	<-results[0] // the broker is alive
	// One of the two has a place now; let both have one.
	waitUntil(t, func() bool { return queued(sink, address) == 1 })
	cancel()
	<-waiting
	for range maxFlying + 1 {
		release()
	}
	for _, result := range append(results[1:], last) {
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
	release()
	mustSend(t, sink, numbered(8, "afterwards"))
	if a.of(kmsg.InitProducerID) != 0 || a.of(kmsg.ApiVersions) != 0 {
		t.Errorf("it cost a connection or the numbers: %v", a.count)
	}
}

func queued(sink *Sink, address string) int {
	sink.mu.Lock()
	defer sink.mu.Unlock()
	l := sink.opened[address]
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// "It is a duplicate" is custody only for what was sent before: otherwise somebody
// else's records have the number.
func TestDuplicates(t *testing.T) {
	var said atomic.Int32
	duplicate := func(cluster *kfake.Cluster) {
		cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			said.Add(1)
			return refusal(r.(*kmsg.ProduceRequest), kerr.DuplicateSequenceNumber, 0), nil, true // once
		})
	}
	t.Run("OfARepetition", func(t *testing.T) {
		cluster := newCluster(t)
		sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut})
		var first atomic.Bool
		cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			if first.CompareAndSwap(false, true) {
				cluster.DropControl()
				duplicate(cluster)
			}
			return nil, nil, false
		})
		mustSend(t, sink, message("body"))
		if info := cluster.PartitionInfo(topic, 0); info.HighWatermark != 1 || said.Load() != 1 {
			t.Errorf("%d records, called duplicates %d times; want 1 and 1", info.HighWatermark, said.Load())
		}
	})
	t.Run("OfNothingOfOurs", func(t *testing.T) {
		cluster := newCluster(t)
		sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
		a := counts(cluster)
		duplicate(cluster)
		mustSend(t, sink, message("body"))
		if info := cluster.PartitionInfo(topic, 0); info.HighWatermark != 1 || a.of(kmsg.InitProducerID) != 2 {
			t.Errorf("%d records, %d numbers; want 1 under the second", info.HighWatermark, a.of(kmsg.InitProducerID))
		}
	})
}

func TestNumbersAreTakenOnce(t *testing.T) {
	n := newNumbers(7, 0)
	at := func(partition int32, records int) *batch {
		return &batch{place: place{"t", partition}, records: make([]*record, records)}
	}
	for _, want := range []struct {
		partition int32
		records   int
		sequence  int32
	}{{0, 3, 0}, {1, 5, 0}, {0, 1, 3}, {0, 2, 4}, {1, 1, 5}} {
		b := at(want.partition, want.records)
		if err := n.take(b); err != nil || b.sequence != want.sequence || b.numbers != n {
			t.Errorf("%+v: %d %v", want, b.sequence, err)
		}
	}
	n.next[place{"t", 0}] = math.MaxInt32 - 2
	if err := n.take(at(0, 2)); err != nil {
		t.Error(err)
	}
	if err := n.take(at(0, 1)); !errors.Is(err, errSpent) || !n.spent {
		t.Errorf("%v: a number after the last", err)
	}
	if err := n.take(at(1, 1)); !errors.Is(err, errSpent) {
		t.Errorf("%v: a number of those that are spent", err)
	}
	full := newNumbers(8, 0)
	for p := range int32(maxPlaces) {
		if err := full.take(at(p, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := full.take(at(0, 1)); err != nil {
		t.Error(err)
	}
	if err := full.take(at(maxPlaces, 1)); !errors.Is(err, errSpent) {
		t.Errorf("%v: too many partitions are counted", err)
	}
	if err := (*numbers)(nil).take(at(0, 1)); !errors.Is(err, errSpent) {
		t.Error(err)
	}
}

// consumed returns how often each key is in a topic, as franz-go reads it.
func consumed(t *testing.T, cluster *kfake.Cluster, topic string) map[string]int {
	t.Helper()
	there := make(map[string]int)
	for _, r := range fetched(t, cluster, topic) {
		for _, h := range r.Headers {
			if h.Key == KeyHeader {
				there[fmt.Sprintf("%s", h.Value)]++
			}
		}
	}
	return there
}
