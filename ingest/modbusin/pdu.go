package modbusin

import (
	"encoding/binary"
	"fmt"
)

// The most that one request may ask for (specification V1.1b3, §6.1 and §6.3).
const (
	MaxRegisters = 125
	MaxBits      = 2000
)

// maxPDU is the largest protocol data unit: a function code and its data.
const maxPDU = 253

// exceptionBit marks the function code of an answer that refuses.
const exceptionBit = 0x80

// request asks for count elements of a table from an address on.
type request struct {
	table   Table
	address uint16
	count   uint16
}

// end is the first address that is not asked for, at most 65536.
func (r request) end() int { return int(r.address) + int(r.count) }

// bytes is how many bytes of data the answer has.
func (r request) bytes() int {
	if r.table.Bits() {
		return (int(r.count) + 7) / 8
	}
	return 2 * int(r.count)
}

// String is for the log: "holding 0..9".
func (r request) String() string {
	return fmt.Sprintf("%v %d..%d", r.table, r.address, r.end()-1)
}

// appendRequest appends the PDU of the request.
func appendRequest(dst []byte, r request) []byte {
	dst = append(dst, r.table.function())
	dst = binary.BigEndian.AppendUint16(dst, r.address)
	return binary.BigEndian.AppendUint16(dst, r.count)
}

// parseAnswer takes the data out of the PDU that answers r. They share the
// PDU's memory. The error is an Exception, or Malformed.
func parseAnswer(pdu []byte, r request) (data []byte, err error) {
	want := r.table.function()
	switch {
	case len(pdu) == 2 && pdu[0] == want|exceptionBit:
		return nil, Exception(pdu[1])
	case len(pdu) < 2 || pdu[0] != want:
		return nil, Malformed
	case int(pdu[1]) != r.bytes() || len(pdu) != 2+r.bytes():
		return nil, Malformed
	}
	return pdu[2:], nil
}

// Exception is a slave's refusal (specification V1.1b3, §7).
type Exception byte

// The exceptions that the specification names.
const (
	IllegalFunction    Exception = 0x01
	IllegalDataAddress Exception = 0x02
	IllegalDataValue   Exception = 0x03
	DeviceFailure      Exception = 0x04
	Acknowledge        Exception = 0x05
	DeviceBusy         Exception = 0x06
	MemoryParityError  Exception = 0x08
	GatewayNoPath      Exception = 0x0a
	GatewayNoAnswer    Exception = 0x0b
)

// exceptionNames is indexed by Exception; what has no name is unknown.
var exceptionNames = [...]string{
	IllegalFunction:    "illegal function",
	IllegalDataAddress: "illegal data address",
	IllegalDataValue:   "illegal data value",
	DeviceFailure:      "device failure",
	Acknowledge:        "acknowledge",
	DeviceBusy:         "device busy",
	MemoryParityError:  "memory parity error",
	GatewayNoPath:      "gateway path unavailable",
	GatewayNoAnswer:    "gateway target failed to respond",
}

// String returns the exception's name.
func (e Exception) String() string {
	if int(e) < len(exceptionNames) && exceptionNames[e] != "" {
		return exceptionNames[e]
	}
	return "unknown exception"
}

// Error returns name and code.
func (e Exception) Error() string { return fmt.Sprintf("%s (exception %d)", e.String(), byte(e)) }

// Fault is what is wrong with an exchange that brought no answer.
type Fault uint8

// The faults.
const (
	// NoAnswer came in time.
	NoAnswer Fault = iota
	// WrongChecksum of what looked like the answer.
	WrongChecksum
	// WrongUnit says that another slave answered.
	WrongUnit
	// Malformed is an answer that is cut short, that answers something else, or
	// noise.
	Malformed

	faults = 4
)

// Error returns the fault in words.
func (f Fault) Error() string {
	return [faults]string{"no answer", "wrong checksum", "answer of another unit", "malformed answer"}[f]
}
