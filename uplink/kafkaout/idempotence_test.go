//go:build !nokafka

package kafkaout

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Some errors are said of records that the broker has. The library asks again
// with the same number, and the broker knows it: nothing is there twice, and
// nothing is custody before the broker says so.
func TestWhatIsThereAlreadyIsNotAddedAgain(t *testing.T) {
	for _, said := range []*kerr.Error{kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut} {
		t.Run(said.Message, func(t *testing.T) {
			cluster := newCluster(t)
			sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
			once := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: said})
			if err := sink.Send(within(t), message("body")); err != nil {
				t.Error(err)
			}
			if once.Hits() != 1 {
				t.Errorf("said %d times", once.Hits())
			}
			if info := cluster.PartitionInfo(topic, 0); info.HighWatermark != 1 {
				t.Errorf("%d records are there, want 1", info.HighWatermark)
			}
		})
		t.Run(said.Message+"/ForEver", func(t *testing.T) {
			cluster := newCluster(t)
			sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: said, Count: -1})
			var err error
			heard := func() bool { return err != nil && strings.Contains(err.Error(), "min.insync.replicas") }
			for enough := 500 * time.Millisecond; enough < patience && !heard(); enough *= 2 {
				ctx, cancel := context.WithTimeout(t.Context(), enough)
				err = sink.Send(ctx, message("body"))
				cancel()
			}
			checkClass(t, err, transient)
			if !errors.Is(err, context.DeadlineExceeded) || !heard() {
				t.Errorf("%v", err)
			}
		})
	}
}

// A broker that has forgotten a producer gives it a new number.
func TestForgottenProducerGoesOn(t *testing.T) {
	for _, said := range []*kerr.Error{kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerEpoch} {
		cluster := newCluster(t)
		sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
		for n := range 3 {
			if n == 1 {
				cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: said})
			}
			if err := sink.Send(within(t), numbered(n, "body")); err != nil {
				t.Errorf("%s: message %d: %v", said.Message, n, err)
			}
		}
		if info := cluster.PartitionInfo(topic, 0); info.HighWatermark != 3 {
			t.Errorf("%s: %d records are there, want 3", said.Message, info.HighWatermark)
		}
	}
}

// A partition that moves to another broker costs a try at the most, and so does a
// broker that leaves the cluster.
func TestPartitionThatMoves(t *testing.T) {
	cluster := newCluster(t, kfake.NumBrokers(3))
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
	send := func(what string) {
		t.Helper()
		err := sink.Send(within(t), message(what))
		if err != nil {
			checkClass(t, err, transient)
			err = sink.Send(within(t), message(what))
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	send("before")
	for range 3 {
		leader := cluster.LeaderFor(topic, 0)
		if err := cluster.MoveTopicPartition(topic, 0, (leader+1)%3); err != nil {
			t.Fatal(err)
		}
		send("moved")
	}
	leader := cluster.LeaderFor(topic, 0)
	if err := cluster.MoveTopicPartition(topic, 0, (leader+1)%3); err != nil {
		t.Fatal(err)
	}
	if err := cluster.RemoveNode(leader); err != nil {
		t.Fatal(err)
	}
	send("without a broker")
}

// An acknowledgement that comes too late is nobody's receipt, and the record is
// there twice with one key.
func TestLateAcknowledgementIsNobodysReceipt(t *testing.T) {
	cluster := newCluster(t)
	release := make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.SleepControl(func() { <-release })
		cluster.DropControl()
		return nil, nil, false
	})
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	m := message("body")
	checkClass(t, sink.Send(ctx, m), transient)
	close(release)
	if err := sink.Send(within(t), m); err != nil {
		t.Fatal(err)
	}
	for _, s := range kcat(t, cluster.ListenAddrs()[0], topic) {
		if s.Headers[1] != m.Key.String() {
			t.Errorf("%q is there", s.Headers[1])
		}
	}
}
