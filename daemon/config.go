package daemon

import (
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/ingest/mqttin"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/reading"
)

// Config is the whole configuration, and the registry of the kinds of doors:
// one field a kind. Each type below is a table of the TOML file, each field a
// key; ExampleConfig shows all of them with their defaults.
//
// A listener whose Listen is empty is off. Listeners beyond the loopback
// interface and uplinks without TLS are refused unless insecure_i_know says
// that this is meant.
type Config struct {
	// Schema says what the keys below mean: it is raised when one of them gets another
	// meaning or name, and not when there are more of them.
	Schema int64 `toml:"schema"`

	Gateway Gateway    `toml:"gateway"`
	Log     Log        `toml:"log"`
	Buffer  Buffer     `toml:"buffer"`
	Decoder Decoders   `toml:"decoder"`
	Modbus  ModbusMaps `toml:"modbus"`
	Ingest  Ingest     `toml:"ingest"`
	// Link are the ways to the network.
	Link      []Carrier `toml:"link"`
	Uplink    Uplink    `toml:"uplink"`
	Command   Commands  `toml:"command"`
	Dashboard Dashboard `toml:"dashboard"`
	Refine    []Refine  `toml:"refine"`
}

// Gateway is [gateway]: who this machine is and where it keeps things.
type Gateway struct {
	// ID names the gateway in the cloud and must be unique there. Empty stands for a
	// name made of the machine's id, and so does {machine} in it; use Identity.
	ID string `toml:"id"`
	// DataDir holds everything that has to survive: journal, state, identity.
	DataDir string `toml:"data_dir"`
	// AdminSocket is where the other commands reach the daemon. Empty stands
	// for admin.sock in DataDir; use SocketPath.
	AdminSocket string `toml:"admin_socket"`
	// Memory is the soft limit of the Go heap.
	Memory conf.Size `toml:"memory"`
	// Identify is a program, by its full path, and its arguments, and IdentifyLED an
	// LED below /sys/class/leds, by which the gateway shows which one it is. At most
	// one of them is set.
	Identify    []string `toml:"identify"`
	IdentifyLED string   `toml:"identify_led"`
}

// Log is [log]: Level is debug, info, warn or error; Format is auto, text or json.
type Log struct {
	Level  string `toml:"level"`
	Format string `toml:"format"`
}

// Buffer is [buffer]: how much is kept and how gently it is written.
type Buffer struct {
	// MaxBytes bounds what the journal takes on flash.
	MaxBytes conf.Size `toml:"max_bytes"`
	// Profile is speed, balanced or gentle: what FlashBudget and MaxAckDelay
	// are when they say nothing.
	Profile string `toml:"profile"`
	// FlashBudget is what commits may write in a day; use DailyFlash.
	FlashBudget *conf.Size `toml:"flash_budget"`
	// CommitInterval, if not zero, is how long every group waits for company.
	CommitInterval conf.Duration `toml:"commit_interval"`
	// MaxAckDelay is how long a group may wait for its commit; use AckDelay.
	MaxAckDelay *conf.Duration `toml:"max_ack_delay"`
	// Alarm, Normal and Bulk say what becomes of the lanes.
	Alarm  Lane `toml:"alarm"`
	Normal Lane `toml:"normal"`
	Bulk   Lane `toml:"bulk"`
}

// Lane is [buffer.alarm], [buffer.normal] or [buffer.bulk]: what becomes of a
// lane's readings when time or room run out.
type Lane struct {
	// MaxAge is how long they are kept, delivered or not; 0 is for ever.
	MaxAge conf.Duration `toml:"max_age"`
	// WhenFull is evict-oldest or refuse-newest.
	WhenFull string `toml:"when_full"`
}

// Ingest holds the doors in.
type Ingest struct {
	MQTT MQTT `toml:"mqtt"`
	HTTP HTTP `toml:"http"`
	// Serial are devices at serial ports.
	Serial []Serial `toml:"serial"`
	CoAP   CoAP     `toml:"coap"`
	// Modbus are buses whose slaves are polled.
	Modbus []Modbus `toml:"modbus"`
	// Line are ports for lines over TCP and UDP.
	Line []Line `toml:"line"`
	// Host is the machine itself.
	Host Host `toml:"host"`
}

// MQTT is [ingest.mqtt]: the broker that sensors publish to.
type MQTT struct {
	Listen string `toml:"listen"`
	// PlainListen is one more address, without TLS.
	PlainListen string `toml:"plain_listen"`
	// WebSocket serves MQTT at /mqtt of the dashboard's listener, too.
	WebSocket  bool      `toml:"websocket"`
	MaxPacket  conf.Size `toml:"max_packet"`
	MaxClients int       `toml:"max_clients"`
	// MaxRate and MaxByteRate are how many packets and bytes a second are read
	// from one client; zero stands for any number.
	MaxRate     int       `toml:"max_rate"`
	MaxByteRate conf.Size `toml:"max_byte_rate"`
	// SessionExpiry is how long a session lasts, at the most, without a
	// connection.
	SessionExpiry conf.Duration `toml:"session_expiry"`
	// SysInterval is how often $SYS is published; zero for never.
	SysInterval conf.Duration `toml:"sys_interval"`
	// TLSCert and TLSKey are PEM files; empty ones stand for no TLS.
	TLSCert string `toml:"tls_cert"`
	TLSKey  string `toml:"tls_key"`
	// PasswordFile is a file as of mosquitto_passwd, ClientCA a PEM file of the
	// authorities of client certificates. Without either, everybody may connect.
	PasswordFile string `toml:"password_file"`
	ClientCA     string `toml:"client_ca"`
	// RequireClientIDMatch ties a client identifier to the user: it is his name,
	// or that, a colon and more.
	RequireClientIDMatch bool `toml:"require_client_id_match"`
	// InsecureIKnow allows listening beyond loopback without TLS, or without
	// users.
	InsecureIKnow bool `toml:"insecure_i_know"`
	// Dialects are the conventions of topics that are understood without any
	// route, behind those that there are.
	Dialects []string `toml:"dialects"`
	ACL      []ACL    `toml:"acl"`
	Routes   []Route  `toml:"route"`
}

// ACL is [[ingest.mqtt.acl]]: who may publish and subscribe to what. They add
// up; what none allows is refused, as soon as there is one.
type ACL struct {
	// User is a user's name, or * for everybody.
	User string `toml:"user"`
	// Publish and Subscribe are topic filters, in which {user} and {client} are
	// filled in.
	Publish   []string `toml:"publish"`
	Subscribe []string `toml:"subscribe"`
}

// SetDefaults makes a what an empty [[ingest.mqtt.acl]] would be.
func (a *ACL) SetDefaults() { *a = ACL{User: mqttin.Everybody} }

// Route is [[ingest.mqtt.route]]: what a topic means. The first that matches
// wins.
type Route struct {
	// Topic is a template, "site/{site}/dev/{device}/telemetry".
	Topic string `toml:"topic"`
	// Device and Metric are patterns over the names in Topic. Metric is for
	// payloads that are one plain value. Empty stands for {device} and {metric}
	// where Topic has them.
	Device string `toml:"device"`
	Metric string `toml:"metric"`
	// Decode is a kind of decoder, or the name of a table of [decoder].
	Decode string `toml:"decode"`
	// Lane is alarm, normal or bulk.
	Lane string `toml:"lane"`
	// Undecodable is keep (as an opaque reading) or drop; both are counted.
	Undecodable string `toml:"undecodable"`
	// Refine names tables of [[refine]].
	Refine []string `toml:"refine"`
	// TimeKeys names the fields of JSON that tell the time; none stands for the
	// decoder's own list.
	TimeKeys []string `toml:"time_keys"`
	// TimeUnit is s, ms, us or ns; empty lets the decoder tell by magnitude.
	TimeUnit string `toml:"time_unit"`
}

// Uplink holds the doors out.
type Uplink struct {
	HTTP      []HTTPUplink      `toml:"http"`
	MQTT      []MQTTUplink      `toml:"mqtt"`
	Kafka     []KafkaUplink     `toml:"kafka"`
	AMQP      []AMQPUplink      `toml:"amqp"`
	AMQP1     []AMQP1Uplink     `toml:"amqp1"`
	Redis     []RedisUplink     `toml:"redis"`
	WebSocket []WebSocketUplink `toml:"websocket"`
	File      []FileUplink      `toml:"file"`
	STOMP     []STOMPUplink     `toml:"stomp"`
	NATS      []NATSUplink      `toml:"nats"`
}

// Dashboard is [dashboard]: the live page.
type Dashboard struct {
	Listen string `toml:"listen"`
	// Hosts are the names, besides localhost and IP addresses, that browsers
	// may use for it.
	Hosts []string `toml:"hosts"`
	// TLSCert and TLSKey are PEM files; TLSGenerate makes a certificate instead.
	// Without either there is no TLS.
	TLSCert     string `toml:"tls_cert"`
	TLSKey      string `toml:"tls_key"`
	TLSGenerate bool   `toml:"tls_generate"`
	// InsecureIKnow allows listening beyond loopback without TLS, where the
	// network can read the operator's password.
	InsecureIKnow bool `toml:"insecure_i_know"`
}

// The values of Lane.WhenFull.
const (
	evictOldest  = "evict-oldest"
	refuseNewest = "refuse-newest"
)

// example.toml, packed: the text takes 40 KiB more.
//
//go:embed example.toml.gz
var exampleConfig string

// ExampleConfig returns the text of a configuration file that shows every key
// with its default value, and its optional tables commented out.
func ExampleConfig() string {
	packed, err := gzip.NewReader(strings.NewReader(exampleConfig))
	if err != nil {
		return ""
	}
	text, _ := io.ReadAll(packed) // a test reads it
	return string(text)
}

// Default returns the configuration of an empty file: MQTT and the dashboard
// listen on loopback, and readings are kept, for there is no uplink yet.
func Default() Config {
	return Config{
		Schema:  schema,
		Gateway: Gateway{DataDir: "/var/lib/tidegate", Memory: 48 * conf.MiB},
		Log:     Log{Level: "info", Format: "auto"},
		Buffer: Buffer{
			MaxBytes: 512 * conf.MiB, Profile: "balanced",
			Alarm: Lane{WhenFull: evictOldest}, Normal: Lane{WhenFull: evictOldest}, Bulk: Lane{WhenFull: evictOldest},
		},
		Ingest: Ingest{MQTT: MQTT{
			Listen:        "127.0.0.1:1883",
			MaxPacket:     256 * conf.KiB,
			MaxClients:    1024,
			SessionExpiry: conf.Duration(7 * 24 * time.Hour),
			SysInterval:   conf.Duration(10 * time.Second),
			Dialects:      dialects(),
		}, HTTP: HTTP{MaxBody: conf.MiB, MaxClients: 512}, CoAP: defaultCoAP(), Host: defaultHost()},
		Command:   defaultCommands(),
		Dashboard: Dashboard{Listen: "127.0.0.1:8080"},
	}
}

// SetDefaults makes r what an empty [[ingest.mqtt.route]] would be.
func (r *Route) SetDefaults() {
	*r = Route{Decode: "json", Lane: "normal", Undecodable: "keep"}
}

// Load reads a configuration file. Its error is of type conf.Problems unless
// the file cannot be read.
func Load(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, text)
}

// dataDirLine matches where data_dir is in a text that is no TOML.
var dataDirLine = regexp.MustCompile(`(?m)^[ \t]*(?:gateway\.)?data_dir[ \t]*=[ \t]*["']([^"'\n]+)["']`)

// understand takes from a configuration what can be read of it. Where data_dir is must not
// be missed: the gateway that runs is found there, the text that ran last, and what a reset
// erases.
func understand(name string, text []byte, cfg *Config) (broken error) {
	conf.Decode(name, text, cfg)
	if _, broken = conf.Pieces(name, text); broken == nil {
		return nil
	}
	if m := dataDirLine.FindSubmatch(text); m != nil {
		cfg.Gateway.DataDir = string(m[1])
	}
	return broken
}

// Parse reads the text of a configuration file. Its error is of type
// conf.Problems and lists everything that is wrong; name stands in it as the
// file's name.
func Parse(name string, text []byte) (Config, error) {
	c := Default()
	doc := conf.Decode(name, text, &c)
	c.resolve(machineCredentials(), doc.Refuse)
	c.validate(doc.Refuse)
	if c.Schema > schema {
		return Config{}, onlyOf("schema", doc.Err()) // what else is wrong may be right there
	}
	if err := doc.Err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Validate checks a configuration that did not come from Parse. Its error is of
// type conf.Problems.
func (c Config) Validate() error {
	doc := conf.Decode("configuration", nil, &c)
	c.validate(doc.Refuse)
	return doc.Err()
}

// SocketPath returns the path of the admin socket.
func (g Gateway) SocketPath() string {
	if g.AdminSocket != "" {
		return g.AdminSocket
	}
	return filepath.Join(g.DataDir, "admin.sock")
}

// AckDelay returns how long a group may wait for its commit.
func (b Buffer) AckDelay() time.Duration {
	switch {
	case b.MaxAckDelay != nil:
		return time.Duration(*b.MaxAckDelay)
	case b.Profile == "gentle":
		return time.Second
	case b.Profile == "speed":
		return 0
	}
	return 250 * time.Millisecond
}

// Lanes returns what becomes of readings, by lane.
func (b Buffer) Lanes() (policies [reading.Lanes]buffer.LanePolicy) {
	for lane, l := range map[reading.Lane]Lane{reading.Alarm: b.Alarm, reading.Normal: b.Normal, reading.Bulk: b.Bulk} {
		policies[lane] = buffer.LanePolicy{MaxAge: time.Duration(l.MaxAge), RefuseNew: l.WhenFull == refuseNewest}
	}
	return policies
}

// DailyFlash returns how many bytes commits may write in a day, 0 standing for
// any number.
func (b Buffer) DailyFlash() int64 {
	switch {
	case b.FlashBudget != nil:
		return int64(*b.FlashBudget)
	case b.Profile == "gentle":
		return 1e9
	case b.Profile == "speed":
		return 0
	}
	return 4e9
}
