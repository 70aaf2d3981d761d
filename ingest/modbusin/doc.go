// Package modbusin is the door in for Modbus: a master that polls slaves over
// TCP (Modbus TCP), over a serial line (Modbus RTU) and over TCP connections to
// serial device servers (RTU frames in TCP).
//
// It only reads: functions 1 to 4 are all that it knows how to say. A gateway
// that cannot write cannot switch a breaker off by mistake, and nobody who gets
// into it can either.
//
//	Config → New → (*Source).Run
//
// One Source is one bus and one goroutine that owns it:
//
//	registers of a slave → plan (few large requests) → polls by interval
//	                              ↓ one request a turn, slaves in turn
//	                            wire (mbap.go, rtu.go) → line (TCP, serial)
//	                              ↓ answer
//	                            decode → refine → Intake, one Accept a poll
//
// What it promises:
//   - A slave that does not answer costs the others next to nothing: after a few
//     failures it is asked once per probe interval, and its retries wait in line.
//     However many do not answer, waiting for them takes a quarter of the time.
//   - A late answer is never taken for the answer to the next question: over TCP
//     by transaction identifiers; on a serial line a slave that was late is left
//     alone as long again as it had, while the others are asked.
//   - A register that the slave does not have costs its neighbours nothing: a
//     request that is refused for its address is halved until the bad registers
//     are known; they are left out, reported once, and tried again after a minute
//     and then less and less often.
//   - What was not read is not reported: a failed poll gives no reading.
//
// The protocol is that of "MODBUS Application Protocol Specification V1.1b3"
// (2012), "MODBUS over serial line specification and implementation guide V1.02"
// (2006) and "MODBUS Messaging on TCP/IP implementation guide V1.0b" (2006).
package modbusin
