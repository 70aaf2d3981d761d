// Package httpin is the door for devices that POST: JSON, SenML, CBOR, line
// protocol, or whatever a route knows how to decode.
//
//	POST /v1/readings/{topic}     a payload, or several as NDJSON
//	POST /write, /api/v2/write    as InfluxDB 1 and 2 have it
//
// The topic means what it means to the broker: a route table says whose readings
// these are. A content type that names a format (application/senml+json) chooses
// the decoder, any other leaves it to the route.
//
// # What an answer means
//
// 201 (204 for InfluxDB's paths) leaves after the receipt has resolved: the
// readings are on flash. Every other answer means that nothing of the request
// was kept, except that a payload which cannot be decoded is kept whole, and
// answered with 201, unless its route says drop. The body of an answer is JSON
// and says what became of the payloads; refusals say what to do:
//
//	400  undecodable, and the route drops such payloads; or no readings in it
//	401  no password or token, or a wrong one; 403 a token for other topics
//	404  no such path, or a topic that cannot be published to
//	405  not POST or PUT
//	408  the body did not come in time
//	413  larger than the limit, compressed or not; 415 a compression we lack
//	429  no room now, in memory or on flash: after Retry-After there may be
//	503  the disk failed, or the gateway is stopping: send it again
//
// A client that got no answer sends the same again; what it sent may then be
// there twice, as with MQTT's QoS 1.
//
// # Limits
//
// A body is decompressed (gzip, zstd) no further than MaxBody. All bodies that
// are being read, and the readings that were found in them, share MaxInFlight
// bytes until custody has them, because a fleet that was offline comes back all at
// once; who finds no room is told 429. A connection has one request at a time, so
// that MaxClients bounds those, too.
package httpin
