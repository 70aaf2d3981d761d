package firmwaresim

import (
	"encoding/binary"
	"math"
	"sync"
	"time"
)

// WordOrder is how 32 bits lie in two registers: abcd is the highest byte first,
// in the first register; the letters say which byte comes where.
type WordOrder string

// The word orders.
const (
	ABCD WordOrder = "abcd"
	CDAB WordOrder = "cdab"
	BADC WordOrder = "badc"
	DCBA WordOrder = "dcba"
)

// WordOrders lists all word orders.
func WordOrders() []WordOrder { return []WordOrder{ABCD, CDAB, BADC, DCBA} }

// split returns the two registers of 32 bits.
func (o WordOrder) split(v uint32) (first, second uint16) {
	high, low := uint16(v>>16), uint16(v)
	switch o {
	case CDAB:
		return low, high
	case BADC:
		return swapped(high), swapped(low)
	case DCBA:
		return swapped(low), swapped(high)
	}
	return high, low
}

func swapped(v uint16) uint16 { return v<<8 | v>>8 }

// What a slave has. Input registers and holding registers are the same:
//
//	0   u32  the counter seq; a request that reads it takes a sample
//	2   i16  temperature, 0.01 Cel
//	3   u16  humidity, 0.1 %RH
//	4   u16  battery, 0.01 V
//	5   i16  signal, dBm
//	6   f32  temperature, Cel
//	8   i32  pressure, Pa
//	10  f32  humidity, %RH
//	12  u32  time, seconds since 1970
//	14  u16  the unit
//	15  u16  light, lx
//
// So are coils and discrete inputs: 0 says that the door is open, 1 that there is
// light (100 lx or more), and 2 to 15 are off.
const (
	unitRegisters = 16
	unitCoils     = 16
	bright        = 100
)

// The functions of the Modbus application protocol that slaves know, and its
// exceptions.
const (
	readCoils     = 1
	readDiscretes = 2
	readHolding   = 3
	readInput     = 4

	illegalFunction = 1
	illegalAddress  = 2
	illegalValue    = 3
	deviceFailure   = 4

	exceptionBit = 0x80
	maxUnit      = 247
)

// unit is one slave.
type unit struct {
	number  byte
	order   WordOrder
	every   time.Duration // 0: each request for the counter takes a sample
	account *Account

	mu      sync.Mutex
	device  *Device
	sample  Measurement
	samples uint64
}

// request answers a request, function and data, with the same, or with an
// exception.
func (u *unit) request(pdu []byte) []byte {
	function := pdu[0]
	if function < readCoils || function > readInput {
		return exception(function, illegalFunction)
	}
	if len(pdu) != 5 {
		return exception(function, illegalValue)
	}
	first, n := int(binary.BigEndian.Uint16(pdu[1:])), int(binary.BigEndian.Uint16(pdu[3:]))
	if function <= readDiscretes {
		return u.readBits(function, first, n)
	}
	switch {
	case n < 1 || n > 125:
		return exception(function, illegalValue)
	case first+n > unitRegisters:
		return exception(function, illegalAddress)
	}
	answer := []byte{function, byte(2 * n)}
	for _, v := range u.registers(first == 0)[first : first+n] {
		answer = binary.BigEndian.AppendUint16(answer, v)
	}
	return answer
}

func exception(function, code byte) []byte { return []byte{function | exceptionBit, code} }

func (u *unit) readBits(function byte, first, n int) []byte {
	switch {
	case n < 1 || n > 2000:
		return exception(function, illegalValue)
	case first+n > unitCoils:
		return exception(function, illegalAddress)
	}
	m := u.now(false)
	var all uint32
	if m.Open {
		all |= 1
	}
	if m.Lux >= bright {
		all |= 2
	}
	answer := []byte{function, byte((n + 7) / 8)}
	for all = all >> first & (1<<n - 1); len(answer) < 2+(n+7)/8; all >>= 8 {
		answer = append(answer, byte(all))
	}
	return answer
}

func (u *unit) registers(counter bool) []uint16 {
	m := u.now(counter)
	r := []uint16{
		2: uint16(m.Temp), 3: uint16(m.Hum), 4: uint16(m.Bat), 5: uint16(m.RSSI),
		14: uint16(u.number), 15: uint16(m.Lux),
	}
	r[0], r[1] = u.order.split(uint32(m.Seq))
	r[6], r[7] = u.order.split(math.Float32bits(float32(m.Temp) / 100))
	r[8], r[9] = u.order.split(uint32(m.Pressure))
	r[10], r[11] = u.order.split(math.Float32bits(float32(m.Hum) / 10))
	r[12], r[13] = u.order.split(uint32(m.At.Unix()))
	return r
}

// now returns the sample that a request gets. One that reads the counter takes a
// new one, so that no counter is read twice, unless samples have a time of their
// own.
func (u *unit) now(counter bool) Measurement {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := time.Now()
	stale := counter
	if u.every > 0 {
		stale = at.Sub(u.sample.At) >= u.every
	}
	if u.samples == 0 || stale {
		u.sample = u.device.Measure(at)
		u.samples++
		u.account.Sent(u.sample.Seq, u.sample.Seq)
	}
	return u.sample
}
