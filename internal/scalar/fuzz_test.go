package scalar

import (
	"errors"
	"math"
	"testing"
)

// FuzzGet tries any field on any bytes: no panic, one of the three errors or a
// finite number, and never more than Size bytes looked at.
func FuzzGet(f *testing.F) {
	f.Add(byte(U16), byte(Big), 0, 0, 0.1, 0.0, "0x7FFF", []byte{0, 215})
	f.Add(byte(I32), byte(MidLittle), 3, 12, -0.001, 40.0, "-8", []byte{1, 2, 3, 4})
	f.Add(byte(F32), byte(Little), 0, 0, 0.0, 273.15, "nan", []byte{0, 0, 0xc0, 0x7f})
	f.Add(byte(BCD64), byte(MidBig), 0, 0, 1e-20, 1e20, "9999", []byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, typ, order byte, bit, width int, scale, offset float64, missing string, b []byte) {
		c, err := New(Config{Type: Type(typ), Order: Order(order), Bit: bit, Width: width, Scale: scale, Offset: offset, Missing: []string{missing}})
		if err != nil {
			if c, err = New(Config{Type: Type(typ), Order: Order(order), Scale: scale, Offset: offset}); err != nil {
				return
			}
		}
		v, err := c.Get(b)
		if err != nil {
			if !errors.Is(err, ErrMissing) && !errors.Is(err, ErrDigits) && !errors.Is(err, ErrShort) {
				t.Fatal(err)
			}
			return
		}
		if v.Kind == Float && (math.IsNaN(v.Float) || math.IsInf(v.Float, 0)) {
			t.Fatalf("%+v", v)
		}
		if again, _ := c.Get(b[:c.Size():c.Size()]); again != v && v.Float == v.Float {
			t.Fatalf("%+v, and of its own bytes only %+v", v, again)
		}
	})
}
