package dialect

import (
	"bytes"
	"errors"
	"maps"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/sparkplug"
	"github.com/tidegate/tidegate/reading"
)

// book is a decode.Memory for one goroutine.
type book struct {
	notes map[string][]byte
	units map[string]map[string]string
}

func newBook() *book {
	return &book{map[string][]byte{}, map[string]map[string]string{}}
}

func (b *book) Recall(key string) []byte { return b.notes[key] }

func (b *book) Remember(key string, value []byte) {
	if b.notes[key] = value; value == nil {
		delete(b.notes, key)
	}
}

func (b *book) Units(topic string) map[string]string { return b.units[topic] }

func (b *book) RememberUnit(topic, metric, unit string) {
	after := maps.Clone(b.units[topic])
	if after == nil {
		after = map[string]string{}
	}
	if after[metric] = unit; unit == "" {
		delete(after, metric)
	}
	b.units[topic] = after
}

func addCases(f *testing.F, glob string) {
	f.Helper()
	cases, err := filepath.Glob("testdata/" + glob + "/frames.txt")
	if err != nil || len(cases) == 0 {
		f.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		before := frame{topic: "x"}
		for _, next := range readFrames(f, file) {
			f.Add(before.topic, before.payload, next.topic, next.payload)
			before = next
		}
	}
}

// maxPerByte bounds the readings of a payload beyond the elements of arrays.
const maxPerByte = 1

// fuzz feeds one payload and then another to a dialect: no panic, nothing
// half-taken, the same from a decoder that has seen the topics before, nothing
// that is no text, and no more readings than the payload has bytes, but for the
// devices of an edge node that dies.
func fuzz(f *testing.F, make func() decode.Decoder) {
	f.Fuzz(func(t *testing.T, topic1 string, payload1 []byte, topic2 string, payload2 []byte) {
		if !utf8.ValidString(topic1) || !utf8.ValidString(topic2) {
			return // doors take no such topics
		}
		used := make()
		memory, again := newBook(), newBook()
		one := func(d decode.Decoder, m decode.Memory, topic string, payload []byte) ([]reading.Reading, error) {
			before := bytes.Clone(payload)
			keep := []reading.Reading{{Metric: "kept"}}
			rs, err := d.Decode(keep, decode.Frame{Topic: topic, Device: topic, Payload: payload, Memory: m})
			if !bytes.Equal(before, payload) {
				t.Fatal("the payload was changed")
			}
			if err != nil && (!errors.Is(err, decode.ErrMalformed) || !strings.Contains(err.Error(), " — hint: ") || len(rs) != 1) {
				t.Fatalf("%v, %v", rs, err)
			}
			if rs[0].Metric != "kept" {
				t.Fatal("dst was changed")
			}
			return rs[1:], err
		}
		for _, f := range []frame{{topic1, payload1}, {topic2, payload2}, {topic1, payload1}} {
			rs, err := one(used, memory, f.topic, f.payload)
			if fresh, freshErr := one(make(), again, f.topic, f.payload); !slices.EqualFunc(rs, fresh, sameReading) || (err == nil) != (freshErr == nil) {
				t.Fatalf("a new decoder gives %v %v, one that is used %v %v", fresh, freshErr, rs, err)
			}
			if len(rs) > 1+len(topic1)+len(topic2)+maxPerByte*len(f.payload)+sparkplug.MaxElements {
				t.Fatalf("%d readings of %d bytes", len(rs), len(f.payload))
			}
			for _, r := range rs {
				if !utf8.ValidString(r.Device+r.Metric+r.Unit) || r.Value.Kind() == reading.KindString && !utf8.ValidString(r.Value.Text()) {
					t.Fatalf("not UTF-8: %+v", r)
				}
				if len(r.Metric) > maxMetricName+len(f.topic)+300 {
					t.Fatalf("a name of %d bytes", len(r.Metric))
				}
			}
		}
		if !reflect.DeepEqual(memory, again) {
			t.Fatalf("a new decoder remembers %v, one that is used %v", again, memory)
		}
	})
}

func sameReading(a, b reading.Reading) bool {
	return line(a) == line(b) // NaN is not equal to itself
}

func FuzzSparkplug(f *testing.F) {
	addCases(f, "sparkplug-*")
	fuzz(f, func() decode.Decoder { return NewSparkplug() })
}

func FuzzThinEdge(f *testing.F) {
	addCases(f, "thin-edge-*")
	fuzz(f, func() decode.Decoder { return NewThinEdge() })
}

func FuzzTasmota(f *testing.F) {
	addCases(f, "tasmota-*")
	fuzz(f, func() decode.Decoder { return NewTasmota() })
}

func FuzzZigbee2MQTT(f *testing.F) {
	addCases(f, "zigbee2mqtt-*")
	fuzz(f, func() decode.Decoder { return NewZigbee2MQTT() })
}

func FuzzHomeAssistant(f *testing.F) {
	addCases(f, "homeassistant-*")
	fuzz(f, func() decode.Decoder { return NewHomeAssistant() })
}

func FuzzHomie(f *testing.F) {
	addCases(f, "homie-*")
	fuzz(f, func() decode.Decoder { return NewHomie() })
}

// FuzzBirthNote parses anything, which must not panic, and what a birth writes,
// which must come back.
func FuzzBirthNote(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 3, 2, 9, 0, 1, 'A', 0}, "Temp/1", "Temp/2", uint64(7))
	f.Fuzz(func(t *testing.T, note []byte, first, second string, alias uint64) {
		if b := parseBirth(note); b != nil {
			size := 0
			for _, m := range b.metrics {
				size += len(m.name) + len(m.unit)
			}
			if size > (maxMetricName+1)*len(note) {
				t.Fatalf("%d bytes of names from a note of %d", size, len(note))
			}
		}
		first, second = first[:min(len(first), maxMetricName)], second[:min(len(second), maxMetricName)]
		want := &birth{generation: alias, session: alias, metrics: []announced{
			{name: first, unit: "Cel", typ: sparkplug.Float, alias: alias, hasAlias: alias < 1<<64-1}, {name: second, typ: sparkplug.Text},
		}}
		if !want.metrics[0].hasAlias {
			want.metrics[0].alias = 0
		}
		got := parseBirth(want.note())
		if got == nil || got.generation != want.generation || got.session != want.session || !slices.Equal(cleared(got.metrics), cleared(want.metrics)) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

// cleared leaves out aliases that nobody gave.
func cleared(all []announced) []announced {
	all = slices.Clone(all)
	for i := range all {
		if !all[i].hasAlias {
			all[i].alias = 0
		}
	}
	return all
}

// TestHostilePayloadsCostMemoryInProportion measures what decoding allocates for
// payloads that make the most of one byte.
func TestHostilePayloadsCostMemoryInProportion(t *testing.T) {
	const size = 64 << 10
	fill := func(head, unit string) []byte {
		return append([]byte(head), bytes.Repeat([]byte(unit), size/len(unit))...)
	}
	block := func(number int, content []byte) []byte { return appendBlock(nil, protowire.Number(number), content) }
	named := append(block(1, []byte("a")), appendInteger(nil, 4, 32)...)
	bits := append(named, block(16, append([]byte{0, 0, 8, 0}, make([]byte, size)...))...)
	nested := []byte{}
	for range 2000 {
		nested = append(append(block(1, []byte("aaaaaaaaaaaaaaaa")), 0x20, 19), block(18, block(2, nested))...)
	}
	bomb := encodeSparkplug(t, `{"compress":"DEFLATE","metrics":[{"name":"a","type":12,"string":"`+strings.Repeat("a", 4<<20)+`"}]}`)
	for name, c := range map[string]frame{
		"empty metrics":     {"spBv1.0/g/NBIRTH/n", fill("", "\x12\x00")},
		"metrics":           {"spBv1.0/g/NBIRTH/n", fill("", "\x12\x07\x0a\x01a\x20\x0b\x70\x01")},
		"bits":              {"spBv1.0/g/NBIRTH/n", block(2, bits)},
		"templates":         {"spBv1.0/g/NBIRTH/n", block(2, nested)},
		"cells":             {"spBv1.0/g/NBIRTH/n", block(2, append(append(block(1, []byte("a")), 0x20, 16), block(17, block(4, fill("", "\x0a\x00")))...))},
		"properties":        {"spBv1.0/g/NBIRTH/n", block(2, append(block(1, []byte("a")), block(9, fill("", "\x0a\x00"))...))},
		"bomb":              {"spBv1.0/g/NBIRTH/n", bomb},
		"groups":            {"spBv1.0/g/NBIRTH/n", fill("", "\x0b")},
		"meta":              {"te/device/a///m/t/meta", fill(`{`, `"a":{"unit":"V"},`)},
		"devices":           {"zigbee2mqtt/bridge/devices", fill(`[`, `{},`)},
		"exposes":           {"zigbee2mqtt/bridge/devices", fill(`[{"friendly_name":"a","definition":{"exposes":[`, `{"property":"a","features":[`)},
		"discovery":         {"homeassistant/a/b/config", fill(`{`, `"a":1,`)},
		"components":        {"homeassistant/device/b/config", fill(`{"cmps":{`, `"a":{},`)},
		"homie description": {"homie/5/a/$description", fill(`{"nodes":{`, `"a":{},`)},
		"sensors":           {"tele/a/SENSOR", fill(`{`, `"a":1,`)},
	} {
		for _, d := range Known() {
			decoder := d.New()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := decoder.Decode(nil, decode.Frame{Topic: c.topic, Device: c.topic, Payload: c.payload, Memory: newBook()})
			runtime.ReadMemStats(&after)
			got := after.TotalAlloc - before.TotalAlloc
			if most := uint64(1<<20 + 100*len(c.payload)); got > most {
				t.Errorf("%s, %s: %d bytes allocated for %d (%v)", d.Name, name, got, len(c.payload), err)
			}
		}
	}
}

func frameOf(f frame, m decode.Memory) decode.Frame {
	return decode.Frame{Topic: f.topic, Device: f.topic, Payload: f.payload, Memory: m}
}
