//go:build !nokafka

package kafkaout

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

// patience bounds everything that must happen soon.
const patience = time.Minute

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

var key = uplink.Key{Gateway: "north-7", Epoch: 0x4d2, Lane: reading.Normal, First: 1, Last: 99}

func message(body string) uplink.Message {
	return uplink.Message{Key: key, Count: 99, ContentType: "application/vnd.tidegate.chunk", Body: []byte(body)}
}

// numbered is the n-th message.
func numbered(n int, body string) uplink.Message {
	m := message(body)
	m.First, m.Last = uint64(n)*100+1, uint64(n)*100+99
	return m
}

func TestEveryErrorHasItsClass(t *testing.T) {
	produce, metadata, number := []kmsg.Key{kmsg.Produce}, []kmsg.Key{kmsg.Metadata}, []kmsg.Key{kmsg.InitProducerID}
	for _, c := range []struct {
		err   *kerr.Error
		to    []kmsg.Key
		top   bool
		class class
		hint  string
	}{
		{kerr.MessageTooLarge, produce, false, tooLarge, "max.message.bytes"},
		{kerr.RecordListTooLarge, produce, false, tooLarge, "max.message.bytes"},
		{kerr.InvalidRecord, produce, false, refused, "rules of its topic"},
		{kerr.InvalidTimestamp, produce, false, config, "clock"},
		{kerr.UnsupportedCompressionType, produce, false, config, "compression"},
		{kerr.UnsupportedForMessageFormat, produce, false, config, "older"},
		{kerr.UnknownTopicOrPartition, metadata, false, config, "create the topic"},
		{kerr.InvalidTopicException, metadata, false, config, "create the topic"},
		{kerr.TopicAuthorizationFailed, metadata, false, config, "Write and Describe"},
		{kerr.TopicAuthorizationFailed, produce, false, config, "Write and Describe"},
		{kerr.ClusterAuthorizationFailed, number, true, config, "IdempotentWrite"},
		{kerr.PolicyViolation, produce, false, config, "policy"},
		{kerr.InvalidRequiredAcks, produce, false, config, "idempotent"},
		{kerr.ThrottlingQuotaExceeded, produce, false, quota, "quota"},
		{kerr.NotEnoughReplicas, produce, false, transient, "min.insync.replicas"},
		{kerr.NotLeaderForPartition, produce, false, transient, "moving"},
		{kerr.FencedLeaderEpoch, produce, false, transient, "moving"},
		{kerr.LeaderNotAvailable, metadata, false, transient, "moving"},
		{kerr.KafkaStorageError, produce, false, transient, "disk"},
		{kerr.CorruptMessage, produce, false, transient, "damaged"},
		{kerr.CoordinatorNotAvailable, number, true, transient, "not ready"},
		{kerr.UnknownServerError, produce, false, transient, "sent again"},
	} {
		t.Run(c.err.Message+"/"+c.to[0].Name(), func(t *testing.T) {
			t.Parallel()
			cluster := newCluster(t)
			sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
			fault := cluster.Fault(kfake.Fault{Keys: c.to, Err: c.err, TopLevel: c.top, Count: -1})
			begun := time.Now()
			err := sink.Send(within(t), message("body"))
			if fault.Hits() == 0 {
				t.Fatalf("the fault was never met: %v", err)
			}
			checkClass(t, err, c.class)
			if err != nil && (!strings.Contains(err.Error(), c.hint) || !strings.Contains(err.Error(), c.err.Message) || strings.Count(err.Error(), "hint: ") != 1) {
				t.Errorf("%v, want %q in its one hint", err, c.hint)
			}
			if took := time.Since(begun); took > patience/2 {
				t.Errorf("it took %v to hear of it", took)
			}
			fault.Remove()
			if err := sink.Send(within(t), message("body")); err != nil {
				t.Errorf("after the fault: %v", err)
			}
		})
	}
}

func checkClass(t *testing.T, err error, want class) {
	t.Helper()
	if err == nil {
		t.Error("Send returned nil")
		return
	}
	got := transient
	delay, asked := uplink.RetryDelay(err)
	switch {
	case uplink.IsTooLarge(err):
		got = tooLarge
	case uplink.IsPermanent(err):
		got = refused
	case asked && delay == uplink.ConfigDelay:
		got = config
	case asked:
		got = quota
	}
	if got != want {
		t.Errorf("class %d, want %d: %v", got, want, err)
	}
}
