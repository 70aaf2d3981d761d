//go:build !nokafka

package kafkaout

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidegate/tidegate/uplink"
)

// fetched returns all records of a topic, as franz-go reads them.
func fetched(t *testing.T, cluster *kfake.Cluster, topic string) (all []*kgo.Record) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var want int64
	for _, p := range cluster.PartitionInfos(topic) {
		want += p.HighWatermark
	}
	for int64(len(all)) < want {
		fetches := client.PollFetches(within(t))
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		all = append(all, fetches.Records()...)
	}
	return all
}

// ledger is what a storm keeps: what each number was used for, and what was
// acknowledged.
type ledger struct {
	t      *testing.T
	mu     sync.Mutex
	random *rand.Rand
	used   map[string]uint32 // a checksum of the records
	acked  map[string]string // bodies by key
	failed int
}

// number notes what a number is used for. Another use would be a reading lost: the
// broker takes it for what it has already.
func (l *ledger) number(req *kmsg.ProduceRequest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			var b kmsg.RecordBatch
			if err := b.ReadFrom(p.Records); err != nil {
				l.t.Errorf("a batch cannot be read: %v", err)
				continue
			}
			for n := range b.NumRecords {
				name := fmt.Sprint(b.ProducerID, b.ProducerEpoch, topic.Topic, p.Partition, b.FirstSequence+n)
				sum := crc32.ChecksumIEEE(b.Records) + uint32(n)
				if before, ok := l.used[name]; ok && before != sum {
					l.t.Errorf("number %s was used twice", name)
				}
				l.used[name] = sum
			}
		}
	}
}

func (l *ledger) roll(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.random.IntN(n)
}

// weather is what happens to a Produce request: most arrive.
func (l *ledger) weather(cluster *kfake.Cluster, r kmsg.Request) (kmsg.Response, error, bool) {
	cluster.KeepControl()
	req := r.(*kmsg.ProduceRequest)
	l.number(req)
	faults := []*kerr.Error{kerr.NotEnoughReplicas, kerr.NotLeaderForPartition, kerr.InvalidRecord, kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID,
		kerr.UnknownServerError, kerr.KafkaStorageError, kerr.InvalidTimestamp, kerr.MessageTooLarge}
	switch n := l.roll(150); {
	case n < len(faults):
		return refusal(req, faults[n], 0), nil, true
	case n < len(faults)+2:
		return nil, errors.New("closes the connection"), true
	case n < len(faults)+4:
		return nil, nil, true // never answers
	case n < len(faults)+8: // it is there, and not everywhere
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: []*kerr.Error{kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend}[n%2]})
	case n < len(faults)+12:
		pause := time.Duration(l.roll(60)) * time.Millisecond
		cluster.SleepControl(func() { <-time.After(pause) })
	}
	return nil, nil, false
}

// In all weathers: what was acknowledged is there, whole, and no number of a
// producer is ever given to other records.
func TestStorm(t *testing.T) {
	const senders, each, partitions, brokers = 6, 25, 4, 3
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	cluster := newCluster(t, kfake.NumBrokers(brokers), kfake.SeedTopics(partitions, "sea"))
	l := &ledger{t: t, random: rand.New(rand.NewPCG(seed, 1)), used: make(map[string]uint32), acked: make(map[string]string)}
	cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) { return l.weather(cluster, r) })
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs(), Topic: parsed(t, "sea"), Key: parsed(t, "{device}"), Compression: "lz4"})
	ctx, calm := context.WithCancel(t.Context())
	var movers, tasks sync.WaitGroup
	movers.Go(func() {
		for ctx.Err() == nil {
			pause(ctx, time.Duration(300+l.roll(600))*time.Millisecond)
			if err := cluster.MoveTopicPartition("sea", int32(l.roll(partitions)), int32(l.roll(brokers))); err != nil {
				t.Error(err)
			}
			if l.roll(8) == 0 {
				sink.rest() // does nothing while somebody sends
			}
		}
	})
	for s := range senders {
		tasks.Go(func() {
			for i := range each {
				m := scattered(uint64(s*each+i), 1+l.roll(12))
				for !l.try(sink, m) {
					continue
				}
			}
		})
	}
	tasks.Wait()
	calm()
	movers.Wait()
	there := make(map[string]string)
	records := fetched(t, cluster, "sea")
	for _, r := range records {
		there[string(r.Headers[0].Value)] = string(r.Value)
	}
	for key, body := range l.acked {
		if there[key] != body {
			t.Errorf("%s was acknowledged, and %q is there", key, there[key])
		}
	}
	if l.failed == 0 || len(l.acked) < senders*each {
		t.Errorf("%d failed, %d acknowledged: there was no storm", l.failed, len(l.acked))
	}
	t.Logf("%d records acknowledged, %d Sends failed, %d records there", len(l.acked), l.failed, len(records))
}

// try sends once, for as long as a hasty Forwarder would wait.
func (l *ledger) try(sink *Sink, m uplink.Message) bool {
	ctx, cancel := context.WithTimeout(l.t.Context(), 400*time.Millisecond)
	defer cancel()
	err := sink.Send(ctx, m)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed++
		return false
	}
	for _, p := range m.Pieces() {
		l.acked[m.PartKey(p)] = string(p.Body)
	}
	return true
}

// scattered is a message of parts for several partitions.
func scattered(n uint64, parts int) uplink.Message {
	m := message("")
	m.First, m.Last, m.Count = n*100+1, n*100+uint64(parts), parts
	var ends []int
	for i := range parts {
		m.Body = append(m.Body, strings.Repeat(fmt.Sprintf("message %d part %d;", n, i), 1+i*3)...)
		ends = append(ends, len(m.Body))
	}
	begin := 0
	for i, end := range ends {
		m.Parts = append(m.Parts, uplink.Part{Body: m.Body[begin:end], First: m.First + uint64(i), Last: m.First + uint64(i), Count: 1,
			Device: fmt.Sprint("dev-", i), Metric: "temp", Time: time.Now().UnixNano()})
		begin = end
	}
	return m
}
