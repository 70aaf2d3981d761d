package modbusin

import (
	"fmt"
	"strconv"
)

// Table is one of the four tables of a slave (specification V1.1b3, §4.3).
// Coils and discrete inputs are bits, input and holding registers are words of
// 16 bits.
type Table uint8

// The four tables.
const (
	Coil Table = iota
	Discrete
	Input
	Holding

	tables = 4
)

// String returns the table's name as it is written in configuration files.
func (t Table) String() string {
	if t < tables {
		return [...]string{"coil", "discrete", "input", "holding"}[t]
	}
	return "unknown"
}

// ParseTable is the inverse of Table.String.
func ParseTable(name string) (Table, bool) {
	for t := range Table(tables) {
		if t.String() == name {
			return t, true
		}
	}
	return 0, false
}

// Bits reports whether the table's elements are single bits.
func (t Table) Bits() bool { return t == Coil || t == Discrete }

// function is the code of the function that reads the table: Read Coils (1),
// Read Discrete Inputs (2), Read Holding Registers (3), Read Input Registers (4).
func (t Table) function() byte { return [tables]byte{1, 2, 4, 3}[t] }

// ParseNumber reads the notation of many manuals, in which the first digit names
// the table (0 coils, 1 discrete inputs, 3 input, 4 holding registers) and the
// rest counts from one: "40001" is the holding register at address 0. It has
// exactly five digits, or six, so that it cannot be mistaken for an address:
// "400001" is that register, too.
func ParseNumber(text string) (t Table, address uint16, err error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || len(text) != 5 && len(text) != 6 {
		return 0, 0, fmt.Errorf(`%q is no register number — hint: write five or six digits as "40001", or table and address`, text)
	}
	first, ok := map[byte]Table{'0': Coil, '1': Discrete, '3': Input, '4': Holding}[text[0]]
	if !ok {
		return 0, 0, fmt.Errorf("%q begins with none of 0 (coil), 1 (discrete input), 3 (input register) and 4 (holding register) — hint: write table and address", text)
	}
	unit := uint64(10_000)
	if len(text) == 6 {
		unit = 100_000
	}
	n %= unit
	if n < 1 || n > 1<<16 {
		return 0, 0, fmt.Errorf("%q counts from 1 to 65536 after its first digit — hint: the register at address 0 has the number 1", text)
	}
	return first, uint16(n - 1), nil
}
