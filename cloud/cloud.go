// Package cloud is the other end of a gateway's uplink: it verifies what
// arrives, drops what it already has, stores the rest durably, and only then
// acknowledges. Any Go program can mount it; cmd/tidegate-cloud is one that
// does nothing else.
//
//	store, err := cloud.Open(cloud.StoreConfig{Dir: "/var/lib/tidegate-cloud"})
//	receiver := cloud.NewReceiver(cloud.ReceiverConfig{}, store, slog.Default())
//	http.ListenAndServe("127.0.0.1:8440", cloud.Routes(receiver, store))
//
// # Exactly once, in effect
//
// A gateway may send anything again, also merged differently after a crash. But
// every reading has a number that is its own: (gateway, epoch, lane, sequence
// number). The [Store] keeps the set of numbers that it has, changes that set
// in the same transaction that stores the readings, and stores of each block
// only the numbers that are new. So a reading counts once however often and in
// whatever company it comes.
//
// # Over HTTP
//
//	POST /v1/ingest   a chunk (package wire) or a JSON document; see [Receiver]
//	GET  /v1/ingest   a WebSocket, for one after the other; see [StreamProtocol]
//	GET  /v1/ledger   what is here and what is missing; see [Store.Ledger]
//	GET  /v1/export   the readings, a JSON object a line; see [Store.Export]
//	GET  /healthz     200 while the store takes readings, 503 when it does not
//
// The ledger and the export carry every gateway's data and no gateway's token
// opens them: they answer only on the machine itself. See [Routes].
package cloud
