package daemon

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/reading"
)

// Commands is [command]: what may be told to devices from upstream. It is off
// unless Allow names topics.
type Commands struct {
	// Allow are the topics that commands may go to, as filters.
	Allow []string `toml:"allow"`
	// AllowRetain lets commands be retained.
	AllowRetain bool `toml:"allow_retain"`
	// DeviceTopic is where a command for a device goes, with {device} in it.
	DeviceTopic string `toml:"device_topic"`
	// KeyFile holds the keys that commands must be signed with, one a line.
	KeyFile string `toml:"key_file"`
	// TTL is the life of a command that does not say how long it is good, MaxTTL the
	// longest that is believed, and MaxAge how old one may be when it comes; 0 for
	// any age.
	TTL    conf.Duration `toml:"ttl"`
	MaxTTL conf.Duration `toml:"max_ttl"`
	MaxAge conf.Duration `toml:"max_age"`
	// MaxRate is how many commands a minute are decided, of each table below.
	MaxRate int `toml:"max_rate"`
	// Remember is how long an id is known after its command has expired, and
	// MaxRemembered how many are.
	Remember      conf.Duration `toml:"remember"`
	MaxRemembered int           `toml:"max_remembered"`

	MQTT []MQTTCommands `toml:"mqtt"`
	HTTP []HTTPCommands `toml:"http"`
	// NATS, Redis and AMQP are streams and queues.
	NATS  []NATSCommands  `toml:"nats"`
	Redis []RedisCommands `toml:"redis"`
	AMQP  []AMQPCommands  `toml:"amqp"`
}

func defaultCommands() Commands {
	return Commands{
		TTL: conf.Duration(5 * time.Minute), MaxTTL: conf.Duration(24 * time.Hour), MaxRate: 60,
		Remember: conf.Duration(24 * time.Hour), MaxRemembered: 4096,
	}
}

// Downstream holds the keys that every table below [command] has, whatever it
// speaks.
type Downstream struct {
	// Name is for people, and finds the way back for answers.
	Name string `toml:"name"`
	// Allow narrows what [command] allows; none leaves it as it is.
	Allow []string `toml:"allow"`
	// Links are the ways to the network, as those of uplinks, and Lane says as what
	// kind of readings commands count on a link that is not for all.
	Links []string `toml:"links"`
	Lane  string   `toml:"lane"`
	// What follows is as in the tables of [uplink].
	TLSCA         string `toml:"tls_ca"`
	TLSCert       string `toml:"tls_cert"`
	TLSKey        string `toml:"tls_key"`
	TLSServerName string `toml:"tls_server_name"`
	InsecureIKnow bool   `toml:"insecure_i_know"`
}

func defaultDownstream() Downstream { return Downstream{Lane: "normal"} }

// wayDown is one table below [command], of any kind.
type wayDown interface {
	below() Downstream
	// target is where commands come from, for people.
	target() string
	validate(r refuse, key string)
	// courier makes who brings them. It does not connect yet.
	courier(w way) (command.Courier, error)
}

func (d Downstream) below() Downstream { return d }

// downstream is a table below [command] and where it stands.
type downstream struct {
	key, kind string
	wayDown
}

// all returns the tables of all kinds. It is the registry of the ways down.
func (c Commands) all() []downstream {
	var all []downstream
	all = down(all, "mqtt", c.MQTT)
	all = down(all, "http", c.HTTP)
	all = down(all, "nats", c.NATS)
	all = down(all, "redis", c.Redis)
	all = down(all, "amqp", c.AMQP)
	return all
}

func down[T wayDown](all []downstream, kind string, tables []T) []downstream {
	for i, t := range tables {
		all = append(all, downstream{fmt.Sprintf("command.%s[%d]", kind, i), kind, t})
	}
	return all
}

// on says whether commands are taken at all. The operator may give them even where
// nobody upstream can.
func (c Commands) on() bool { return len(c.Allow) > 0 }

func (c Config) validateCommands(r refuse) {
	k := c.Command
	validateAllow(r, "command.allow", k.Allow)
	if len(k.Allow) > 0 && c.Ingest.MQTT.Listen == "" {
		r("command.allow", "set ingest.mqtt.listen", "there is no broker for devices to get commands from")
	}
	if t := k.DeviceTopic; t != "" && (strings.Count(t, "{device}") != 1 || command.CheckFilter(strings.Replace(t, "{device}", "x", 1)) != nil || strings.ContainsAny(t, "+#")) {
		r("command.device_topic", `write for example "dev/{device}/set"`, "%q is no topic with one {device} in it", t)
	}
	between(r, "command.ttl", k.TTL, conf.Duration(time.Second), k.MaxTTL)
	between(r, "command.max_ttl", k.MaxTTL, conf.Duration(time.Second), conf.Duration(366*24*time.Hour))
	between(r, "command.max_age", k.MaxAge, 0, conf.Duration(366*24*time.Hour))
	between(r, "command.max_rate", k.MaxRate, 1, 60_000)
	between(r, "command.remember", k.Remember, conf.Duration(time.Minute), conf.Duration(366*24*time.Hour))
	between(r, "command.max_remembered", k.MaxRemembered, 16, 65_536)
	c.validateBesides(r)
	var names []string
	for _, d := range k.all() {
		b := d.below()
		r.named(d.key+".name", b.Name, names, `write for example "cloud"`)
		names = append(names, b.Name)
		b.validate(r, d.key)
		d.validate(r, d.key)
	}
}

func validateAllow(r refuse, key string, filters []string) {
	for i, f := range filters {
		if err := command.CheckFilter(f); err != nil {
			r.because(fmt.Sprintf("%s[%d]", key, i), err)
		}
	}
}

func (d Downstream) validate(r refuse, key string) {
	validateAllow(r, key+".allow", d.Allow)
	r.oneOf(key+".lane", d.Lane, "alarm", "normal", "bulk")
	if (d.TLSCert == "") != (d.TLSKey == "") {
		r(key+".tls_cert", "name both tls_cert and tls_key, or neither", "a certificate and its key belong together")
	}
}

// upstream are the keys that tables of [uplink] have as well.
func (d Downstream) upstream() Upstream {
	return Upstream{
		Name: d.Name, Links: d.Links, TLSCA: d.TLSCA, TLSCert: d.TLSCert, TLSKey: d.TLSKey, TLSServerName: d.TLSServerName,
		InsecureIKnow: d.InsecureIKnow,
	}
}

func (d Downstream) tlsClient(floor time.Time, log *slog.Logger) (*tls.Config, error) {
	return d.upstream().tlsClient(floor, log)
}

func (d Downstream) lane() reading.Lane {
	l, _ := reading.ParseLane(d.Lane) // validated before
	return l
}

// narrow is what one way down may do.
func (d Downstream) narrow() command.Narrow {
	if len(d.Allow) == 0 {
		return command.Narrow{}
	}
	return command.Narrow{Allow: slices.Clone(d.Allow)}
}

// desk is the configuration of the desk.
func (c Commands) desk(gateway string) (cfg command.Config, err error) {
	cfg = command.Config{
		Gateway: gateway, Allow: c.Allow, AllowRetain: c.AllowRetain, DeviceTopic: c.DeviceTopic,
		TTL: time.Duration(c.TTL), MaxTTL: time.Duration(c.MaxTTL), MaxAge: time.Duration(c.MaxAge), Rate: c.MaxRate,
		Remember: time.Duration(c.Remember), MaxRemembered: c.MaxRemembered,
	}
	if c.KeyFile != "" {
		cfg.Keys, err = command.ReadKeys(c.KeyFile)
	}
	return cfg, err
}
