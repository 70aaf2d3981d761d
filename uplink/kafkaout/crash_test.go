//go:build !nokafka

package kafkaout

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate/tidegate/uplink"
)

// Brokers are killed in mid-stream, ten times: whatever was acknowledged is
// there, whole.
func TestKillInMidStream(t *testing.T) {
	b := newBroker(t)
	kcat(t, b.addr, topic) // or skip now
	sink := newSink(t, Config{Brokers: []string{b.addr}})
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	acked, failed := make(map[string]string), 0
	var next, sent atomic.Int64
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1))
				m := numbered(n, strings.Repeat(fmt.Sprint("body ", n, ";"), 500))
				for ctx.Err() == nil {
					try, cancel := context.WithTimeout(ctx, 5*time.Second)
					err := sink.Send(try, m)
					cancel()
					if err == nil {
						mu.Lock()
						acked[m.Key.String()] = string(m.Body)
						mu.Unlock()
						sent.Add(1)
						break
					}
					checkClass(t, err, transient)
					mu.Lock()
					failed++
					mu.Unlock()
				}
			}
		})
	}
	for range 10 {
		waitForMore(t, &sent, 10)
		b.kill()
		b.start()
	}
	waitForMore(t, &sent, 10)
	stop()
	senders.Wait()
	there := make(map[string]string)
	all := kcat(t, b.addr, topic)
	for _, s := range all {
		there[s.Headers[1]] = s.Payload
	}
	for key, body := range acked {
		if there[key] != body {
			t.Errorf("%s was acknowledged, and %d of its %d bytes are there", key, len(there[key]), len(body))
		}
	}
	t.Logf("10 kills, %d acknowledged, %d attempts failed, %d records for %d keys", len(acked), failed, len(all), len(there))
}

// waitForMore waits until the count has grown.
func waitForMore(t *testing.T, count *atomic.Int64, by int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	begun, late := count.Load(), time.After(patience)
	for count.Load() < begun+by {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("nothing goes on")
		}
	}
}

func TestFrozenBrokerHoldsNobody(t *testing.T) {
	b := newBroker(t)
	sink := newSink(t, Config{Brokers: []string{b.addr}})
	if err := sink.Send(within(t), numbered(1, "one")); err != nil {
		t.Fatal(err)
	}
	b.signal(syscall.SIGSTOP)
	for _, size := range []int{10, 900_000} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		begun := time.Now()
		err := sink.Send(ctx, numbered(2, strings.Repeat("x", size)))
		cancel()
		checkClass(t, err, transient)
		if took := time.Since(begun); took > patience/4 {
			t.Errorf("Send held on for %v", took)
		}
	}
	b.signal(syscall.SIGCONT)
	if err := sink.Send(within(t), numbered(2, "two")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// The receiver of the documentation counts each reading once, although messages
// come again whole and in other pieces, the broker is killed and the receiver is
// killed in the middle of its work.
func TestReceiverCountsEachReadingOnce(t *testing.T) {
	requirePython(t, "confluent_kafka", "python3-confluent-kafka")
	const messages, each = 60, 50
	b := newBroker(t)
	database := filepath.Join(t.TempDir(), "readings.db")
	receiver := receive(t, "kafka.py", b.addr, topic, database)
	for i := range messages {
		sink := newSink(t, Config{Brokers: []string{b.addr}, Compression: "zstd"})
		m := document(uint64(i*each+1), uint64((i+1)*each))
		mustSend(t, sink, m)
		if i%3 == 0 { // the answer was lost
			mustSend(t, sink, m)
		}
		if i%4 == 0 { // a crash of the gateway, which cuts otherwise afterwards
			mustSend(t, sink, document(uint64(max(i*each-each/2, 1)), uint64(i*each+each/2)))
		}
		sink.Close()
		switch i {
		case 15, 33:
			receiver.waitFor(t, 1)
			receiver.kill()
			receiver = receive(t, "kafka.py", b.addr, topic, database)
		case 45:
			b.kill() // the receiver connects again by itself
			b.start()
		}
	}
	receiver.waitFor(t, messages*each)
	receiver.kill()
	if got, want := stored(t, database), fmt.Sprint(messages*each, messages*each, 1, messages*each, 0); got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
}

func mustSend(t *testing.T, sink uplink.Sink, m uplink.Message) {
	t.Helper()
	if err := sink.Send(within(t), m); err != nil {
		t.Fatal(err)
	}
}
