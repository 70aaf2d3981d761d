package encode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/wire"
)

func encoder(t testing.TB, cfg Config) uplink.Encoder {
	t.Helper()
	if cfg.Gateway == "" {
		cfg.Gateway = "gw"
	}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func encoded(t testing.TB, cfg Config, blocks []wire.Block, limit int) ([]byte, []uplink.Part) {
	t.Helper()
	body, parts, err := encoder(t, cfg).Encode(nil, blocks, limit)
	if err != nil {
		t.Fatal(err)
	}
	return body, parts
}

// anyKind returns consecutive blocks of readings of every kind, of series that
// come and go.
func anyKind(t testing.TB, seed uint64, blocks, each int) []wire.Block {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	var out []wire.Block
	next := uint64(100)
	at := int64(1_700_000_000_123_000_000)
	for range blocks {
		var rs []reading.Reading
		for range each {
			if rng.IntN(3) == 0 {
				at += rng.Int64N(5_000_000_000)
			}
			rs = append(rs, reading.Reading{
				Device: fmt.Sprintf("dev-%d", rng.IntN(4)),
				Metric: fmt.Sprintf("m%d", rng.IntN(3)),
				Unit:   []string{"", "Cel"}[rng.IntN(2)],
				Time:   at,
				Value:  anyValue(rng),
				Flags:  reading.Flags(rng.IntN(3)).WithQoS(byte(rng.IntN(3))),
			})
		}
		b := block(t, wire.Header{Epoch: 0xbeef, First: next, Lane: reading.Bulk}, rs)
		out, next = append(out, b), b.Last()+1
	}
	return out
}

func anyValue(rng *rand.Rand) reading.Value {
	switch rng.IntN(6) {
	case 0:
		return reading.Int(rng.Int64() >> rng.IntN(10))
	case 1:
		return reading.Bool(rng.IntN(2) == 0)
	case 2:
		return reading.String([]string{"", "eco", `say "hi", a=b\`, "Grüße\n"}[rng.IntN(4)])
	case 3:
		return reading.Bytes(string([]byte{0, 255, byte(rng.IntN(256))}))
	case 4:
		return reading.Float(math.Round(rng.NormFloat64()*1e4) / 100)
	}
	return reading.Float(rng.NormFloat64())
}

// TestPartsAreTheWholeMessage checks every encoding and cut: parts are stretches
// of the body, in order, without anything between them; every reading is in one.
func TestPartsAreTheWholeMessage(t *testing.T) {
	blocks := anyKind(t, 7, 9, 25)
	all := decodeAll(t, blocks)
	for _, name := range Encodings() {
		for per := range Per(pers) {
			for _, limit := range []int{math.MaxInt, 900, 1} {
				cfg := Config{Gateway: "gw", Encoding: name, Per: per, Pieces: true}
				e, err := New(cfg)
				if err != nil || name == packedName {
					continue // a cut that it does not have
				}
				t.Run(fmt.Sprintf("%s/%s/%d", name, per, limit), func(t *testing.T) {
					body, parts, err := e.Encode([]byte("head"), blocks, limit)
					if err != nil {
						t.Fatal(err)
					}
					if !bytes.HasPrefix(body, []byte("head")) {
						t.Fatal("what was there before is gone")
					}
					checkParts(t, parts, body[len("head"):], all, limit, e.(*Cutter).LeftOut())
					if parts != nil && name != thingsboardName {
						checkGroups(t, parts, all, per)
					}
				})
			}
		}
	}
}

func checkParts(t *testing.T, parts []uplink.Part, body []byte, all []numbered, limit int, left uint64) {
	t.Helper()
	if parts == nil {
		if limit < len(body) {
			t.Errorf("%d bytes in one, at most %d may be", len(body), limit)
		}
		return
	}
	count, keys := 0, map[string]bool{}
	m := uplink.Message{Parts: parts}
	for _, p := range parts {
		if !bytes.HasPrefix(body, p.Body) || cap(p.Body) != len(p.Body) {
			t.Fatalf("part %d-%d is no stretch of the body, or could write beyond it", p.First, p.Last)
		}
		if len(p.Body) > limit && p.Count > 1 {
			t.Errorf("part %d-%d of %d readings has %d bytes, at most %d may be", p.First, p.Last, p.Count, len(p.Body), limit)
		}
		body = body[len(p.Body):]
		count += p.Count
		keys[m.PartKey(p)] = true
	}
	if len(body) > 0 {
		t.Errorf("%d bytes are in no part", len(body))
	}
	if len(keys) != len(parts) {
		t.Errorf("%d keys of %d parts", len(keys), len(parts))
	}
	if count > len(all) || count+int(left) < len(all) {
		t.Errorf("parts count %d readings of %d, %d were left out", count, len(all), left)
	}
}

// checkGroups checks what parts say of themselves against the readings.
func checkGroups(t *testing.T, parts []uplink.Part, all []numbered, per Per) {
	t.Helper()
	bySeq := map[uint64]numbered{}
	for _, r := range all {
		bySeq[r.seq] = r
	}
	for _, p := range parts {
		first, last := bySeq[p.First], bySeq[p.Last]
		if p.Time < first.Time || p.Time < last.Time {
			t.Errorf("part %d-%d is of %d, its readings are later", p.First, p.Last, p.Time)
		}
		if per >= Device && (p.Device != first.Device || p.Device != last.Device) {
			t.Errorf("part %d-%d is of device %q, its first of %q", p.First, p.Last, p.Device, first.Device)
		}
		if per >= Series && (p.Metric != first.Metric || p.Metric != last.Metric || first.Unit != last.Unit) {
			t.Errorf("part %d-%d is of metric %q, its first of %q", p.First, p.Last, p.Metric, first.Metric)
		}
		if p.Count == 1 && (p.First != p.Last || p.Flags != first.Flags || p.Time != first.Time) || p.Count > 1 && p.Flags != 0 {
			t.Errorf("%+v, want what is said of %+v", p, first)
		}
		if per == Reading && p.Count != 1 {
			t.Errorf("%d readings in the message of one", p.Count)
		}
	}
	if !slices.IsSortedFunc(parts, func(a, b uplink.Part) int { return int(int64(a.First - b.First)) }) && per == Reading {
		t.Error("parts are out of order")
	}
}

// TestCutKeepsOrder reads the numbers of a message per device and per series:
// they ascend within each, and all are there once.
func TestCutKeepsOrder(t *testing.T) {
	blocks := anyKind(t, 3, 5, 60)
	want := len(decodeAll(t, blocks))
	for _, per := range []Per{Device, Series, Reading} {
		_, parts := encoded(t, Config{Encoding: ndjsonName, Per: per}, blocks, 2000)
		seen := map[uint64]bool{}
		of := map[string]uint64{}
		for _, p := range parts {
			for l := range bytes.Lines(p.Body) {
				var r struct {
					Seq                           uint64
					Gateway, Epoch, Lane          string
					Device, Metric, Unit, Quality string
				}
				if err := json.Unmarshal(l, &r); err != nil {
					t.Fatal(err)
				}
				if r.Gateway != "gw" || r.Epoch != "000000000000beef" || r.Lane != "bulk" {
					t.Fatalf("%s does not say whose it is", l)
				}
				group := r.Device
				if per == Series {
					group += "/" + r.Metric + "/" + r.Unit
				}
				if r.Seq <= of[group] {
					t.Errorf("%s: number %d behind %d", group, r.Seq, of[group])
				}
				of[group], seen[r.Seq] = r.Seq, true
			}
		}
		if len(seen) != want {
			t.Errorf("per %s: %d of %d readings", per, len(seen), want)
		}
	}
}

func TestEveryEncodingIsPure(t *testing.T) {
	a, b := anyKind(t, 1, 4, 30), anyKind(t, 2, 3, 50)
	for _, name := range Encodings() {
		for per := range Per(pers) {
			e, err := New(Config{Gateway: "gw", Encoding: name, Per: per, Pieces: true})
			if err != nil {
				continue
			}
			first, parts := encoded(t, Config{Encoding: name, Per: per, Pieces: true}, a, 1500)
			for _, blocks := range [][]wire.Block{b, {damaged(t, b[0])}, b[:1]} {
				if _, _, err := e.Encode(nil, blocks, 700); err != nil && !errors.Is(err, wire.ErrCorrupt) {
					t.Fatal(err)
				}
			}
			again, partsAgain, err := e.Encode(nil, a, 1500)
			if err != nil || !bytes.Equal(first, again) || fmt.Sprint(parts) != fmt.Sprint(partsAgain) {
				t.Errorf("%s per %s: other bytes of the same blocks (%v)", name, per, err)
			}
		}
	}
}

func TestDamagedBlockSpoilsNoOther(t *testing.T) {
	blocks := commits(t, 5, 3)
	blocks[2] = damaged(t, blocks[2])
	for _, name := range Encodings() {
		e := encoder(t, Config{Encoding: name})
		body, parts, err := e.Encode([]byte("head"), blocks, math.MaxInt)
		if !errors.Is(err, wire.ErrCorrupt) || string(body) != "head" || parts != nil {
			t.Errorf("%s: %q, %v; want what was there and ErrCorrupt", name, body, err)
		}
		if _, _, err := e.Encode(nil, blocks[:2], math.MaxInt); err != nil {
			t.Errorf("%s, the next message: %v", name, err)
		}
		if _, _, err := e.Encode(nil, nil, math.MaxInt); err == nil {
			t.Errorf("%s: a message of nothing", name)
		}
	}
}

func TestWhatCannotBeCutIsRefused(t *testing.T) {
	for text, cfg := range map[string]Config{
		"one of packed, json":  {Encoding: "xml"},
		`hint: write "batch"`:  {Encoding: packedName, Per: Device},
		`"batch" or "reading"`: {Encoding: rawName, Per: Device},
		`"batch" or "device"`:  {Encoding: thingsboardName, Per: Series},
		"{gateway}, {lane}":    {Encoding: lineName, Line: LineConfig{Measurement: "{host}"}},
		`"{" is no template`:   {Encoding: lineName, Line: LineConfig{Field: "{"}},
		"there twice":          {Encoding: lineName, Line: LineConfig{Tags: []string{"a=1", "a=2"}}},
		"is no tag":            {Encoding: lineName, Line: LineConfig{Tags: []string{"a"}}},
		"for InfluxDB itself":  {Encoding: lineName, Line: LineConfig{Tags: []string{"time={lane}"}}},
		"behind the =":         {Encoding: lineName, Line: LineConfig{Tags: []string{"{lane}=x"}}},
		"tag a: ":              {Encoding: lineName, Line: LineConfig{Tags: []string{"a={b}"}}},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%+v: %v, want %q", cfg, err, text)
		}
	}
}

// TestMemoryOfALargeMessageIsReturned: one message of many readings does not
// stay in memory for ever.
func TestMemoryOfALargeMessageIsReturned(t *testing.T) {
	c := encoder(t, Config{Encoding: ndjsonName, Per: Series}).(*Cutter)
	for n, want := range map[int]bool{1000: true, 10_000: false} {
		if _, _, err := c.Encode(nil, commits(t, 1, n), math.MaxInt); err != nil {
			t.Fatal(err)
		}
		if kept := cap(c.readings) > 0; kept != want {
			t.Errorf("after %d readings there is room for %d", 4*n, cap(c.readings))
		}
		if len(c.groups) > 0 {
			t.Errorf("%d names are kept", len(c.groups))
		}
	}
}

func TestPerHasNames(t *testing.T) {
	for p := range Per(pers) {
		if got, ok := ParsePer(p.String()); !ok || got != p {
			t.Errorf("%d is called %q, which is %v", p, p, got)
		}
	}
	if _, ok := ParsePer("message"); ok {
		t.Error("there is no message per message")
	}
}

// FuzzCut cuts random messages at random limits: every reading is in one part or
// counted as left out, and parts are stretches of the body.
func FuzzCut(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(20), uint8(1), uint8(1), uint16(500))
	f.Add(uint64(2), uint8(1), uint8(1), uint8(5), uint8(0), uint16(0))
	f.Fuzz(func(t *testing.T, seed uint64, blocks, each, encoding, per uint8, limit uint16) {
		cfg := Config{Gateway: "gw", Encoding: Encodings()[int(encoding)%len(Encodings())], Per: Per(per % pers), Pieces: true}
		e, err := New(cfg)
		if err != nil || cfg.Encoding == packedName {
			return
		}
		message := anyKind(t, seed, 1+int(blocks)%8, 1+int(each)%64)
		body, parts, err := e.Encode(nil, message, int(limit))
		if err != nil {
			t.Fatal(err)
		}
		all := decodeAll(t, message)
		if parts == nil && len(body) > int(limit) && len(all) > 1 {
			t.Fatalf("%d bytes of %d readings in one, at most %d may be", len(body), len(all), limit)
		}
		if parts != nil {
			checkParts(t, parts, body, all, int(limit), e.(*Cutter).LeftOut())
		}
	})
}
