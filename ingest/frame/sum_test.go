package frame

import (
	"testing"

	"pgregory.net/rapid"
)

// The check values are those of the catalogue of parametrised CRC algorithms, and
// for the others what a calculator says: the text is 1DD in sum.
func TestChecksumsHaveTheirCheckValues(t *testing.T) {
	for sum, want := range map[Checksum]uint32{
		None: 0, Sum8: 0xDD, Sum16: 0x1DD, LRC8: 0x23, XOR8: 0x31, NMEA: 0x31,
		CRC8: 0xF4, CRC8Maxim: 0xA1, CRC16Modbus: 0x4B37, CRC16CCITT: 0x29B1,
		CRC16XModem: 0x31C3, CRC16X25: 0x906E, CRC32: 0xCBF43926,
	} {
		if got := sum.Sum([]byte("123456789")); got != want {
			t.Errorf("%s: %X, want %X", sum, got, want)
		}
	}
}

// What a seal writes is what devices send: the customary order of bytes.
func TestChecksumsAreWrittenInTheirCustomaryOrder(t *testing.T) {
	for sum, want := range map[Checksum]string{
		CRC16Modbus: "\x37\x4B", CRC16X25: "\x6E\x90", CRC16CCITT: "\x29\xB1", CRC32: "\xCB\xF4\x39\x26", CRC8: "\xF4",
	} {
		s := Config{Checksum: sum}.sealOf()
		if got := string(s.append(nil, s.sum([]byte("123456789")))); got != want {
			t.Errorf("%s: %X, want %X", sum, got, want)
		}
	}
}

// bitwise is a CRC as the catalogue describes it, bit by bit.
func bitwise(a *algorithm, poly uint32, b []byte) uint32 {
	mask, reg := uint64(1)<<a.width-1, uint64(a.initial)
	for _, c := range b {
		if a.reflected {
			c = byte(reverse(uint32(c), 8))
		}
		for bit := 7; bit >= 0; bit-- {
			top := reg>>(a.width-1)&1 ^ uint64(c>>bit&1)
			reg = reg << 1 & mask
			if top != 0 {
				reg ^= uint64(poly)
			}
		}
	}
	if a.reflected {
		reg = uint64(reverse(uint32(reg), a.width))
	}
	return uint32(reg) ^ a.invert
}

func TestTablesSayWhatBitsSay(t *testing.T) {
	polys := map[Checksum]uint32{CRC8: 0x07, CRC8Maxim: 0x31, CRC16Modbus: 0x8005, CRC16CCITT: 0x1021,
		CRC16XModem: 0x1021, CRC16X25: 0x1021, CRC32: 0x04C11DB7}
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		for sum, poly := range polys {
			a := &algorithms[sum]
			if got, want := sum.Sum(b), bitwise(a, poly, b); got != want {
				t.Fatalf("%s of %X: %X, want %X", sum, b, got, want)
			}
			reg := a.initial
			for _, c := range b {
				reg = a.step(reg, c)
			}
			if got, want := a.final(reg), sum.Sum(b); got != want {
				t.Fatalf("%s byte by byte: %X, want %X", sum, got, want)
			}
		}
	})
}

// The sum of any part of a window is the same whether it is summed up or
// reckoned from what was summed up before, while the window moves on.
func TestRunningSumsAreSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sum := Checksum(rapid.IntRange(1, int(checksums)-1).Draw(t, "checksum"))
		window := rapid.SliceOfN(rapid.Byte(), 600, 3000).Draw(t, "window")
		r := running{a: &algorithms[sum]}
		for len(window) > direct+1 {
			to := rapid.IntRange(direct+1, len(window)).Draw(t, "to")
			from := rapid.IntRange(0, 3).Draw(t, "from")
			if got, want := r.sum(window, from, to), sum.Sum(window[from:to]); got != want {
				t.Fatalf("%s of [%d:%d]: %X, want %X", sum, from, to, got, want)
			}
			n := rapid.IntRange(1, 200).Draw(t, "pass")
			r.pass(min(n, len(window)))
			window = window[min(n, len(window)):]
		}
	})
}

func TestNamesAreReadAsTheyAreWritten(t *testing.T) {
	for i, name := range Kinds() {
		if k, ok := ParseKind(name); !ok || k != Kind(i) || k.String() != name {
			t.Errorf("%q: %v, %v", name, k, ok)
		}
	}
	for i, name := range Checksums() {
		if c, ok := ParseChecksum(name); !ok || c != Checksum(i) || c.String() != name {
			t.Errorf("%q: %v, %v", name, c, ok)
		}
	}
	if _, ok := ParseKind("Line"); ok {
		t.Error("a kind that does not exist was found")
	}
	if _, ok := ParseChecksum(""); ok {
		t.Error("a checksum that does not exist was found")
	}
	if kinds.String() != "Kind(9)" || checksums.String() != "Checksum(13)" {
		t.Error(kinds, checksums)
	}
}
