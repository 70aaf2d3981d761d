package frame

import (
	"fmt"
	"hash/crc32"
)

// Checksum is what a frame is checked with.
type Checksum uint8

// The checksums. The names of the CRCs are those of the catalogue of parametrised
// CRC algorithms by Greg Cook.
const (
	None Checksum = iota
	// Sum8 is the sum of all bytes, modulo 256.
	Sum8
	// Sum16 is the sum of all bytes, modulo 65536.
	Sum16
	// LRC8 is what makes the sum of all bytes, itself included, zero modulo 256:
	// the longitudinal redundancy check of Modbus ASCII.
	LRC8
	// XOR8 is the exclusive or of all bytes, also known as BCC.
	XOR8
	// NMEA is that of NMEA 0183: the exclusive or of what is between $ or ! and
	// an asterisk, in two digits after it.
	NMEA
	// CRC8 is CRC-8/SMBUS, polynomial 07.
	CRC8
	// CRC8Maxim is CRC-8/MAXIM-DOW, polynomial 31 reflected, of 1-Wire.
	CRC8Maxim
	// CRC16Modbus is CRC-16/MODBUS, low byte first.
	CRC16Modbus
	// CRC16CCITT is CRC-16/IBM-3740, known as CCITT-FALSE.
	CRC16CCITT
	// CRC16XModem is CRC-16/XMODEM.
	CRC16XModem
	// CRC16X25 is CRC-16/IBM-SDLC, of X.25, HDLC and PPP, low byte first.
	CRC16X25
	// CRC32 is CRC-32/ISO-HDLC, that of Ethernet and zip.
	CRC32
	checksums
)

var checksumNames = [checksums]string{"none", "sum8", "sum16", "lrc8", "xor8", "nmea", "crc8", "crc8-maxim",
	"crc16-modbus", "crc16-ccitt", "crc16-xmodem", "crc16-x25", "crc32"}

// String returns the name that configuration files use.
func (c Checksum) String() string {
	if c >= checksums {
		return fmt.Sprintf("Checksum(%d)", uint8(c))
	}
	return checksumNames[c]
}

// Checksums returns the names of all checksums.
func Checksums() []string { return append([]string(nil), checksumNames[:]...) }

// ParseChecksum returns the checksum of that name.
func ParseChecksum(name string) (Checksum, bool) {
	for c, n := range checksumNames {
		if n == name {
			return Checksum(c), true
		}
	}
	return None, false
}

// Sum returns the checksum of b, in the low bits; zero for None.
func (c Checksum) Sum(b []byte) uint32 {
	if c == None || c >= checksums {
		return 0
	}
	a := &algorithms[c]
	return a.final(a.update(a.initial, b))
}

// Bytes returns how many bytes the checksum has in binary.
func (c Checksum) Bytes() int {
	if c >= checksums {
		return 0
	}
	return algorithms[c].width / 8
}

// algorithms by Checksum.
var algorithms = [checksums]algorithm{
	Sum8:        {width: 8, join: add},
	Sum16:       {width: 16, join: add},
	LRC8:        {width: 8, join: add, negate: true},
	XOR8:        {width: 8, join: xor},
	NMEA:        {width: 8, join: xor},
	CRC8:        newCRC(algorithm{width: 8, poly: 0x07}),
	CRC8Maxim:   newCRC(algorithm{width: 8, poly: 0x31, reflected: true}),
	CRC16Modbus: newCRC(algorithm{width: 16, poly: 0x8005, initial: 0xFFFF, reflected: true}),
	CRC16CCITT:  newCRC(algorithm{width: 16, poly: 0x1021, initial: 0xFFFF}),
	CRC16XModem: newCRC(algorithm{width: 16, poly: 0x1021}),
	CRC16X25:    newCRC(algorithm{width: 16, poly: 0x1021, initial: 0xFFFF, invert: 0xFFFF, reflected: true}),
	CRC32:       newCRC(algorithm{width: 32, poly: 0x04C11DB7, initial: 0xFFFFFFFF, invert: 0xFFFFFFFF, reflected: true}),
}

// algorithm is a checksum with a register of width bits. Its register after some
// bytes is what it was before, carried on by as many zeros, exclusive or what the
// bytes make of an empty register: that is what makes running possible.
type algorithm struct {
	width           int
	join            join
	reflected       bool
	poly            uint32 // reflected if the algorithm is
	initial, invert uint32
	negate          bool
	table           [256]uint32
	// powers are x to the power of 8·2^k, modulo poly: what a register is
	// multiplied with when 2^k zeros pass through it.
	powers [maxPowers]uint32
}

// join is how a byte enters the register.
type join uint8

const (
	divide join = iota
	add
	xor
)

// maxPowers is enough for 2^maxPowers bytes, more than a window has.
const maxPowers = 32

func newCRC(a algorithm) algorithm {
	one := uint32(1)
	if a.reflected {
		a.poly, one = reverse(a.poly, a.width), reverse(1, a.width)
	}
	for i := range a.table {
		reg := uint32(i)
		if !a.reflected {
			reg <<= a.width - 8
		}
		for range 8 {
			reg = a.timesX(reg)
		}
		a.table[i] = reg
	}
	a.powers[0] = a.update(one, []byte{0})
	for k := 1; k < maxPowers; k++ {
		a.powers[k] = a.times(a.powers[k-1], a.powers[k-1])
	}
	return a
}

func reverse(v uint32, width int) (r uint32) {
	for range width {
		r = r<<1 | v&1
		v >>= 1
	}
	return r
}

func (a *algorithm) mask() uint32 { return uint32(1<<a.width - 1) }

func (a *algorithm) timesX(v uint32) uint32 {
	if a.reflected {
		return v>>1 ^ a.poly&-(v&1)
	}
	return (v<<1 ^ a.poly&-(v>>(a.width-1)&1)) & a.mask()
}

// times multiplies two polynomials modulo that of the CRC.
func (a *algorithm) times(v, w uint32) (product uint32) {
	for i := range a.width { // from the highest coefficient of w down
		bit := a.width - 1 - i
		if a.reflected {
			bit = i
		}
		product = a.timesX(product) ^ v&-(w>>bit&1)
	}
	return product
}

// update passes b through the register.
func (a *algorithm) update(reg uint32, b []byte) uint32 {
	switch {
	case a.join == add:
		for _, c := range b {
			reg += uint32(c)
		}
		return reg & a.mask()
	case a.join == xor:
		for _, c := range b {
			reg ^= uint32(c)
		}
	case a.width == 32:
		return ^crc32.Update(^reg, crc32.IEEETable, b)
	case a.reflected:
		for _, c := range b {
			reg = a.table[byte(reg)^c] ^ reg>>8
		}
	case a.width == 8:
		for _, c := range b {
			reg = a.table[byte(reg)^c]
		}
	default:
		for _, c := range b {
			reg = (a.table[byte(reg>>8)^c] ^ reg<<8) & 0xFFFF
		}
	}
	return reg
}

// step passes one byte through the register.
func (a *algorithm) step(reg uint32, c byte) uint32 {
	switch {
	case a.join == add:
		return (reg + uint32(c)) & a.mask()
	case a.join == xor:
		return reg ^ uint32(c)
	case a.reflected:
		return a.table[byte(reg)^c] ^ reg>>8
	}
	return (a.table[byte(reg>>(a.width-8))^c] ^ reg<<8) & a.mask()
}

// between returns the register after some bytes, which a register that was
// empty at first has before them (from) and after them (to). n is how many they
// are.
func (a *algorithm) between(from, to uint32, n int) uint32 {
	switch a.join {
	case add:
		return (a.initial + to - from) & a.mask()
	case xor:
		return a.initial ^ to ^ from
	}
	reg := a.initial ^ from
	for k := 0; n != 0; k, n = k+1, n>>1 {
		if n&1 != 0 {
			reg = a.times(reg, a.powers[k])
		}
	}
	return reg ^ to
}

func (a *algorithm) final(reg uint32) uint32 {
	if a.negate {
		reg = -reg & a.mask()
	}
	return reg ^ a.invert
}
