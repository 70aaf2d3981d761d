package modbusin

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// planned plans registers, given as "table address count", and returns the
// requests.
func planned(t *testing.T, l limits, registers ...string) (all []string) {
	t.Helper()
	var items []item
	for i, text := range registers {
		var name string
		it := item{index: i}
		if _, err := fmt.Sscan(text, &name, &it.address, &it.count); err != nil {
			t.Fatal(err)
		}
		it.table, _ = ParseTable(name)
		items = append(items, it)
	}
	for _, b := range plan(items, l) {
		all = append(all, b.request.String())
	}
	return all
}

func TestPlansAreAsFewRequestsAsAllowed(t *testing.T) {
	wide := limits{gap: 4, registers: MaxRegisters, bits: MaxBits}
	for _, c := range []struct {
		name      string
		limits    limits
		registers []string
		want      []string
	}{
		{"neighbours", wide, []string{"holding 0 2", "holding 2 2"}, []string{"holding 0..3"}},
		{"in any order", wide, []string{"holding 2 2", "holding 0 2"}, []string{"holding 0..3"}},
		{"a gap", wide, []string{"holding 0 1", "holding 5 1"}, []string{"holding 0..5"}},
		{"too wide a gap", wide, []string{"holding 0 1", "holding 6 1"}, []string{"holding 0..0", "holding 6..6"}},
		{"two tables", wide, []string{"holding 0 1", "input 1 1"}, []string{"input 1..1", "holding 0..0"}},
		{"two in one word", wide, []string{"holding 3 1", "holding 3 1"}, []string{"holding 3..3"}},
		{"a small one in a large one", wide, []string{"holding 0 10", "holding 3 1", "holding 10 1"}, []string{"holding 0..10"}},
		{"the most words", limits{registers: 125, bits: 2000}, []string{"holding 0 100", "holding 100 25", "holding 125 1"}, []string{"holding 0..124", "holding 125..125"}},
		{"the most bits", limits{gap: 2000, registers: 1, bits: 2000}, []string{"coil 0 1", "coil 1999 1", "coil 2000 1"}, []string{"coil 0..1999", "coil 2000..2000"}},
		{"what must not be read", limits{gap: 9, registers: 125, never: []Span{{Holding, 3, 4}}}, []string{"holding 0 2", "holding 2 1", "holding 6 1"}, []string{"holding 0..2", "holding 6..6"}},
		{"what must not be read elsewhere", limits{gap: 9, registers: 125, never: []Span{{Input, 3, 4}, {Holding, 7, 9}}}, []string{"holding 0 1", "holding 6 1"}, []string{"holding 0..6"}},
		{"the end of the table", wide, []string{"holding 65535 1", "holding 65530 2"}, []string{"holding 65530..65535"}},
	} {
		if got := planned(t, c.limits, c.registers...); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestPlansHoldWhateverTheMap plans random maps and checks what every plan
// promises, also after halving and joining.
func TestPlansHoldWhateverTheMap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		l := limits{gap: random.IntN(10), registers: 8 + random.IntN(118), bits: 16 + random.IntN(1985)}
		for range random.IntN(4) {
			first := uint16(random.IntN(300))
			l.never = append(l.never, Span{Table(random.IntN(tables)), first, first + uint16(random.IntN(5))})
		}
		var items []item
		for i := range 1 + random.IntN(200) {
			it := item{index: i, span: span{Table(random.IntN(tables)), uint16(random.IntN(300)), 1}}
			if !it.table.Bits() {
				it.count = 1 << random.IntN(3)
			}
			items = append(items, it)
		}
		batches := plan(slices.Clone(items), l)
		checkPlan(t, batches, items, l)
		var pieces []batch
		for _, b := range batches {
			if !b.divisible() {
				pieces = append(pieces, b)
				continue
			}
			low, high := b.halve()
			pieces = append(pieces, high, low)
		}
		checkPlan(t, join(pieces, l), items, l)
	}
}

func checkPlan(t *testing.T, batches []batch, items []item, l limits) {
	t.Helper()
	seen := make(map[int]bool)
	for _, b := range batches {
		if int(b.count) > l.most(b.table) || b.end() > 1<<16 {
			t.Fatalf("%v is too large for %+v", b.request, l)
		}
		wanted := make(map[int]bool)
		for _, it := range b.items {
			if seen[it.index] || it.table != b.table || it.address < b.address || it.end() > b.end() {
				t.Fatalf("%+v in %v", it, b.request)
			}
			seen[it.index] = true
			for a := int(it.address); a < it.end(); a++ {
				wanted[a] = true
			}
		}
		for a := int(b.address); a < b.end(); a++ {
			for _, n := range l.never {
				if !wanted[a] && n.Table == b.table && a >= int(n.First) && a <= int(n.Last) {
					t.Fatalf("%v reads %d, which must not be read", b.request, a)
				}
			}
		}
	}
	if len(seen) != len(items) {
		t.Fatalf("%d of %d registers are planned", len(seen), len(items))
	}
}

func TestEachIntervalHasItsPlan(t *testing.T) {
	s := words(1, upTo(10)...)
	for i := range s.Registers[:4] {
		s.Registers[i].Every = time.Minute
	}
	s.Registers[2].Every = s.Every
	want := []Plan{{Every: time.Second, Requests: 2, Registers: 7, Elements: 7}, {Every: time.Minute, Requests: 2, Registers: 3, Elements: 3}}
	if got := s.Plans(); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	s.Gap = 1
	if got := s.Plans(); got[0] != (Plan{Every: time.Second, Requests: 1, Registers: 7, Elements: 8}) || got[1] != (Plan{Every: time.Minute, Requests: 1, Registers: 3, Elements: 4}) {
		t.Errorf("%+v", got)
	}
}

func TestLoadIsTheTimeOnTheWire(t *testing.T) {
	s := words(1, upTo(10)...)
	cfg := Config{URL: "rtu:/dev/ttyS0", Slaves: []Slave{s}}
	cfg.Serial.Baud = 9600
	// 8 bytes and 25 bytes of 10 bits, two gaps of 3.5 characters, a second.
	load, ok := cfg.Load()
	if want := (33.0 + 7) * 10 / 9600; !ok || load.Wire < want*0.999 || load.Wire > want*1.001 || load.Expected < load.Wire+0.0099 || load.Expected > load.Wire+0.0101 {
		t.Errorf("%+v, want %v", load, want)
	}
	cfg.URL = "tcp://x:502"
	if _, ok := cfg.Load(); ok {
		t.Error("TCP has no speed")
	}
}

func TestURLsOfBuses(t *testing.T) {
	for url, want := range map[string]string{
		"tcp://192.0.2.7:502": "0 192.0.2.7:502", "tcp://192.0.2.7": "0 192.0.2.7:502", "tcp://plc.lan/": "0 plc.lan:502",
		"tcp://[2001:db8::1]:1502": "0 [2001:db8::1]:1502", "tcp://x:0502": "0 x:502", "tcp://[2001:db8::1]": "0 [2001:db8::1]:502",
		"rtu:/dev/serial/by-id/x": "1 /dev/serial/by-id/x", "rtu+tcp://192.0.2.9:4001": "2 192.0.2.9:4001",
	} {
		kind, address, err := ParseURL(url)
		if got := fmt.Sprint(kind, " ", address); err != nil || got != want {
			t.Errorf("%s: %s, %v", url, got, err)
		}
	}
	for _, url := range []string{"", "tcp:", "tcp://", "192.0.2.7:502", "udp://x:502", "rtu:ttyS0", "rtu://dev/x", "tcp://:502", "tcp://u@x:502", "tcp://x:502/y", "tcp://x:0", "tcp://x:65536", "tcp://x:http", "tcp://x:-1", "tcp://::1:502", "tcp://2001:db8::1"} {
		if kind, address, err := ParseURL(url); err == nil || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%q: %v %q %v", url, kind, address, err)
		}
	}
}

// TestSlavesOfOneMapShareIt: 247 slaves with 2000 registers each are half a million.
func TestSlavesOfOneMapShareIt(t *testing.T) {
	one := words(1, upTo(300)...)
	slower, equal := one, words(4, upTo(300)...)
	slower.Every = time.Minute
	cfg := Config{URL: "tcp://x", Slaves: []Slave{one, one, slower, equal}}
	for i := range cfg.Slaves {
		cfg.Slaves[i].Unit = byte(i + 1)
	}
	s, err := New(cfg, quietLog())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, true, false, false} {
		first, other := s.slaves[0], s.slaves[i]
		if got := &first.formats[0] == &other.formats[0] && &first.polls[0].plan[0] == &other.polls[0].plan[0]; got != want {
			t.Errorf("slave %d shares: %v, want %v", i, got, want)
		}
		if i > 0 && first.polls[0] == other.polls[0] {
			t.Errorf("slave %d shares its polls, too", i)
		}
	}
}
