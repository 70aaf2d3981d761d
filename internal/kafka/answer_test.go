package kafka

import (
	"errors"
	"hash/crc32"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func crc(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// answers are of each kind, as franz-go writes them.
func answers() map[string]struct {
	answer []byte
	parse  func([]byte) (any, error)
	want   any
} {
	text := func(s string) *string { return &s }
	versions := kmsg.ApiVersionsResponse{ApiKeys: []kmsg.ApiVersionsResponseApiKey{{ApiKey: 0, MinVersion: 0, MaxVersion: 13}, {ApiKey: 3, MaxVersion: 13}, {ApiKey: 999, MaxVersion: 1}}}
	mechanisms := kmsg.SASLHandshakeResponse{Version: 1, ErrorCode: 33, SupportedMechanisms: []string{"PLAIN", "GSSAPI"}}
	step := kmsg.SASLAuthenticateResponse{Version: 1, SASLAuthBytes: []byte("v=abc"), SessionLifetimeMillis: 3_600_000}
	refused := kmsg.SASLAuthenticateResponse{ErrorCode: 58, ErrorMessage: text("no\nsuch user"), SASLAuthBytes: []byte{}}
	cluster := kmsg.MetadataResponse{
		Version: 4, ThrottleMillis: 7, ClusterID: text("plant"), ControllerID: 1,
		Brokers: []kmsg.MetadataResponseBroker{{NodeID: 1, Host: "kafka-1.example", Port: 9093, Rack: text("a")}, {NodeID: 2, Host: "kafka-2.example", Port: 9094}},
		Topics: []kmsg.MetadataResponseTopic{
			{Topic: text("telemetry"), Partitions: []kmsg.MetadataResponseTopicPartition{
				{Partition: 1, Leader: 2, Replicas: []int32{2, 1}, ISR: []int32{2}}, {Partition: 0, ErrorCode: 5, Leader: -1, Replicas: []int32{1, 2, 3}},
			}},
			{Topic: text("nowhere"), ErrorCode: 3},
		},
	}
	number := kmsg.InitProducerIDResponse{ThrottleMillis: 5, ProducerID: 4711, ProducerEpoch: 3}
	settings := kmsg.DescribeConfigsResponse{Version: 1, ThrottleMillis: 9, Resources: []kmsg.DescribeConfigsResponseResource{
		{ResourceType: 2, ResourceName: "telemetry", Configs: []kmsg.DescribeConfigsResponseResourceConfig{
			{Name: "max.message.bytes", Value: text("8000"), ConfigSynonyms: []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{{Name: "message.max.bytes", Value: text("9000"), Source: 5}}},
			{Name: "hidden"},
		}},
		{ErrorCode: 29, ErrorMessage: text("no"), ResourceType: 2, ResourceName: "secret"},
	}}
	return map[string]struct {
		answer []byte
		parse  func([]byte) (any, error)
		want   any
	}{
		"Versions":   {versions.AppendTo(nil), func(b []byte) (any, error) { return ParseVersions(b) }, Versions{Produce: {0, 13}, Metadata: {0, 13}}},
		"Mechanisms": {mechanisms.AppendTo(nil), func(b []byte) (any, error) { m, err := ParseSASLHandshake(b); return []any{m, code(err)}, bare(err) }, []any{[]string{"PLAIN", "GSSAPI"}, UnsupportedSASLMechanism}},
		"Step": {step.AppendTo(nil), func(b []byte) (any, error) {
			s, life, err := ParseSASLAuthenticate(b, 1)
			return []any{string(s), life}, err
		}, []any{"v=abc", time.Hour}},
		"Refused": {refused.AppendTo(nil), func(b []byte) (any, error) {
			s, life, err := ParseSASLAuthenticate(b, 0)
			return []any{string(s), life, said(err)}, bare(err)
		}, []any{"", time.Duration(0), "SASL_AUTHENTICATION_FAILED: no such user"}},
		"Metadata": {cluster.AppendTo(nil), func(b []byte) (any, error) { return ParseMetadata(b) }, &Cluster{
			Throttle: 7 * time.Millisecond, ID: "plant", Brokers: []Broker{{1, "kafka-1.example", 9093}, {2, "kafka-2.example", 9094}},
			Topics: []Topic{{"telemetry", 0, []Leader{{5, -1, 3, true}, {0, 2, 2, true}}}, {"nowhere", UnknownTopicOrPartition, []Leader{}}},
		}},
		"Number": {number.AppendTo(nil), func(b []byte) (any, error) {
			id, epoch, throttle, err := ParseInitProducerID(b)
			return []any{id, epoch, throttle}, err
		}, []any{int64(4711), int16(3), 5 * time.Millisecond}},
		"Settings": {settings.AppendTo(nil), func(b []byte) (any, error) {
			all, throttle, err := ParseDescribeConfigs(b)
			return []any{all, throttle}, err
		}, []any{[]Settings{{"telemetry", 0, map[string]string{"max.message.bytes": "8000", "hidden": ""}}, {"secret", TopicAuthorizationFailed, map[string]string{}}}, 9 * time.Millisecond}},
	}
}

// code is the Code of an error.
func code(err error) Code {
	c, _ := errors.AsType[Code](err)
	return c
}

// bare is err, unless that is a Code.
func bare(err error) error {
	if code(err) != 0 {
		return nil
	}
	return err
}

func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestAnswersAreUnderstoodWholeOrNotAtAll(t *testing.T) {
	for name, c := range answers() {
		got, err := c.parse(c.answer)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v %v, want %+v", name, got, err, c.want)
		}
		for n := range c.answer {
			if _, err := c.parse(c.answer[:n]); !errors.Is(err, ErrAnswer) {
				t.Errorf("%s: %d of %d bytes: %v", name, n, len(c.answer), err)
			}
		}
		if _, err := c.parse(append(c.answer, 0)); !errors.Is(err, ErrAnswer) {
			t.Errorf("%s: a byte too many: %v", name, err)
		}
	}
}

func TestAnswersToProduce(t *testing.T) {
	lowest, highest := spoken(Produce)
	for version := lowest; version <= highest; version++ {
		r := kmsg.ProduceResponse{Version: version, ThrottleMillis: 11}
		text, of := "the schema says no", "a record's own"
		for _, topic := range []string{"telemetry", "alarm"} {
			rt := kmsg.ProduceResponseTopic{Topic: topic}
			for p, code := range []int16{0, 87, 87} {
				rp := kmsg.ProduceResponseTopicPartition{Partition: int32(p), ErrorCode: code, BaseOffset: 99, LogStartOffset: 5}
				if p > 0 {
					rp.ErrorRecords = []kmsg.ProduceResponseTopicPartitionErrorRecord{{RelativeOffset: 1, ErrorMessage: &of}}
				}
				if p > 1 {
					rp.ErrorMessage = &text
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			r.Topics = append(r.Topics, rt)
		}
		answer := r.AppendTo(nil)
		all, throttle, err := ParseProduce(answer, version)
		if err != nil || len(all) != 6 || throttle != 11*time.Millisecond {
			t.Fatalf("version %d: %+v %v %v", version, all, throttle, err)
		}
		want := []string{"", "INVALID_RECORD", "INVALID_RECORD"}
		if version >= 8 {
			want = []string{"", "INVALID_RECORD: a record's own", "INVALID_RECORD: the schema says no"}
		}
		for i, p := range all {
			if p.Topic != []string{"telemetry", "alarm"}[i/3] || int(p.Partition) != i%3 || said(p.Err) != want[i%3] {
				t.Errorf("version %d: %+v", version, p)
			}
		}
		for n := range answer {
			if _, _, err := ParseProduce(answer[:n], version); !errors.Is(err, ErrAnswer) {
				t.Errorf("version %d: %d of %d bytes: %v", version, n, len(answer), err)
			}
		}
	}
}

// Numbers that cannot be are not taken: they would be used for something else.
func TestAnswersThatContradictThemselves(t *testing.T) {
	twice := kmsg.MetadataResponse{Version: 4, Topics: []kmsg.MetadataResponseTopic{{Topic: new(string), Partitions: []kmsg.MetadataResponseTopicPartition{{}, {}}}}}
	far := kmsg.MetadataResponse{Version: 4, Topics: []kmsg.MetadataResponseTopic{{Topic: new(string), Partitions: []kmsg.MetadataResponseTopicPartition{{Partition: 7}}}}}
	none := kmsg.InitProducerIDResponse{ProducerID: -1, ProducerEpoch: -1}
	for name, try := range map[string]func() error{
		"a partition twice":     func() error { _, err := ParseMetadata(twice.AppendTo(nil)); return err },
		"the last of one":       func() error { _, err := ParseMetadata(far.AppendTo(nil)); return err },
		"a number that is none": func() error { _, _, _, err := ParseInitProducerID(none.AppendTo(nil)); return err },
	} {
		if err := try(); !errors.Is(err, ErrAnswer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := refusal(87, strings.Repeat("é\x00", 1000)).Error(); len([]rune(got)) > maxText+20 || strings.Contains(got, "\x00") {
		t.Errorf("a broker talks too much: %q", got)
	}
}

// mostTimes is how much an answer's reader may allocate, in times of its size;
// someBytes are what others allocate meanwhile.
const (
	mostTimes = 16
	someBytes = 64 << 10
)

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// The answers that cost the most for their size: of the smallest things there are.
func TestReadersAllocateAMultipleOfTheAnswer(t *testing.T) {
	const n = 20_000
	var topics []kmsg.MetadataResponseTopic
	var resources []kmsg.DescribeConfigsResponseResource
	var settings []kmsg.DescribeConfigsResponseResourceConfig
	var produced []kmsg.ProduceResponseTopicPartition
	for i := range n {
		name := string([]byte{byte(i), byte(i >> 8)})
		topics = append(topics, kmsg.MetadataResponseTopic{Topic: &name})
		resources = append(resources, kmsg.DescribeConfigsResponseResource{})
		settings = append(settings, kmsg.DescribeConfigsResponseResourceConfig{Name: name})
		produced = append(produced, kmsg.ProduceResponseTopicPartition{Partition: int32(i), ErrorCode: 87})
	}
	one := []kmsg.DescribeConfigsResponseResource{{Configs: settings}}
	for name, c := range map[string]struct {
		answer []byte
		parse  func([]byte) error
	}{
		"topics":    {(&kmsg.MetadataResponse{Version: 4, Topics: topics}).AppendTo(nil), func(b []byte) error { _, err := ParseMetadata(b); return err }},
		"resources": {(&kmsg.DescribeConfigsResponse{Version: 1, Resources: resources}).AppendTo(nil), func(b []byte) error { _, _, err := ParseDescribeConfigs(b); return err }},
		"settings":  {(&kmsg.DescribeConfigsResponse{Version: 1, Resources: one}).AppendTo(nil), func(b []byte) error { _, _, err := ParseDescribeConfigs(b); return err }},
		"produced": {(&kmsg.ProduceResponse{Version: 3, Topics: []kmsg.ProduceResponseTopic{{Partitions: produced}}}).AppendTo(nil),
			func(b []byte) error { _, _, err := ParseProduce(b, 3); return err }},
	} {
		var err error
		got := allocated(func() { err = c.parse(c.answer) })
		t.Logf("%s: %d bytes for %d", name, got, len(c.answer))
		if err != nil || got > uint64(mostTimes*len(c.answer)) {
			t.Errorf("%s: %d bytes for %d; %v", name, got, len(c.answer), err)
		}
	}
}

// FuzzAnswers: no bytes make a reader panic, or allocate more than a multiple of
// their number.
func FuzzAnswers(f *testing.F) {
	for _, c := range answers() {
		f.Add(c.answer)
	}
	f.Add([]byte(strings.Repeat("\xff", 64)))
	f.Add([]byte(strings.Repeat("\x7f", 64)))
	f.Add(make([]byte, 4096))
	f.Fuzz(func(t *testing.T, answer []byte) {
		scram := NewSCRAM256("north", "right", "nonce")
		for name, parse := range map[string]func() error{
			"versions":   func() error { _, err := ParseVersions(answer); return err },
			"mechanisms": func() error { _, err := ParseSASLHandshake(answer); return err },
			"step 0":     func() error { _, _, err := ParseSASLAuthenticate(answer, 0); return err },
			"step 1":     func() error { _, _, err := ParseSASLAuthenticate(answer, 1); return err },
			"metadata":   func() error { _, err := ParseMetadata(answer); return err },
			"number":     func() error { _, _, _, err := ParseInitProducerID(answer); return err },
			"settings":   func() error { _, _, err := ParseDescribeConfigs(answer); return err },
			"produce 3":  func() error { _, _, err := ParseProduce(answer, 3); return err },
			"produce 5":  func() error { _, _, err := ParseProduce(answer, 5); return err },
			"produce 8":  func() error { _, _, err := ParseProduce(answer, 8); return err },
			"scram":      func() error { return scram.Verify(answer) },
		} {
			if got := allocated(func() { parse() }); got > uint64(mostTimes*len(answer)+someBytes) {
				t.Errorf("%s: %d bytes for %d", name, got, len(answer))
			}
		}
	})
}

// A reader that was made to fail on purpose shows the bound at work: an array of a
// thousand million things of which there is none.
func TestCountsAloneCostNothing(t *testing.T) {
	huge := append(make([]byte, 4), 0x7f, 0xff, 0xff, 0xff)
	if _, err := ParseMetadata(huge); !errors.Is(err, ErrAnswer) {
		t.Error(err)
	}
	if n := testing.AllocsPerRun(100, func() { ParseMetadata(huge) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
}
