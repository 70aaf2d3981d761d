package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/tidegate/tidegate/reading"
)

// goldenCase is what a golden vector is made from.
type goldenCase struct {
	name, about string
	gateway     string // of a chunk
	blocks      []caseBlock
}

// caseBlock is a block of the readings of its only part, or a merged one.
type caseBlock struct {
	Header
	parts [][]reading.Reading
}

// writeGolden makes all vectors anew.
func writeGolden(t *testing.T) {
	t.Helper()
	for _, c := range goldenCases() {
		var blocks []Block
		for _, b := range c.blocks {
			blocks = append(blocks, b.encode(t))
		}
		raw := blocks[0].Raw
		if c.gateway != "" {
			var err error
			if raw, err = AppendChunk(nil, Chunk{Gateway: c.gateway, Blocks: blocks}); err != nil {
				t.Fatal(err)
			}
		}
		save(t, goldenDir, c.name, raw, describe(t, c.about, raw).file(t))
	}
	for _, c := range badCases(t) {
		text, err := json.Marshal(map[string]string{"about": c.about, "error": c.reason})
		if err != nil {
			t.Fatal(err)
		}
		save(t, badDir, c.name, c.raw, append(text, '\n'))
	}
}

func (b caseBlock) encode(t *testing.T) Block {
	t.Helper()
	h := b.Header
	var parts []Block
	for _, rs := range b.parts {
		parts = append(parts, mustBlock(t, h, rs))
		h.First += uint64(len(rs))
	}
	if len(parts) == 1 {
		return parts[0]
	}
	raw, err := NewMerger().Merge(nil, parts)
	if err != nil {
		t.Fatal(err)
	}
	return parseOne(t, raw)
}

func save(t *testing.T, dir, name string, raw, description []byte) {
	t.Helper()
	for ext, content := range map[string][]byte{".bin": raw, ".json": description} {
		if err := os.WriteFile(filepath.Join(dir, name+ext), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// caseTime is 2026-03-01 12:00:00 UTC.
const caseTime = 1772366400 * second

func goldenCases() []goldenCase {
	h := Header{Epoch: 0x1122334455667788, First: 1, Boot: 0xcafe, Clock: Synced, Uptime: 61_000}
	with := func(change func(*Header)) Header {
		c := h
		change(&c)
		return c
	}
	block := func(name, about string, h Header, parts ...[]reading.Reading) goldenCase {
		return goldenCase{name: name, about: about, blocks: []caseBlock{{h, parts}}}
	}
	alarms := with(func(h *Header) { h.Lane, h.Clock = reading.Alarm, Stepped })
	early := with(func(h *Header) { h.Lane, h.Clock, h.Boot, h.Uptime = reading.Bulk, Unsynced, 1, 900 })
	late := with(func(h *Header) {
		h.Epoch, h.First, h.Boot, h.Uptime = math.MaxUint64, math.MaxUint64, math.MaxUint32, math.MaxInt64
	})
	merged := caseBlock{h, [][]reading.Reading{example(), series("pump-1", "temp", second, floats(20.75)), example()[:4]}}
	after := caseBlock{with(func(h *Header) { h.First = 100 }), [][]reading.Reading{series("pump-3", "on", 1, bools(3))}}

	return []goldenCase{
		block("worked-example", "two devices, two metrics, two samples each: the example of FORMAT.md", h, example()),
		block("smallest", "one reading, every name empty, everything else zero", Header{First: 1}, series("", "", 1, floats(0))),
		block("decimals-steady", "floats as deltas of deltas of their decimal digits; milliseconds", h,
			series("meter", "kWh", 250e6, floats(1000.25, 1000.5, 1000.75, 1001, 1001.25, 1001.5))),
		block("decimals-exceptions", "floats of two decimals, and two that are no decimals", h,
			uneven(series("t", "temp", second, floats(20.5, 21.37, 1.0/3, 19.02, 18, 22.91, 17.77, 25.08,
				20.7, 31.5, math.Copysign(0, -1), 16.63, 9.99, 28.4, 12.21, 15.3)))),
		block("floats-xor", "floats that are no short decimals; nanoseconds", h, series("imu", "ax", 333, floats(
			math.Pi, math.Pi, 1.0/3, math.Float64frombits(0x7ff8000000000123), math.Inf(1), -math.SmallestNonzeroFloat64,
			math.MaxFloat64, 0))),
		block("integers", "integers as deltas, which wrap; microseconds", h,
			series("plc", "raw", 1_500_000, ints(math.MinInt64, math.MaxInt64, -1, 0, 1<<53+1))),
		block("integers-steady", "integers as deltas of deltas, of two devices; microseconds", h, slices.Concat(
			series("plc-1", "count", 2000, ints(1<<60, 1<<60+1000, 1<<60+2000, 1<<60+3001)),
			series("plc-2", "count", 2000, ints(1<<59, 1<<59+777, 1<<59+1554)))),
		block("booleans", "eleven booleans of one device and two of another in one column", h, slices.Concat(
			series("door-1", "open", second, bools(11)), series("door-2", "open", second, bools(2)))),
		block("texts", "texts with and without a table of those that repeat", h, texts(reading.String)),
		block("bytes", "opaque bytes with and without a table of those that repeat", h, texts(reading.Bytes)),
		block("mixed-kinds", "a column with every kind of value", h, series("x", "v", second, []reading.Value{
			reading.Float(1.5), reading.Int(-3), reading.Bool(true), reading.String("off"), reading.Bytes("\x00\xff"), reading.Bool(false)})),
		block("flags-per-row", "rows with flags of their own, in the alarm lane, the clock stepped", alarms, flagged(example())),
		block("before-1970", "times before 1970 of a clock that was never set, in the bulk lane, all with the same flags", early, unset()),
		block("largest-numbers", "header fields at the ends of their ranges", late, []reading.Reading{
			{Device: "d", Metric: "m", Time: math.MaxInt64, Value: reading.Float(-1), Flags: 255}}),
		block("hostile-names", "names that are alike, empty, not text or not UTF-8", h, hostile()),
		block("long-names", "names longer than one byte of length can say", h, append(
			series(strings.Repeat("long/", 60), strings.Repeat("metric.", 30), second, floats(1, 2)),
			series(strings.Repeat("long/", 60)+"er", strings.Repeat("metric.", 30), second, floats(3, 4))...)),
		block("several-shapes", "devices with different fields, one metric in two units, a metric twice in a row", h, shapes()),
		block("merged", "three blocks merged: sequence numbers follow the parts, not the groups", h, merged.parts...),
		block("packed", "a compressed block", h, fleet(12, 6)),
		block("packed-merged", "a compressed block merged from two", h, fleet(8, 3), fleet(8, 3)),
		{"chunk", "a chunk of one block", "barn-7", []caseBlock{{h, [][]reading.Reading{example()[:2]}}}},
		{"chunk-with-hole", "a chunk of a merged block, a hole, and another block", "north/mill", []caseBlock{merged, after}},
	}
}

func example() []reading.Reading {
	var rs []reading.Reading
	for i, v := range []float64{20.5, 55, 21, 61, 20.75, 54.5, 21, 61.5} {
		field := []reading.Reading{{Metric: "temp", Unit: "Cel"}, {Metric: "hum", Unit: "%RH"}}[i%2]
		field.Device = fmt.Sprintf("pump-%d", 1+i/2%2)
		field.Time = caseTime + int64(i/4)*10*second
		field.Value = reading.Float(v)
		rs = append(rs, field)
	}
	return rs
}

// series is readings of one series, step nanoseconds apart.
func series(device, metric string, step int64, vs []reading.Value) []reading.Reading {
	rs := make([]reading.Reading, len(vs))
	for i, v := range vs {
		rs[i] = reading.Reading{Device: device, Metric: metric, Time: caseTime + int64(i)*step, Value: v}
	}
	return rs
}

func uneven(rs []reading.Reading) []reading.Reading {
	for i := range rs {
		rs[i].Time += int64(i*i) * second
	}
	return rs
}

func floats(fs ...float64) (vs []reading.Value) {
	for _, f := range fs {
		vs = append(vs, reading.Float(f))
	}
	return vs
}

func ints(is ...int64) (vs []reading.Value) {
	for _, i := range is {
		vs = append(vs, reading.Int(i))
	}
	return vs
}

func bools(n int) (vs []reading.Value) {
	for i := range n {
		vs = append(vs, reading.Bool(i%3 == 0))
	}
	return vs
}

func texts(value func(string) reading.Value) []reading.Reading {
	var rs []reading.Reading
	for i, s := range []string{"", "läuft", "3 bar", "\x00\x80\xff"} {
		at := caseTime + int64(i)*second
		rs = append(rs,
			reading.Reading{Device: "drive", Metric: "note", Time: at, Value: value(s)},
			reading.Reading{Device: "drive", Metric: "state", Time: at, Value: value([]string{"idle", "on"}[i/2])})
	}
	return rs
}

func flagged(rs []reading.Reading) []reading.Reading {
	for i := range rs { // rows have two readings
		rs[i].Flags = []reading.Flags{0, reading.Bad, reading.Stamped | reading.Uncertain, reading.Historical.WithQoS(2)}[i/2%4]
	}
	return rs
}

func unset() []reading.Reading {
	rs := series("dev", "t", second, floats(1, 2, 3))
	for i := range rs {
		rs[i].Time += -caseTime - 2*second
		rs[i].Flags = reading.Stamped
	}
	return rs
}

func hostile() []reading.Reading {
	names := []string{"", " ", "a", "a\x00", "a\x00b", "a\nb", `a"b\`, "caf\u00e8", "caf\u00e9", "caf\xc3", "\xff\xfe",
		"../../etc/passwd", "$SYS/#", "\u202etxt.exe"}
	var rs []reading.Reading
	for i, name := range names {
		rs = append(rs, reading.Reading{Device: name, Metric: names[len(names)-1-i], Unit: names[(i+3)%len(names)],
			Time: caseTime, Value: reading.Float(float64(i))})
	}
	return rs
}

func shapes() []reading.Reading {
	var rs []reading.Reading
	add := func(device string, at int64, fields ...string) {
		for i, f := range fields {
			metric, unit, _ := strings.Cut(f, " ")
			rs = append(rs, reading.Reading{Device: device, Metric: metric, Unit: unit, Time: caseTime + at*second,
				Value: reading.Float(float64(10*at) + float64(i))})
		}
	}
	add("b", 0, "temp Cel", "hum %RH")
	add("a", 0, "hum %RH", "temp Cel")
	add("a", 60, "temp K")
	add("c", 60, "first", "again", "again")
	add("b", 60, "temp Cel", "hum %RH")
	add("a", 61, "hum %RH", "temp Cel")
	return rs
}

type badCase struct {
	name, about, reason string
	raw                 []byte
}

// badCases are damaged or hostile frames. Most are made from the example: sealed
// puts a body under a header that says what it holds.
func badCases(t *testing.T) []badCase {
	t.Helper()
	h := Header{Epoch: 1, First: 1, Count: 1, Clock: Synced}
	sealed := func(flags byte, rawLen int, body []byte) []byte {
		raw := append(appendHeader(nil, h, rawLen, flags), body...)
		sealFrame(raw, 0)
		return raw
	}
	good := mustBlock(t, h, series("d", "m", 1, floats(7)))
	plain := func(change func(body []byte) []byte) []byte {
		body := change(slices.Clone(good.body))
		return sealed(0, len(body), body)
	}
	edited := func(at int, to byte) []byte {
		return plain(func(b []byte) []byte { b[at] = to; return b })
	}
	resealed := func(raw []byte, at int, to byte) []byte {
		raw = slices.Clone(raw)
		raw[at] = to
		sealFrame(raw, 0)
		return raw
	}
	flipped := slices.Clone(good.Raw)
	flipped[len(flipped)-1] ^= 1
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	chunk, twice := mustChunk(t, good.Raw), mustChunk(t, good.Raw)
	twice[prefixLen+3] = 2 // blocks, after reference and gateway
	twice = append(twice, good.Raw...)
	sealFrame(twice, 0)

	return []badCase{
		{"checksum", "one bit of the body has flipped", "corrupt", flipped},
		{"truncated", "the last byte is missing", "corrupt", good.Raw[:len(good.Raw)-1]},
		{"version-2", "a frame of version 2 with a good checksum", "version", resealed(good.Raw, 2, 2)},
		{"flag-6", "a reserved flag of a block is set", "version", resealed(good.Raw, 3, 1<<6)},
		{"clock-3", "a reserved state of the clock", "version", resealed(good.Raw, 3, 3<<clockShift)},
		{"lane-3", "there is no lane 3", "corrupt", resealed(good.Raw, 3, 3)},
		{"first-0", "sequence numbers start at 1", "corrupt", resealed(good.Raw, prefixLen+12, 0)},
		{"count-too-small", "the body holds more readings than the header says", "corrupt", edited(len(good.body)-9, 2)},
		{"trailing-byte", "a byte follows the last column", "corrupt", plain(func(b []byte) []byte { return append(b, 0) })},
		{"shared-prefix", "the first name shares bytes with a name before it", "corrupt", edited(1, 1)},
		{"names-run-out", "the second name shares bytes of a first that is not all there", "corrupt",
			sealed(0, 8, []byte("\x02\x00\x05\x05\x00abc"))},
		{"time-unit-4", "there is no time unit 4", "corrupt", edited(len(good.body)-8, 4)},
		{"time-outside-span", "a time is later than base and span allow", "corrupt", edited(len(good.body)-7, 2)},
		{"tag-11", "there is no column tag 11", "corrupt", edited(len(good.body)-4, 11)},
		{"scale-16", "decimals have at most 15 digits after the point", "corrupt", edited(len(good.body)-3, 16)},
		{"body-length", "the body inflates to more than the header says", "corrupt",
			sealed(flagPacked, 8, z.EncodeAll(make([]byte, 1<<20), nil))},
		{"varint-overflow", "the first varint of the body has no end within ten bytes", "corrupt",
			sealed(0, 11, binary.AppendUvarint(bytesOf(0xff, 10), 1))},
		{"chunk-reference", "the chunk refers to an earlier one", "version", resealed(chunk, prefixLen, 1)},
		{"chunk-overlap", "the second block repeats the first", "corrupt", twice},
	}
}

func bytesOf(b byte, n int) []byte { return slices.Repeat([]byte{b}, n) }
