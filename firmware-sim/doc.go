// Package firmwaresim is everything that surrounds a gateway, as seeded
// software: the devices in front of it, the bad link behind it, and the
// bookkeeping that tells whether it kept its promise.
//
//   - A [Fleet] is many [Device] models, each publishing over an MQTT [Client] of
//     its own. It is also the load generator of the benchmarks.
//   - A [Sender] is many devices that send over HTTP, CoAP, TCP or UDP instead.
//   - A [SerialDevice] speaks over a pseudo terminal, in one of nine encodings, and
//     has a plug that can be pulled.
//   - [ModbusSlaves] answer masters, over TCP and RTU.
//   - [Faults] and [SlaveFaults] are what goes wrong with them, by seed.
//   - A [Ledger] remembers which samples were acknowledged, and which were
//     sent where nothing is.
//   - A [Link] is a TCP proxy between gateway and cloud that cuts, stalls, delays,
//     throttles and counts bytes.
//   - An [Audit] holds a ledger against what the cloud exports: nothing that was
//     acknowledged may be missing, nothing may be there twice, and nothing that
//     nobody sent.
//
// Everything that speaks to a gateway has encoders of its own: checksums, framings,
// MQTT, CoAP and Modbus, so that the two sides check each other.
//
// The command firmware-sim puts a face on each of these, and its subcommand
// demo runs them together around a real gateway.
package firmwaresim
