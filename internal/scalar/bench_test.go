package scalar

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

// BenchmarkGet measures single fields beside encoding/binary with a factor.
func BenchmarkGet(b *testing.B) {
	payload := []byte{0x00, 0xd7, 0xf5, 0xc3, 0x41, 0xaa, 0x12, 0x34}
	for _, c := range []struct {
		name string
		cfg  Config
		at   int
	}{
		{"i16-scale-0.1", Config{Type: I16, Scale: 0.1, Missing: []string{"0x7FFF"}}, 0},
		{"u8-bits", Config{Type: U8, Bit: 3, Width: 2}, 1},
		{"f32-cdab", Config{Type: F32, Order: MidLittle}, 2},
		{"f32-cdab-widen", Config{Type: F32, Order: MidLittle, Widen: true}, 2},
		{"bcd16", Config{Type: BCD16, Scale: 0.01}, 6},
	} {
		codec, err := New(c.cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := codec.Get(payload[c.at:]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("baseline-binary.BigEndian", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if f := float64(int16(binary.BigEndian.Uint16(payload))) * 0.1; math.Abs(f-21.5) > 1e-9 {
				b.Fatal(f)
			}
		}
	})
	b.Run("baseline-binary.Read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var n int16
			if err := binary.Read(bytes.NewReader(payload), binary.BigEndian, &n); err != nil || n != 215 {
				b.Fatal(n, err)
			}
		}
	})
}
