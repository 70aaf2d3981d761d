// Package firmwaresim is everything that surrounds a gateway, as seeded
// software: the devices in front of it, the bad link behind it, and the
// bookkeeping that tells whether it kept its promise.
//
//   - A [Fleet] is many [Device] models, each publishing over an MQTT [Client] of
//     its own. The client shares no code with the gateway's broker, so the two
//     check each other. It is also the load generator of the benchmarks.
//   - A [Ledger] remembers which samples were acknowledged, and only those.
//   - A [Link] is a TCP proxy between gateway and cloud that cuts, stalls, delays,
//     throttles and counts bytes.
//   - An [Audit] holds a ledger against what the cloud exports: nothing that was
//     acknowledged may be missing, nothing may be there twice.
//
// The command firmware-sim puts a face on each of these, and its subcommand
// demo runs them together around a real gateway.
package firmwaresim
