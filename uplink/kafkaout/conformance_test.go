//go:build !nokafka

package kafkaout

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

const topic = "telemetry"

func TestConformance(t *testing.T) {
	uplinktest.Run(t, uplinktest.Door{
		New: func(t *testing.T, address string, dial uplink.Dial) uplink.Sink {
			if dial == nil {
				dial = new(net.Dialer).DialContext
			}
			return newSink(t, Config{Brokers: []string{address}, Dial: always(address, dial)})
		},
		Peer: peer,
	})
}

// newSink returns a Sink to the topic, unless cfg says another.
func newSink(t testing.TB, cfg Config) *Sink {
	t.Helper()
	if cfg.Topic.String() == "" {
		cfg.Topic = parsed(t, topic)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func parsed(t testing.TB, text string) uplink.Template {
	t.Helper()
	p, err := uplink.ParseTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// always dials the address, whatever brokers say theirs are: that is how a test
// stands between.
func always(address string, dial uplink.Dial) uplink.Dial {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, address)
	}
}

// newCluster starts brokers within the process: all of the protocol, nothing of
// the durability.
func newCluster(t testing.TB, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(1, topic)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// peer is a cluster that answers as judge says.
func peer(t *testing.T, judge uplinktest.Judge) string {
	t.Helper()
	c := newCluster(t)
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		verdict := uplinktest.Accept
		for _, m := range recordsIn(t, req) {
			c.SleepControl(func() { verdict = max(verdict, judge(m)) })
		}
		switch verdict {
		case uplinktest.Accept:
			return nil, nil, false // the cluster takes it
		case uplinktest.Later:
			return refusal(req, kerr.NotEnoughReplicas, 0), nil, true
		case uplinktest.Busy:
			return refusal(req, kerr.ThrottlingQuotaExceeded, int32(uplinktest.BusyDelay.Milliseconds())), nil, true
		case uplinktest.Never:
			return refusal(req, kerr.InvalidRecord, 0), nil, true
		}
		return nil, errors.New("closes the connection"), true
	})
	return c.ListenAddrs()[0]
}

// refusal is an answer with the same error for every partition, or none.
func refusal(req *kmsg.ProduceRequest, err *kerr.Error, throttle int32) *kmsg.ProduceResponse {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	resp.ThrottleMillis = throttle
	for _, t := range req.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition = p.Partition
			if err != nil {
				rp.ErrorCode = err.Code
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// recordsIn reads a request's records as far as the suite wants to know.
func recordsIn(t *testing.T, req *kmsg.ProduceRequest) (all []uplinktest.Received) {
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			var batch kmsg.RecordBatch
			if err := batch.ReadFrom(p.Records); err != nil {
				t.Errorf("the batch cannot be read: %v", err)
				return nil
			}
			rest := batch.Records
			for range batch.NumRecords {
				var r kmsg.Record
				n := recordLength(rest)
				if err := r.ReadFrom(rest[:n]); err != nil {
					t.Errorf("a record cannot be read: %v", err)
					return nil
				}
				rest = rest[n:]
				m := uplinktest.Received{Body: r.Value}
				for _, h := range r.Headers {
					if h.Key == KeyHeader {
						m.Key = string(h.Value)
					}
				}
				all = append(all, m)
			}
		}
	}
	return all
}

// recordLength is the length of the record at the head of b, its own length
// included.
func recordLength(b []byte) int {
	n, width := binary.Varint(b)
	return int(n) + width
}
