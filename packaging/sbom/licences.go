package main

// uplot is the version of the plot library that the page carries.
const uplot = "1.6.32"

// modules returns the licences of what the programs are made of, as SPDX writes them.
// packaging/debian/copyright has their texts; a test holds the two together, and both
// against what the modules say.
func modules() map[string]string {
	return map[string]string{
		"std": "BSD-3-Clause",

		"github.com/Azure/go-amqp":        "MIT",
		"github.com/coder/websocket":      "ISC",
		"github.com/gomodule/redigo":      "Apache-2.0",
		"github.com/gorilla/websocket":    "BSD-2-Clause",
		"github.com/klauspost/compress":   "BSD-3-Clause AND MIT", // without its HTTP and commands
		"github.com/mochi-mqtt/server/v2": "MIT",
		"github.com/pelletier/go-toml/v2": "MIT",
		"github.com/pion/dtls/v3":         "MIT",
		"github.com/pion/logging":         "MIT",
		"github.com/pion/transport/v5":    "MIT",
		"github.com/rabbitmq/amqp091-go":  "BSD-2-Clause",
		"github.com/rs/xid":               "MIT",
		"github.com/tarm/serial":          "BSD-3-Clause",
		"go.etcd.io/bbolt":                "MIT",
		"golang.org/x/crypto":             "BSD-3-Clause",
		"golang.org/x/sys":                "BSD-3-Clause",
		"google.golang.org/protobuf":      "BSD-3-Clause",
	}
}
