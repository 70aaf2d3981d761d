package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// nowhere is an uplink that refuses at once.
const nowhere = "http://127.0.0.1:9/v1/ingest"

// The topics of the two payloads: the first is kept as it is, the second
// decoded.
const (
	rawTopic  = "raw/{device}"
	jsonTopic = "site/sim/dev/{device}/telemetry"
)

// configuration of a gateway under test: the defaults, but for what must differ
// on a machine that has other things to do. To be filled in are the folder, the
// memory, the content of [buffer], the address, the number of clients, the two
// topics, the tables of [uplink], the address of the page, and the tables of further
// doors.
const configuration = `
[gateway]
id = "bench"
data_dir = %q
memory = %q
[log]
level = "error"
[buffer]
%s
[ingest.mqtt]
listen = %q
max_clients = %d
[[ingest.mqtt.route]]
topic = %q
decode = "raw"
[[ingest.mqtt.route]]
topic = %q
%s
[dashboard]
listen = %q
%s`

// Settings of [buffer].
const (
	asConfigured = `` // the defaults
	forSpeed     = `profile = "speed"`
)

// gateway is a real gateway as a child, and what it says of itself.
type gateway struct {
	*child
	admin http.Client
}

// ordinary is the size of a gateway that is not made for thousands.
var ordinary = build{memory: "48MiB", clients: 1024}

// build is what a gateway is made for.
type build struct {
	memory  string // gateway.memory
	clients int    // ingest.mqtt.max_clients
	page    string // address of the page; empty for any
	more    string // tables of further doors
	// kept is the topic of payloads that are kept as they are; empty for rawTopic.
	kept string
	// uplink returns the tables of [uplink] for an address; nil for HTTP.
	uplink func(addr string) string
}

// tables returns those of [uplink].
func (is build) tables(to string) (string, error) {
	if is.uplink == nil {
		return fmt.Sprintf("[[uplink.http]]\nname = \"cloud\"\nurl = %q\n", to), nil
	}
	at, err := url.Parse(to)
	if err != nil {
		return "", err
	}
	return is.uplink(at.Host), nil
}

// startGateway starts a gateway that keeps its readings in dir/data and sends
// them to url. buffer is the content of its table [buffer].
func (b *bench) startGateway(ctx context.Context, dir, buffer, url string) (*gateway, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return b.startGatewayAt(ctx, addr, dir, buffer, url, ordinary)
}

// startGatewayAt starts a gateway of a size at an address.
func (b *bench) startGatewayAt(ctx context.Context, addr, dir, buffer, url string, is build) (*gateway, error) {
	data, config := filepath.Join(dir, "data"), filepath.Join(dir, "tidegate.toml")
	uplinks, err := is.tables(url)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf(configuration, data, is.memory, buffer, addr, is.clients,
		cmp.Or(is.kept, rawTopic), jsonTopic, uplinks, cmp.Or(is.page, "127.0.0.1:0"), is.more)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	c, err := b.start(ctx, "tidegate", addr, dir, "-config", config)
	if err != nil {
		return nil, err
	}
	return &gateway{child: c, admin: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(data, "admin.sock"))
		},
	}}}, nil
}

func (g *gateway) stop() error {
	g.admin.CloseIdleConnections()
	return g.child.stop()
}

// status asks the gateway how it is.
func (g *gateway) status(ctx context.Context) (dashboard.Status, error) {
	var s dashboard.Status
	if err := g.failure(); err != nil {
		return s, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://tidegate/api/v1/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := g.admin.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	err = json.NewDecoder(resp.Body).Decode(&s)
	return s, err
}

// until asks for the status until done is content with that of the link.
func (g *gateway) until(ctx context.Context, what string, done func(dashboard.Link) (bool, error)) error {
	return poll(ctx, 5*time.Millisecond, 5*time.Minute, what, func() (bool, error) {
		s, err := g.status(ctx)
		if err != nil {
			return false, err
		}
		return done(s.Links[0])
	})
}

// untilDelivered waits until the cloud has acknowledged everything.
func (g *gateway) untilDelivered(ctx context.Context) error {
	return g.until(ctx, "everything is delivered", func(l dashboard.Link) (bool, error) { return l.Waiting == 0, nil })
}

// fill publishes so many messages and returns when all are acknowledged.
func fill(ctx context.Context, cfg firmwaresim.FleetConfig, messages uint64) error {
	cfg.Count = messages
	fleet, err := firmwaresim.NewFleet(cfg, nil)
	if err != nil {
		return err
	}
	if err := fleet.Run(ctx); err != nil {
		return err
	}
	if acked := fleet.Stats().Acked; acked != messages {
		return fmt.Errorf("%d of %d messages were acknowledged", acked, messages)
	}
	return nil
}

// The fleets. A crowd publishes as fast as it is acknowledged; a patient one
// waits for each acknowledgement; a paced one keeps to a rate a device.

func crowd(addr string) firmwaresim.FleetConfig {
	return firmwaresim.FleetConfig{Addr: addr, Devices: 100, QoS: 1, Topic: jsonTopic, Client: firmwaresim.ClientConfig{Window: 100}}
}

func patientCrowd(addr string) firmwaresim.FleetConfig {
	return firmwaresim.FleetConfig{Addr: addr, Devices: 100, QoS: 1, Topic: jsonTopic, Client: firmwaresim.ClientConfig{Window: 1}}
}

func paced(devices int, rate float64) func(addr string) firmwaresim.FleetConfig {
	return func(addr string) firmwaresim.FleetConfig {
		return firmwaresim.FleetConfig{Addr: addr, Devices: devices, Rate: rate, QoS: 1, Topic: jsonTopic}
	}
}
