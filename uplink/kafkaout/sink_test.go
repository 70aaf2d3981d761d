//go:build !nokafka

package kafkaout

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/internal/base/leaktest"
	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/uplink"
)

func TestAnotherBrokerIsAskedWhenTheFirstIsAway(t *testing.T) {
	sink := newSink(t, Config{Brokers: append([]string{porttest.For(t)}, newCluster(t).ListenAddrs()...)})
	if err := sink.Send(within(t), message("body")); err != nil {
		t.Error(err)
	}
}

// Everybody meets this once: the first address works, and the brokers then name
// one that does not.
func TestAdvertisedAddressThatIsNotReachedIsNamed(t *testing.T) {
	real := newCluster(t).ListenAddrs()[0]
	sink := newSink(t, Config{Brokers: []string{"kafka.example:9092"}, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "kafka.example:9092" {
			address = real
		} else {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}})
	begun := time.Now()
	err := sink.Send(within(t), message("body"))
	checkClass(t, err, transient)
	for _, want := range []string{real, "advertised.listeners", "refused"} {
		if err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
	if took := time.Since(begun); took > patience/4 {
		t.Errorf("it took %v to find out", took)
	}
}

// Brokers close connections that they think idle, and restart at night. That is
// no outage.
func TestRestedConnectionThatIsClosedCostsNothing(t *testing.T) {
	cluster := newCluster(t)
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
	if err := sink.Send(within(t), message("one")); err != nil {
		t.Fatal(err)
	}
	var cut atomic.Int32
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cut.Add(1)
		return nil, errors.New("closes the connection"), true // once
	})
	if err := sink.Send(within(t), message("two")); err != nil {
		t.Error(err)
	}
	if cut.Load() != 1 {
		t.Errorf("%d connections were closed, want 1", cut.Load())
	}
}

// What is refused has others before it and behind it on their way to the same
// partition: those behind are refused, too, for the gap.
func TestOnlyWhatWasRefusedIsHeldAgainst(t *testing.T) {
	const sends = 5
	cluster := newCluster(t)
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
	if err := sink.Send(within(t), message("before")); err != nil {
		t.Fatal(err)
	}
	var gaps atomic.Int32
	var refusedOne atomic.Bool
	gate := make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		cluster.SleepControl(func() { <-gate })
		req := r.(*kmsg.ProduceRequest)
		if string(recordsIn(t, req)[0].Body) == "poison" {
			refusedOne.Store(true)
			return refusal(req, kerr.InvalidRecord, 0), nil, true
		}
		if refusedOne.Load() && sequenceIn(t, req) > 1 {
			gaps.Add(1)
		}
		return nil, nil, false
	})
	ctx := within(t)
	var tasks sync.WaitGroup
	for i := range sends {
		tasks.Go(func() {
			body := fmt.Sprint("body ", i)
			if i == 1 {
				body = "poison"
			}
			if err := sink.Send(ctx, numbered(i, body)); uplink.IsPermanent(err) != (i == 1) || i != 1 && err != nil {
				t.Errorf("message %d: %v", i, err)
			}
		})
		flying(t, sink, cluster.ListenAddrs()[0], i+1)
	}
	close(gate)
	tasks.Wait()
	if gaps.Load() == 0 {
		t.Error("nobody was behind the poison, so nothing was tested")
	}
	if info := cluster.PartitionInfo(topic, 0); info.HighWatermark != sends {
		t.Errorf("%d records are there, want %d", info.HighWatermark, sends)
	}
}

// flying waits until so many requests of the sink are on their way to the broker.
func flying(t *testing.T, sink *Sink, address string, requests int) {
	t.Helper()
	waitUntil(t, func() bool {
		sink.mu.Lock()
		l := sink.opened[address]
		sink.mu.Unlock()
		if l == nil {
			return false
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.flying) >= requests
	})
}

func waitUntil(t *testing.T, so func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !so() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it does not happen")
		}
	}
}

// sequenceIn is the number of the first record of a request.
func sequenceIn(t *testing.T, req *kmsg.ProduceRequest) int32 {
	var batch kmsg.RecordBatch
	if err := batch.ReadFrom(req.Topics[0].Partitions[0].Records); err != nil {
		t.Errorf("the batch cannot be read: %v", err)
	}
	return batch.FirstSequence
}

// ending notes the connections that were made and those that were closed.
type ending struct {
	net.Conn
	closed *atomic.Int32
	once   *sync.Once
}

func (c ending) Close() error {
	c.once.Do(func() { c.closed.Add(1) })
	return c.Conn.Close()
}

func TestConnectionsThatRestAreClosed(t *testing.T) {
	cluster := newCluster(t)
	before := goleak.IgnoreCurrent()
	var dials, closed atomic.Int32
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs(), IdleTimeout: minIdle, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		return ending{c, &closed, new(sync.Once)}, err
	}})
	for round := range int32(2) {
		if err := sink.Send(within(t), message("body")); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, func() bool { return closed.Load() == round+1 })
		if n := dials.Load(); n != round+1 {
			t.Errorf("round %d: %d connections were made, want one a round", round, n)
		}
	}
	sink.Close()
	leaktest.None(t, before, goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*broker).listen"))
}

// A Send that was given up leaves nothing behind: no record, no connection.
func TestWhatWasGivenUpIsNotKept(t *testing.T) {
	cluster := newCluster(t)
	release := make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.SleepControl(func() { <-release })
		return nil, nil, false
	})
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
	// A Send that had no time to begin has learnt nothing of a connection.
	for n, late := 0, time.Now().Add(patience); n < 3 || linked(sink, cluster.ListenAddrs()[0]) && time.Now().Before(late); n++ {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		err := sink.Send(ctx, message("body"))
		cancel()
		checkClass(t, err, transient)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the end of its context", err)
		}
	}
	close(release)
	if linked(sink, cluster.ListenAddrs()[0]) {
		t.Error("the connection is still there, over which nothing was heard")
	}
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	cluster := newCluster(t)
	arrived := make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		close(arrived)
		return nil, nil, true // never answers
	})
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
	sent := make(chan error, 1)
	go func() { sent <- sink.Send(within(t), message("body")) }()
	<-arrived
	if err := sink.Close(); err != nil {
		t.Error(err)
	}
	if err := <-sent; !errors.Is(err, errClosed) {
		t.Errorf("%v, want %v", err, errClosed)
	}
	if err := sink.Send(within(t), message("body")); !errors.Is(err, errClosed) {
		t.Errorf("afterwards: %v, want %v", err, errClosed)
	}
}

func TestPiecesTravelTogether(t *testing.T) {
	cluster := newCluster(t)
	var requests atomic.Int32
	var mu sync.Mutex
	var keys []string
	cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		requests.Add(1)
		mu.Lock()
		defer mu.Unlock()
		for _, m := range recordsIn(t, r.(*kmsg.ProduceRequest)) {
			keys = append(keys, m.Key)
		}
		return nil, nil, false
	})
	m, want := cut(500)
	if err := newSink(t, Config{Brokers: cluster.ListenAddrs()}).Send(within(t), m); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(keys, want) {
		t.Errorf("%d records arrived, want %d in their order", len(keys), len(want))
	}
	if n := requests.Load(); n > 5 {
		t.Errorf("500 pieces took %d requests", n)
	}
}

// cut returns a message in n parts, and their keys.
func cut(n int) (m uplink.Message, keys []string) {
	m = message(strings.Repeat(`{"value":21.5}`, n))
	m.First, m.Last, m.Count = 1, uint64(n), n
	size := len(m.Body) / n
	for i := range n {
		p := uplink.Part{Body: m.Body[i*size : (i+1)*size], First: uint64(i) + 1, Last: uint64(i) + 1, Count: 1,
			Device: fmt.Sprintf("dev-%d", i%7), Metric: "temp", Time: time.Now().UnixNano()}
		m.Parts = append(m.Parts, p)
		keys = append(keys, m.PartKey(p))
	}
	return m, keys
}

func TestTimeThatIsNotTakenIsReplaced(t *testing.T) {
	cluster := newCluster(t)
	cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		return refusal(r.(*kmsg.ProduceRequest), kerr.InvalidTimestamp, 0), nil, true // once
	})
	m, _ := cut(3)
	if err := newSink(t, Config{Brokers: cluster.ListenAddrs()}).Send(within(t), m); err != nil {
		t.Error(err)
	}
	if info := cluster.PartitionInfo(topic, 0); info.HighWatermark != 3 {
		t.Errorf("%d records are there, want 3", info.HighWatermark)
	}
}

func TestNamesOfTopics(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, c := range []struct{ template, device, want string }{
		{"telemetry", "", "telemetry"},
		{"t.{gateway}.{lane}", "", "t.north-7.normal"},
		{"t.{device}", "Halle 3/Motor #1 ü", "t.Halle_3_Motor__1__"},
		{"{device}", "", "_"},
		{"{device}", "..", "_.."},
		{"{device}", long, long[:240] + "-1b432d13"},
	} {
		s := &Sink{cfg: Config{Topic: parsed(t, c.template), Key: parsed(t, "{device}")}}
		m := message("body")
		m.Parts = []uplink.Part{{Body: m.Body, First: 1, Last: 99, Count: 99, Device: c.device}}
		r := s.records(m)[0]
		if r.Topic != c.want || len(r.Topic) > maxTopic {
			t.Errorf("%s of %.20q: %q, want %q", c.template, c.device, r.Topic, c.want)
		}
		if string(r.Key) != c.device {
			t.Errorf("key %.20q, want the device", r.Key)
		}
	}
}

// A time that cannot be true is not told, nor any if that is wanted.
func TestTimestamps(t *testing.T) {
	now := time.Now().UnixNano()
	for _, c := range []struct {
		at   int64
		sent bool
		want bool
	}{{now, false, true}, {now, true, false}, {3600e9, false, false}, {0, false, false}, {-1, false, false}} {
		s := &Sink{cfg: Config{Topic: parsed(t, topic), SendTime: c.sent}}
		m := message("body")
		m.Parts = []uplink.Part{{Body: m.Body, First: 1, Last: 99, Count: 99, Time: c.at}}
		if r := s.records(m)[0]; (r.Time != 0) != c.want || c.want && r.Time != c.at/1e6 {
			t.Errorf("%+v: %v", c, r.Time)
		}
	}
}

func TestConfigurationsThatAreMistakes(t *testing.T) {
	for hint, cfg := range map[string]Config{
		"at least one":     {},
		"without a scheme": {Brokers: []string{"kafka://host:9092"}},
		"host:port":        {Brokers: []string{"host:0"}},
		"gzip, snappy":     {Brokers: []string{"host"}, Topic: parsed(t, "t"), Compression: "brotli"},
		"scram-sha-256":    {Brokers: []string{"host"}, Topic: parsed(t, "t"), SASL: SASL{Mechanism: "gssapi"}},
		"topic = ":         {Brokers: []string{"[::1]:9092"}},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%v, want %q in it", err, hint)
		}
	}
}

// FuzzTopicNamesAreLegal: no name of a device can make a topic that brokers
// refuse, which would stop the link.
func FuzzTopicNamesAreLegal(f *testing.F) {
	for _, name := range []string{"", ".", "..", "Halle 3/Motor #1 ü", strings.Repeat("x", 300), "a\x00b", "\xff"} {
		f.Add(name)
	}
	legal := regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`) // as of org.apache.kafka.common.internals.Topic
	f.Fuzz(func(t *testing.T, device string) {
		for _, prefix := range []string{"", "plant."} {
			name := topicName(prefix + topicText(device))
			if !legal.MatchString(name) || name == "." || name == ".." {
				t.Errorf("%q makes %q", device, name)
			}
		}
	})
}
