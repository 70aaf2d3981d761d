package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model knows which values each sector may have after a cut.
type model struct {
	newest   []byte
	possible [][]byte
}

func newModel(sectors int) *model {
	m := &model{make([]byte, sectors), make([][]byte, sectors)}
	m.flush()
	return m
}

func (m *model) write(first, n int, value byte, fua bool) {
	for i := first; i < first+n; i++ {
		m.newest[i] = value
		m.possible[i] = append(m.possible[i], value)
		if fua {
			m.possible[i] = []byte{value}
		}
	}
}

func (m *model) flush() {
	for i, v := range m.newest {
		m.possible[i] = []byte{v}
	}
}

// survived compares a disk after a cut, and goes on with what it has.
func (m *model) survived(content []byte) error {
	for i := range m.newest {
		s := content[i*sector : (i+1)*sector]
		if !slices.Contains(m.possible[i], s[0]) || !bytes.Equal(s, filled(s[0], 1)) {
			return fmt.Errorf("sector %d has %d, may have %d", i, s[0], m.possible[i])
		}
		m.newest[i] = s[0]
	}
	m.flush()
	return nil
}

// story does what chance says to a disk over the protocol, and returns what the
// model thinks of it.
func story(t testing.TB, d *disk, steps int, choose func(n int) int) error {
	sectors := int(d.size / sector)
	m, c := newModel(sectors), connected(t, d)
	for step := range steps {
		first := choose(sectors)
		n := 1 + choose(min(8, sectors-first))
		at, length, fua := int64(first*sector), n*sector, uint16(choose(2))
		value := byte(1 + step%255)
		content := make([]byte, d.size)
		switch choose(8) {
		case 0, 1, 2:
			c.must(t, 1, fua, at, length, filled(value, n), nil)
			m.write(first, n, value, fua == 1)
		case 3:
			c.must(t, uint16(4+2*choose(2)), fua, at, length, nil, nil) // trim, or write zeroes
			m.write(first, n, 0, fua == 1)
		case 4:
			c.must(t, 3, 0, 0, 0, nil, nil)
			m.flush()
		case 5, 6:
			c.must(t, 0, 0, 0, len(content), nil, content)
			for i, want := range m.newest {
				if got := content[i*sector]; got != want {
					return fmt.Errorf("sector %d reads %d, was written %d", i, got, want)
				}
			}
		case 7:
			if _, err := d.cut(); err != nil {
				t.Fatal(err)
			}
			c.must(t, 0, 0, 0, len(content), nil, content)
			if err := m.survived(content); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestDiskKeepsWhatWasFlushedAndNothingThatWasNotWritten(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		d := opened(t, 32, rapid.IntRange(2, 64).Draw(r, "cache"), rapid.Uint64().Draw(r, "seed"), false)
		choose := func(n int) int { return rapid.IntRange(0, n-1).Draw(r, "chosen") }
		if err := story(t, d, 60, choose); err != nil {
			r.Fatal(err)
		}
	})
}

// TestModelCatchesALiar shows that the test above can fail.
func TestModelCatchesALiar(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		if story(t, opened(t, 32, 64, seed, true), 60, random.IntN) != nil {
			return
		}
	}
	t.Error("a disk that ignores flushes passes 50 times")
}

// TestCutsAreNasty looks for every kind of damage that a real disk does.
func TestCutsAreNasty(t *testing.T) {
	d := opened(t, 16, 1024, 1, false)
	var nothing, everything, torn, between int
	for range 400 {
		for value := range byte(3) {
			if err := d.write(filled(1+value, 16), 0, false); err != nil {
				t.Fatal(err)
			}
			if value == 0 {
				if err := d.flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		r, err := d.cut()
		if err != nil || r.Unflushed != 16 || r.Kept+r.Lost != 16 {
			t.Fatalf("%+v, %v", r, err)
		}
		content, err := os.ReadFile(d.file.Name())
		if err != nil {
			t.Fatal(err)
		}
		first, same := content[0], true
		for i := range 16 {
			same = same && content[i*sector] == first
			if content[i*sector] == 2 {
				between++
			}
		}
		switch {
		case !same:
			torn++
		case r.Lost == 16:
			nothing++
		case r.Kept == 16:
			everything++
		}
	}
	if nothing+torn == 0 || everything == 0 || torn < 100 || between == 0 {
		t.Errorf("%d with nothing, %d with everything, %d torn, %d sectors with the value between", nothing, everything, torn, between)
	}
}

func TestTheSeedDecides(t *testing.T) {
	after := func(seed uint64) []byte {
		d := opened(t, 64, 1024, seed, false)
		for value := range byte(20) {
			if err := d.write(filled(value+1, 16), int64(value)*3%48*sector, false); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.cut(); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(d.file.Name())
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	if !bytes.Equal(after(7), after(7)) {
		t.Error("the same requests and the same seed, and another disk")
	}
	if bytes.Equal(after(7), after(8)) {
		t.Error("the seed makes no difference")
	}
}

func TestFullCacheGoesToTheFile(t *testing.T) {
	d := opened(t, 64, 8, 1, false)
	for n := range int64(64) {
		if err := d.write(filled(9, 1), n*sector, false); err != nil {
			t.Fatal(err)
		}
		if len(d.cache) > 8 {
			t.Fatalf("%d sectors are in a cache of 8", len(d.cache))
		}
	}
	if r, err := d.cut(); err != nil || r.Spills != 8 || r.Unflushed != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := d.zero(0, 64*sector, false); err != nil || len(d.cache) != 0 { // larger than the cache
		t.Errorf("%v, %d in the cache", err, len(d.cache))
	}
	if content, err := os.ReadFile(d.file.Name()); err != nil || !bytes.Equal(content, make([]byte, 64*sector)) {
		t.Errorf("zeros did not reach the file: %v", err)
	}
}

func TestDiskOfHalfASectorIsRefused(t *testing.T) {
	name := blank(t, 1)
	if err := os.Truncate(name, 700); err != nil {
		t.Fatal(err)
	}
	if _, err := open(name, 8, 1, false); err == nil {
		t.Error("taken")
	}
}
