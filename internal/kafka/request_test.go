package kafka

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// theirs is a request as franz-go writes it, which has its code from the
// definitions of Kafka itself.
func theirs(r kmsg.Request, version int16, number int32) []byte {
	r.SetVersion(version)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("north-7")).AppendRequest(nil, r, number)
}

func metadata(create bool, topics ...string) *kmsg.MetadataRequest {
	r := kmsg.NewPtrMetadataRequest()
	r.AllowAutoTopicCreation, r.Topics = create, []kmsg.MetadataRequestTopic{}
	for _, t := range topics {
		mt := kmsg.NewMetadataRequestTopic()
		mt.Topic = &t
		r.Topics = append(r.Topics, mt)
	}
	return r
}

func describe(names []string, topics ...string) *kmsg.DescribeConfigsRequest {
	r := kmsg.NewPtrDescribeConfigsRequest()
	for _, t := range topics {
		rr := kmsg.NewDescribeConfigsRequestResource()
		rr.ResourceType, rr.ResourceName, rr.ConfigNames = kmsg.ConfigResourceTypeTopic, t, names
		r.Resources = append(r.Resources, rr)
	}
	return r
}

func TestRequestsHaveTheSameBytesAsTheirs(t *testing.T) {
	handshake := kmsg.NewPtrSASLHandshakeRequest()
	handshake.Mechanism = "SCRAM-SHA-512"
	step := kmsg.NewPtrSASLAuthenticateRequest()
	step.SASLAuthBytes = []byte("\x00north\x00right")
	number := kmsg.NewPtrInitProducerIDRequest()
	number.TransactionTimeoutMillis = 0
	names := []string{"max.message.bytes", "min.insync.replicas"}
	for _, c := range []struct {
		theirs kmsg.Request
		ours   func([]byte) []byte
	}{
		{kmsg.NewPtrApiVersionsRequest(), func(b []byte) []byte { return b }},
		{metadata(false), func(b []byte) []byte { return AppendMetadata(b, nil, false) }},
		{metadata(true, "telemetry", "plant.alarm"), func(b []byte) []byte { return AppendMetadata(b, []string{"telemetry", "plant.alarm"}, true) }},
		{handshake, func(b []byte) []byte { return AppendSASLHandshake(b, "SCRAM-SHA-512") }},
		{step, func(b []byte) []byte { return AppendSASLAuthenticate(b, Plain("north", "right")) }},
		{number, AppendInitProducerID},
		{describe(names, "telemetry", "t"), func(b []byte) []byte { return AppendDescribeConfigs(b, []string{"telemetry", "t"}, names) }},
		{describe(names), func(b []byte) []byte { return AppendDescribeConfigs(b, nil, names) }},
	} {
		k := Key(c.theirs.Key())
		lowest, highest := spoken(k)
		for version := lowest; version <= highest; version++ {
			ours := c.ours(AppendHeader(nil, k, version, 17, "north-7"))
			Finish(ours)
			if want := theirs(c.theirs, version, 17); !bytes.Equal(ours, want) {
				t.Errorf("%v, version %d: %x, want %x", k, version, ours, want)
			}
			if c.theirs.IsFlexible() {
				t.Errorf("%v, version %d is flexible", k, version)
			}
		}
	}
}

func TestProduceHasTheSameBytesAsTheirs(t *testing.T) {
	batch := AppendBatch(nil, some(3), nil)
	Seal(batch, 4711, 2, 99)
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = -1, 10_000
	for topic, partitions := range map[string][]int32{"telemetry": {0, 2}} {
		rt := kmsg.NewProduceRequestTopic()
		rt.Topic = topic
		for _, p := range partitions {
			rp := kmsg.NewProduceRequestTopicPartition()
			rp.Partition, rp.Records = p, batch
			rt.Partitions = append(rt.Partitions, rp)
		}
		r.Topics = append(r.Topics, rt)
	}
	lowest, highest := spoken(Produce)
	for version := lowest; version <= highest; version++ {
		ours := AppendProduce(AppendHeader(nil, Produce, version, 17, "north-7"), 10_000, 1)
		ours = AppendTopic(ours, "telemetry", 2)
		ours = AppendPartition(AppendPartition(ours, 0, batch), 2, batch)
		Finish(ours)
		if want := theirs(r, version, 17); !bytes.Equal(ours, want) || r.IsFlexible() {
			t.Errorf("version %d: %x, want %x", version, ours, want)
		}
	}
}

// some are records with and without keys and headers.
func some(n int) (all []Record) {
	for i := range n {
		r := Record{Value: bytes.Repeat([]byte("21.5;"), i*i), Time: 1_700_000_000_123 + int64(i%3)*1000}
		if i%2 == 0 {
			r.Key = []byte("boiler")
		}
		for range i % 3 {
			r.Headers = append(r.Headers, Header{"Tidegate-Key", []byte("north-7/00000000000004d2/normal/1-99")})
		}
		all = append(all, r)
	}
	return all
}

// theirBatch is a batch as franz-go writes it.
func theirBatch(t *testing.T, records []Record, producer int64, epoch int16, sequence int32) []byte {
	t.Helper()
	first, last := records[0].Time, records[0].Time
	var body []byte
	for i, r := range records {
		last = max(last, r.Time)
		k := kmsg.NewRecord()
		k.OffsetDelta, k.TimestampDelta64, k.Key, k.Value = int32(i), r.Time-first, r.Key, r.Value
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		if k.Value == nil {
			k.Value = []byte{}
		}
		k.Length = int32(len(k.AppendTo(nil)) - 1) // less a length of 0
		body = k.AppendTo(body)
	}
	b := kmsg.NewRecordBatch()
	b.Magic, b.PartitionLeaderEpoch, b.LastOffsetDelta, b.NumRecords = 2, -1, int32(len(records)-1), int32(len(records))
	b.FirstTimestamp, b.MaxTimestamp, b.ProducerID, b.ProducerEpoch, b.FirstSequence = first, last, producer, epoch, sequence
	b.Records, b.Length = body, int32(49+len(body))
	raw := b.AppendTo(nil)
	b.CRC = int32(crc(raw[21:]))
	return b.AppendTo(nil)
}

func TestBatchHasTheSameBytesAsTheirs(t *testing.T) {
	for _, n := range []int{1, 2, 7, 70} {
		ours := AppendBatch([]byte("before"), some(n), nil)[len("before"):]
		for range 2 { // and once more
			Seal(ours, 4711, 2, 99)
			if want := theirBatch(t, some(n), 4711, 2, 99); !bytes.Equal(ours, want) {
				t.Errorf("%d records: %x, want %x", n, ours, want)
			}
		}
		most := Overhead
		for _, r := range some(n) {
			most += r.Most()
		}
		if most < len(ours) || most > len(ours)+n*25 {
			t.Errorf("%d records take %d bytes, %d are said to be enough", n, len(ours), most)
		}
	}
}

// Keys, and where Java's clients put them: the cases of UtilsTest.testMurmur2 of
// Apache Kafka.
func TestMurmur2IsJavas(t *testing.T) {
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("%q: %d, want %d", key, got, want)
		}
		for n := 1; n < 20; n++ {
			if p := Partition([]byte(key), n); p < 0 || int(p) >= n || p != (want&0x7fffffff)%int32(n) {
				t.Errorf("%q of %d: partition %d", key, n, p)
			}
		}
	}
}

func TestCodesHaveTheirNames(t *testing.T) {
	for code, name := range names {
		if err, ok := kerr.ErrorForCode(int16(code)).(*kerr.Error); !ok || err.Code != int16(code) || err.Message != name {
			t.Errorf("%d is %s, want %v", int16(code), name, err)
		}
	}
	if got := Code(12345).Error(); got != "Kafka's error 12345" {
		t.Error(got)
	}
}

func TestTheBestVersionThatBothKnow(t *testing.T) {
	for _, c := range []struct {
		theirs [2]int16
		want   int16
		ok     bool
	}{{[2]int16{0, 13}, 8, true}, {[2]int16{0, 7}, 7, true}, {[2]int16{3, 3}, 3, true}, {[2]int16{0, 2}, 2, false}, {[2]int16{9, 13}, 8, false}} {
		if got, ok := (Versions{Produce: c.theirs}).Best(Produce); ok != c.ok || ok && got != c.want {
			t.Errorf("%v: %d %v", c.theirs, got, ok)
		}
	}
	if _, ok := (Versions{}).Best(Metadata); ok {
		t.Error("what a broker does not name is taken")
	}
}

// A varint is as long as it is said to be.
func FuzzVarintSize(f *testing.F) {
	for _, n := range []int64{0, -1, 63, 64, -64, -65, 1 << 40, -1 << 63, 1<<63 - 1} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n int64) {
		if got, want := varintSize(n), len(binary.AppendVarint(nil, n)); got != want || want != len(kbin.AppendVarlong(nil, n)) {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	})
}
