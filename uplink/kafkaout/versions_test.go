//go:build !nokafka

package kafkaout

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/tidegate/tidegate/internal/kafka"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

// Brokers of all ages are spoken to, with what they have; zstd gives way to gzip
// where it is not known.
func TestBrokersOfAllAges(t *testing.T) {
	for name, c := range map[string]struct {
		versions *kversion.Versions
		codec    kafka.Codec
	}{
		"0.11": {kversion.V0_11_0(), kafka.Gzip}, "1.0": {kversion.V1_0_0(), kafka.Gzip}, "2.0": {kversion.V2_0_0(), kafka.Gzip}, "2.1": {kversion.V2_1_0(), kafka.Zstd},
		"2.8": {kversion.V2_8_0(), kafka.Zstd}, "3.9": {kversion.V3_9_0(), kafka.Zstd}, "4.0": {kversion.V4_0_0(), kafka.Zstd}, "newest": {nil, kafka.Zstd},
	} {
		t.Run(name, func(t *testing.T) {
			options := []kfake.Opt{kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "north", "right")}
			if c.versions != nil {
				options = append(options, kfake.MaxVersions(c.versions))
			}
			cfg := Config{Compression: "zstd", SASL: SASL{Mechanism: "scram-sha-256", Username: "north", Password: uplinktest.Secret(t, "right")}}
			if name == "0.11" { // has no login that can be tested
				options, cfg.SASL = options[2:], SASL{}
			}
			cluster := newCluster(t, options...)
			cfg.Brokers = cluster.ListenAddrs()
			codec := kafka.None
			cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
				var b kmsg.RecordBatch
				if err := b.ReadFrom(r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records); err != nil {
					t.Error(err)
				}
				codec = kafka.Codec(b.Attributes & 7)
				return nil, nil, false
			})
			mustSend(t, newSink(t, cfg), message(strings.Repeat("body", 1000)))
			if codec != c.codec {
				t.Errorf("codec %d, want %d", codec, c.codec)
			}
		})
	}
}

// What is too old, or too new, is said to be so; nothing is tried in vain.
func TestBrokersThatAreTooOld(t *testing.T) {
	cluster := newCluster(t)
	cluster.ControlKey(int16(kmsg.ApiVersions), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := r.ResponseKind().(*kmsg.ApiVersionsResponse)
		resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 0, MaxVersion: 2}, {ApiKey: 3, MaxVersion: 4}, {ApiKey: 22}}
		return resp, nil, true
	})
	err := newSink(t, Config{Brokers: cluster.ListenAddrs()}).Send(within(t), message("body"))
	checkClass(t, err, config)
	if err != nil && !strings.Contains(err.Error(), "older than Kafka 0.11") {
		t.Error(err)
	}
}

// Brokers that do not tell the limit, for whatever reason, are asked once, and those
// that do not know the question never.
func TestLimitIsNotAskedForAgainAndAgain(t *testing.T) {
	for name, answer := range map[string]func(*kfake.Cluster){
		"NotKnown": func(c *kfake.Cluster) {
			c.ControlKey(int16(kmsg.ApiVersions), func(r kmsg.Request) (kmsg.Response, error, bool) {
				resp := r.ResponseKind().(*kmsg.ApiVersionsResponse)
				resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 0, MaxVersion: 7}, {ApiKey: 3, MaxVersion: 4}, {ApiKey: 22}}
				return resp, nil, true
			})
		},
		"Refused": func(c *kfake.Cluster) {
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.UnknownServerError, Count: -1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := newCluster(t)
			a := counts(cluster)
			answer(cluster)
			sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
			for range 3 {
				mustSend(t, sink, message("body"))
			}
			if n := a.of(kmsg.DescribeConfigs); n > 1 || name == "NotKnown" && n > 0 {
				t.Errorf("asked %d times", n)
			}
			if sink.Limit() != 0 {
				t.Errorf("limit %d", sink.Limit())
			}
		})
	}
}

// More topics than are remembered, in one message and in several at a time.
func TestMoreTopicsThanAreRemembered(t *testing.T) {
	const topics = maxKnown + 50
	cluster := newCluster(t, kfake.AllowAutoTopicCreation())
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs(), Topic: parsed(t, "t.{device}"), CreateTopics: true})
	m := message("")
	m.First, m.Last, m.Count, m.Body = 1, topics, topics, []byte("x")
	for i := range uint64(topics) {
		m.Parts = append(m.Parts, uplink.Part{Body: m.Body, First: i + 1, Last: i + 1, Count: 1, Device: strconv.Itoa(int(i))})
	}
	mustSend(t, sink, m)
	half := m
	half.Parts = m.Parts[:topics/2]
	for range 2 {
		mustSend(t, sink, half)
		mustSend(t, sink, m)
	}
	sink.mu.Lock()
	defer sink.mu.Unlock()
	if n := len(sink.known.topics); n > 2*topics {
		t.Errorf("%d topics are remembered", n)
	}
}

// A login that ends is made anew before it does, without a failure.
func TestLoginThatEnds(t *testing.T) {
	cluster := newCluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "north", "right"), kfake.BrokerConfigs(map[string]string{"connections.max.reauth.ms": "200"}))
	var logins atomic.Int32
	cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(kmsg.Request) (kmsg.Response, error, bool) {
		logins.Add(1)
		return nil, nil, false
	})
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs(), SASL: SASL{Mechanism: "plain", Username: "north", Password: uplinktest.Secret(t, "right")}})
	for late := time.Now().Add(patience); logins.Load() < 3 && time.Now().Before(late); {
		mustSend(t, sink, message("body"))
	}
	if n := logins.Load(); n < 3 {
		t.Errorf("%d logins", n)
	}
}

func TestTopicsAreCreatedIfThatIsWanted(t *testing.T) {
	cluster := newCluster(t, kfake.AllowAutoTopicCreation(), kfake.DefaultNumPartitions(2))
	var asks atomic.Int32
	cluster.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		if asks.Add(1) > 1 {
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.MetadataResponse) // as Kafka says at first
		name := "new"
		resp.Topics = []kmsg.MetadataResponseTopic{{Topic: &name, ErrorCode: 5}}
		return resp, nil, true
	})
	checkClass(t, newSink(t, Config{Brokers: cluster.ListenAddrs(), Topic: parsed(t, "elsewhere")}).Send(within(t), message("body")), transient)
	mustSend(t, newSink(t, Config{Brokers: cluster.ListenAddrs(), Topic: parsed(t, "new"), CreateTopics: true}), message("body"))
	checkClass(t, newSink(t, Config{Brokers: cluster.ListenAddrs(), Topic: parsed(t, "other")}).Send(within(t), message("body")), config)
}

// Each broker that has something of ours has one connection, and no other broker.
func TestOneConnectionToEachLeader(t *testing.T) {
	cluster := newCluster(t, kfake.NumBrokers(3), kfake.SeedTopics(6, "plant"))
	for p := range int32(6) {
		if err := cluster.MoveTopicPartition("plant", p, p%2); err != nil {
			t.Fatal(err)
		}
	}
	sink := newSink(t, Config{Brokers: []string{"kafka.example:1"}, Topic: parsed(t, "plant"), Key: parsed(t, "{device}"),
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "kafka.example:1" {
				address = cluster.ListenAddrs()[2]
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}})
	m, _ := cut(70)
	for range 2 {
		mustSend(t, sink, m)
	}
	waitUntil(t, func() bool {
		sink.tidy()
		sink.mu.Lock()
		defer sink.mu.Unlock()
		return len(sink.opened) == 2 && len(sink.links) == 2
	})
}

// silentBroker answers every request with what answer returns, at the other end of
// a pipe.
func silentBroker(conn net.Conn, answer func(key int16) []byte) {
	defer conn.Close()
	for {
		var head [4]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(conn, frame); err != nil {
			return
		}
		body := answer(int16(binary.BigEndian.Uint16(frame)))
		out := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
		out = append(append(out, frame[4:8]...), body...)
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

// A broker that wants to be left alone is left alone, for so long and no longer;
// whoever cannot wait so long is told how long it is.
func TestThrottledBrokerIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go silentBroker(far, func(int16) []byte { return nil })
		l := newLink(near, "kafka.example:9092", "north-7")
		defer l.Close()
		l.pause(3 * time.Second)
		begun := time.Now()
		if _, err := l.ask(t.Context(), kafka.Metadata, 4, func(b []byte) []byte { return b }); err != nil || time.Since(begun) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		l.pause(time.Hour)
		if d := l.paused(); d != maxThrottle {
			t.Errorf("a broker is granted %v", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.ask(ctx, kafka.Metadata, 4, func(b []byte) []byte { return b }); !errors.Is(err, context.DeadlineExceeded) || !l.Alive() {
			t.Errorf("%v; alive %v", err, l.Alive())
		}
	})
}

func TestThrottledSendIsToldForHowLong(t *testing.T) {
	cluster := newCluster(t)
	cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		req := r.(*kmsg.ProduceRequest)
		resp := refusal(req, nil, 30_000)
		return resp, nil, true // once
	})
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
	mustSend(t, sink, message("accepted, and then a pause"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	checkClass(t, sink.Send(ctx, message("body")), quota)
	if !linked(sink, cluster.ListenAddrs()[0]) {
		t.Error("the connection is gone")
	}
}

// FuzzFrame: whatever a broker sends, a frame is as long as it says, or none, and
// a length alone allocates nothing.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x06\x00\x00\x00\x01ab"))
	f.Add([]byte("HTTP/1.1 400 Bad Request"))
	f.Add([]byte("\x00\x3f\xff\xff\x00"))
	f.Fuzz(func(t *testing.T, bytes []byte) {
		frame, err := readFrame(strings.NewReader(string(bytes)))
		if err == nil && (len(frame) < 4 || len(frame) > len(bytes)-4 || string(frame) != string(bytes[4:4+len(frame)])) {
			t.Errorf("%x of %x", frame, bytes)
		}
		if got := testing.AllocsPerRun(1, func() { readFrame(strings.NewReader(string(bytes))) }); got > 32 {
			t.Errorf("%v allocations", got)
		}
	})
}
