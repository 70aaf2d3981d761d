module github.com/tidegate/tidegate

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/eclipse/paho.golang v0.23.0 // tests only
	github.com/eclipse/paho.mqtt.golang v1.5.1 // tests only
	github.com/fxamacker/cbor/v2 v2.9.6 // tests only
	github.com/goburrow/modbus v0.1.0 // tests only
	github.com/influxdata/line-protocol/v2 v2.2.1 // tests only
	github.com/klauspost/compress v1.20.3
	github.com/mochi-mqtt/server/v2 v2.7.9
	github.com/pelletier/go-toml/v2 v2.4.3
	github.com/pion/dtls/v3 v3.1.15
	github.com/pion/logging v0.2.4
	github.com/rogpeppe/go-internal v1.16.0
	github.com/tarm/serial v0.0.0-20180830185346-98f6abe2eb07
	go.etcd.io/bbolt v1.5.0
	go.uber.org/goleak v1.3.0
	golang.org/x/sys v0.48.0
	google.golang.org/protobuf v1.36.12
	pgregory.net/rapid v1.3.0
)

require (
	github.com/Azure/go-amqp v1.7.0
	github.com/go-stomp/stomp/v3 v3.1.3
	github.com/gomodule/redigo v1.9.3
	github.com/nats-io/nats.go v1.55.0 // tests and tidebench only
	github.com/nats-io/nkeys v0.4.16 // tests only
	github.com/pierrec/lz4/v4 v4.1.33 // tests only
	github.com/rabbitmq/amqp091-go v1.16.0
	github.com/twmb/franz-go v1.22.2 // tests only
	github.com/twmb/franz-go/pkg/kfake v0.0.0-20260918054303-01f206a7e32c // tests and tidebench only
	github.com/twmb/franz-go/pkg/kmsg v1.15.0 // tests only
)

require (
	github.com/evanw/esbuild v0.25.12 // indirect
	github.com/goburrow/serial v0.1.0 // indirect
	github.com/gorilla/websocket v1.5.3 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/pion/transport/v5 v5.0.0 // indirect
	github.com/rs/xid v1.4.0 // indirect
	github.com/x448/float16 v0.8.4 // indirect
	golang.org/x/crypto v0.57.0 // indirect
	golang.org/x/net v0.58.0 // indirect
	golang.org/x/sync v0.20.0 // indirect
	golang.org/x/tools v0.36.0 // indirect
)
