//go:build !nokafka

package kafkaout

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

// small is a topic that takes batches of 8000 bytes.
func small(t *testing.T, bytes string) *kfake.Cluster {
	t.Helper()
	cluster := newCluster(t)
	if err := cluster.CreateTopic("small", 1, map[string]string{maxMessageBytes: bytes}); err != nil {
		t.Fatal(err)
	}
	return cluster
}

func TestLimitIsLearntBeforeTheFirstMessage(t *testing.T) {
	cluster := small(t, "8000")
	var requests atomic.Int32
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		requests.Add(1)
		return nil, nil, false
	})
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs(), Topic: parsed(t, "small")})
	if n := sink.Limit(); n != 0 {
		t.Errorf("limit %d before anything is known", n)
	}
	checkClass(t, sink.Send(within(t), message(strings.Repeat("x", 8000))), tooLarge)
	if n := requests.Load(); n != 0 {
		t.Errorf("it was sent %d times all the same", n)
	}
	limit := sink.Limit()
	if limit < 6000 || limit > 8000 {
		t.Fatalf("limit %d of a topic of 8000", limit)
	}
	m := message(strings.Repeat("x", limit))
	m.Gateway = strings.Repeat("g", 64)
	if err := sink.Send(within(t), m); err != nil {
		t.Errorf("a message as large as the limit: %v", err)
	}
}

// Pieces that fit one by one are never too large together.
func TestPiecesAreSentInBatchesThatFit(t *testing.T) {
	cluster := small(t, "8000")
	m, _ := cut(1000)
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs(), Topic: parsed(t, "small")})
	if err := sink.Send(within(t), m); err != nil {
		t.Fatal(err)
	}
	if info := cluster.PartitionInfo("small", 0); info.HighWatermark != 1000 {
		t.Errorf("%d records are there, want 1000", info.HighWatermark)
	}
}

// Whoever runs the cluster may change the limit.
func TestLimitIsLearntAnewWhenItWasWrong(t *testing.T) {
	cluster := small(t, "100000")
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs(), Topic: parsed(t, "small")})
	if err := sink.Send(within(t), message("body")); err != nil {
		t.Fatal(err)
	}
	before := sink.Limit()
	setLimit(t, cluster, "8000")
	m, _ := cut(1000)
	if err := sink.Send(within(t), m); err != nil {
		t.Errorf("pieces that fit: %v", err)
	}
	if n := sink.Limit(); n >= before {
		t.Errorf("limit %d, before it was %d", n, before)
	}
	setLimit(t, cluster, "4000")
	checkClass(t, sink.Send(within(t), message(strings.Repeat("x", 5000))), tooLarge)
}

func setLimit(t *testing.T, cluster *kfake.Cluster, bytes string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, "small"
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = maxMessageBytes, &bytes
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(t.Context(), client)
	if err != nil || len(resp.Resources) != 1 || resp.Resources[0].ErrorCode != 0 {
		t.Fatalf("the limit was not changed: %v %+v", err, resp)
	}
}

// Without leave to ask, the broker's refusal says it.
func TestLimitThatNobodyTells(t *testing.T) {
	write := kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "small", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationWrite, Allow: true}
	cluster := newCluster(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "admin"), kfake.User("PLAIN", "north", "right", write))
	if err := cluster.CreateTopic("small", 1, map[string]string{maxMessageBytes: "8000"}); err != nil {
		t.Fatal(err)
	}
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs(), Topic: parsed(t, "small"), SASL: SASL{Mechanism: "plain", Username: "north", Password: uplinktest.Secret(t, "right")}})
	checkClass(t, sink.Send(within(t), message(strings.Repeat("x", 9000))), tooLarge)
	if err := sink.Send(within(t), message(strings.Repeat("x", 7000))); err != nil {
		t.Error(err)
	}
}

func TestTheWorstErrorDecides(t *testing.T) {
	temporary, asked := uplink.RetryAfter(errRetired, 1), uplink.Permanent(errRetired)
	order := []error{errRetired, temporary, asked, uplink.TooLarge(errRetired)}
	for i, err := range order[1:] {
		if rankOf(err) <= rankOf(order[i]) {
			t.Errorf("%d is not above %d", i+1, i)
		}
	}
}
