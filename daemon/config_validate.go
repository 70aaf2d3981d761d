package daemon

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/netcheck"
)

// refuse reports a problem with the value of a dotted key.
type refuse func(key, hint, what string, args ...any)

// insecure is the last sentence of every refusal that insecure_i_know lifts.
const insecure = "or set insecure_i_know = true if this network is trusted"

// maxSocketPath is what sockaddr_un holds on Linux, less the final NUL.
const maxSocketPath = 107

func (c Config) validate(r refuse) {
	c.checkSchema(r)
	c.Gateway.validate(r)
	c.Log.validate(r)
	c.Buffer.validate(r)
	w := c.words()
	c.Decoder.validate(r)
	c.Ingest.MQTT.validate(r, w)
	c.Ingest.MQTT.validateListeners(r, c.Dashboard)
	c.Ingest.HTTP.validate(r, w)
	c.validateModbus(r)
	validateSerial(r, c.Ingest.Serial, w)
	c.validateLines(r)
	c.validateSentences(r)
	c.Ingest.CoAP.validate(r, w)
	validateLineDoors(r, c.Ingest.Line, w)
	c.Ingest.Host.validate(r)
	c.Uplink.validate(r)
	c.validateCommands(r)
	c.validateLinks(r)
	c.Dashboard.validate(r)
	c.validateRefine(r)
	c.validatePorts(r)
}

// listener is a key that says where to listen, on a network of its own: tcp or
// udp.
type listener struct{ key, network, address string }

// listeners returns everything that listens, what is on by default last.
func (c Config) listeners() []listener {
	var all []listener
	for i, l := range c.Ingest.Line {
		all = append(all, listener{fmt.Sprintf("ingest.line[%d].listen", i), l.Transport, l.Listen})
	}
	return append(all,
		listener{"ingest.mqtt.plain_listen", "tcp", c.Ingest.MQTT.PlainListen},
		listener{"ingest.http.listen", "tcp", c.Ingest.HTTP.Listen},
		listener{"ingest.coap.dtls_listen", "udp", c.Ingest.CoAP.DTLSListen},
		listener{"ingest.coap.listen", "udp", c.Ingest.CoAP.Listen},
		listener{"dashboard.listen", "tcp", c.Dashboard.Listen},
		listener{"ingest.mqtt.listen", "tcp", c.Ingest.MQTT.Listen},
	)
}

// validatePorts refuses a listener that could not be bound because of another.
// The problem stands with the one that the file sets.
func (c Config) validatePorts(r refuse) {
	all, usual := c.listeners(), Default().listeners()
	for i, l := range all {
		for _, other := range all[i+1:] {
			if l.network != other.network || !samePort(l.address, other.address) {
				continue
			}
			if slices.Contains(usual, l) {
				l, other = other, l
			}
			r(l.key, "choose another port", "%q is the port of %s", l.address, other.key)
		}
	}
}

func (g Gateway) validate(r refuse) {
	if g.ID != "" && !isName(strings.ReplaceAll(g.ID, machineWord, machineLike)) {
		r("gateway.id", nameHint+", and "+machineWord+" for the machine's id", "%q is no valid id", g.ID)
	}
	if g.DataDir == "" {
		r("gateway.data_dir", `write for example "/var/lib/tidegate"`, "is empty")
	}
	if n := len(g.SocketPath()); n > maxSocketPath {
		r("gateway.admin_socket", `write a short path, for example "/run/tidegate/admin.sock"`,
			"the socket's path has %d bytes, and %d is the most that Linux takes", n, maxSocketPath)
	}
	between(r, "gateway.memory", g.Memory, 16*conf.MiB, conf.TiB)
	g.validateIdentify(r)
}

func (l Log) validate(r refuse) {
	r.oneOf("log.level", l.Level, "debug", "info", "warn", "error")
	r.oneOf("log.format", l.Format, "auto", "text", "json")
}

func (l Lane) validate(r refuse, key string) {
	if l.MaxAge != 0 { // segments are looked at once a minute
		between(r, key+".max_age", l.MaxAge, conf.Duration(time.Minute), conf.Duration(10*365*24*time.Hour))
	}
	r.oneOf(key+".when_full", l.WhenFull, evictOldest, refuseNewest)
}

func (b Buffer) validate(r refuse) {
	between(r, "buffer.max_bytes", b.MaxBytes, conf.Size(buffer.MinBytes), 16*conf.TiB)
	b.Alarm.validate(r, "buffer.alarm")
	b.Normal.validate(r, "buffer.normal")
	b.Bulk.validate(r, "buffer.bulk")
	r.oneOf("buffer.profile", b.Profile, "speed", "balanced", "gentle")
	if b.FlashBudget != nil {
		between(r, "buffer.flash_budget", *b.FlashBudget, 16*conf.MiB, conf.TiB)
	}
	between(r, "buffer.commit_interval", b.CommitInterval, 0, conf.Duration(5*time.Second))
	if b.MaxAckDelay != nil {
		// Firmware gives a PUBACK 5 to 30 seconds before it publishes again.
		between(r, "buffer.max_ack_delay", *b.MaxAckDelay, 0, conf.Duration(5*time.Second))
	}
}

func (m MQTT) validate(r refuse, w words) {
	m.validateAccess(r)
	validateDialects(r, "ingest.mqtt.dialects", m.Dialects)
	// Custody takes 4 MiB of text at once, and a publish with its copies must fit:
	// what it refuses, a client sends again for ever.
	between(r, "ingest.mqtt.max_packet", m.MaxPacket, conf.KiB, 2*conf.MiB)
	between(r, "ingest.mqtt.max_clients", m.MaxClients, 1, 100_000)
	between(r, "ingest.mqtt.max_rate", m.MaxRate, 0, 1_000_000)
	between(r, "ingest.mqtt.max_byte_rate", m.MaxByteRate, 0, conf.GiB)
	between(r, "ingest.mqtt.session_expiry", m.SessionExpiry, conf.Duration(time.Minute), conf.Duration(3650*24*time.Hour))
	if m.SysInterval != 0 {
		between(r, "ingest.mqtt.sys_interval", m.SysInterval, conf.Duration(time.Second), conf.Duration(time.Hour))
	}
	validateRoutes(r, "ingest.mqtt.route", m.Routes, w)
}

// validateRoutes checks the routes of a door, in the table called key.
func validateRoutes(r refuse, table string, routes []Route, w words) {
	for i, t := range routes {
		key := fmt.Sprintf("%s[%d]", table, i)
		t.validate(r, key, w)
		same := func(other Route) bool { return other.Topic == t.Topic }
		if t.Topic != "" && slices.IndexFunc(routes, same) < i {
			r(key+".topic", "remove one of the two: the first that matches wins", "%q has a route already", t.Topic)
		}
	}
}

func (t Route) validate(r refuse, key string, w words) {
	t.validateNames(r, key, w.users)
	t.meaning().validate(r, key, w)
	t.validateTimes(r, key)
	if (len(t.TimeKeys) > 0 || t.TimeUnit != "") && t.Decode != "json" {
		r(key+".decode", `write "json", or take time_keys and time_unit out`, "%q does not know time_keys and time_unit", t.Decode)
	}
}

// validateTimes checks the two keys that say how JSON tells the time.
func (t Route) validateTimes(r refuse, key string) {
	if _, ok := decode.ParseTimeUnit(t.TimeUnit); !ok {
		r.oneOf(key+".time_unit", t.TimeUnit, "s", "ms", "us", "ns")
	}
	if slices.Contains(t.TimeKeys, "") {
		r(key+".time_keys", `write names of JSON fields, for example ["ts"]`, "holds an empty name")
	}
}

// validateNames checks the template, and the patterns only if that is right:
// they use its names.
func (t Route) validateNames(r refuse, key string, users bool) {
	if t.Topic == "" {
		r(key+".topic", `write for example "site/{site}/dev/{device}/telemetry"`, "is missing")
		return
	}
	template, err := route.ParseTemplate(t.Topic)
	if err != nil {
		r.because(key+".topic", err)
		return
	}
	if users {
		template.WithUser()
	}
	if _, err := template.Pattern(t.Device); err != nil {
		r.because(key+".device", err)
	}
	if _, err := template.Pattern(t.Metric); err != nil {
		r.because(key+".metric", err)
	}
}

func (d Dashboard) validate(r refuse) {
	d.validateAccess(r)
	for i, host := range d.Hosts {
		if host == "" || strings.ContainsAny(host, "/:@ \t") {
			r(fmt.Sprintf("dashboard.hosts[%d]", i), `write a plain name, for example "gateway.lan"`, "%q is no host name", host)
		}
	}
}

// exposed is what is wrong with a listener that has neither.
const exposed = "%q lets everybody on the network in, without password and encryption"

// listener takes the value of a key apart that says where to listen. It returns false for one that
// is off, or wrong.
func (r refuse) listener(key, listen string) (host, port string, ok bool) {
	if listen == "" {
		return "", "", false
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		r(key, `write for example "127.0.0.1:1883", or "" for off`, "%q is no address with a port", listen)
		return "", "", false
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		r(key, "write a number from 0 to 65535 after the colon", "%q is no port", port)
		return "", "", false
	}
	return host, port, true
}

// because refuses a value with the error of whoever will use it.
func (r refuse) because(key string, err error) {
	what, hint := netcheck.Cut(err)
	r(key, hint, "%s", what)
}

func (r refuse) oneOf(key, value string, choices ...string) {
	if !slices.Contains(choices, value) {
		r(key, conf.Suggest(value, choices), "%q is none of the choices", value)
	}
}

func between[T cmp.Ordered](r refuse, key string, value, low, high T) {
	switch {
	case value < low:
		r(key, "write "+literal(low)+" or more", "%v is too small", value)
	case value > high:
		r(key, "write "+literal(high)+" or less", "%v is too large", value)
	}
}

// literal returns a value as it is written in the file: quantities in quotes.
func literal(value any) string {
	if s, ok := value.(fmt.Stringer); ok {
		return strconv.Quote(s.String())
	}
	return fmt.Sprint(value)
}

const nameHint = "use up to 64 letters, digits, dots, dashes and underscores"

// isName reports whether s can be part of keys, paths, headers and metrics as
// it is.
func isName(s string) bool {
	for _, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 64 && strings.Trim(s, ".") != ""
}

// isLoopback reports whether only this machine can reach host. Names other than
// localhost may mean anything tomorrow.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

func isWildcard(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

// samePort reports whether two listeners cannot be bound at the same time.
func samePort(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || isWildcard(hostA) || isWildcard(hostB)
}
