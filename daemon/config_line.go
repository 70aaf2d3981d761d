package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/linein"
	"github.com/tidegate/tidegate/internal/certs"
	"github.com/tidegate/tidegate/internal/conf"
)

// Line is [[ingest.line]]: lines and other frames over TCP and UDP.
type Line struct {
	// Name names the door where its state is shown.
	Name string `toml:"name"`
	// Transport is tcp or udp.
	Transport string `toml:"transport"`
	// Listen is where peers connect or send to; Connect is a device server that
	// is dialled instead.
	Listen  string `toml:"listen"`
	Connect string `toml:"connect"`
	// Framing tells frames apart.
	Framing Framing `toml:"framing"`
	// Device and Metric are for the decoder; {peer} in Device is an address.
	Device string `toml:"device"`
	Metric string `toml:"metric"`
	// Decode, Lane, Undecodable and Refine are as in a Route.
	Decode      string   `toml:"decode"`
	Lane        string   `toml:"lane"`
	Undecodable string   `toml:"undecodable"`
	Refine      []string `toml:"refine"`
	// Reply is sent for each frame that is on flash.
	Reply conf.Bytes `toml:"reply"`
	// MaxClients to Silence bound connections; see linein.Config.
	MaxClients   int           `toml:"max_clients"`
	MaxPerHost   int           `toml:"max_per_host"`
	MaxRate      int           `toml:"max_rate"`
	IdleTimeout  conf.Duration `toml:"idle_timeout"`
	FrameTimeout conf.Duration `toml:"frame_timeout"`
	Silence      conf.Duration `toml:"silence"`
	// Queue and ReceiveBuffer are for UDP.
	Queue         conf.Size `toml:"queue"`
	ReceiveBuffer conf.Size `toml:"receive_buffer"`
	// TLSCert and TLSKey are PEM files of the listener, ClientCA of those who
	// vouch for clients.
	TLSCert  string `toml:"tls_cert"`
	TLSKey   string `toml:"tls_key"`
	ClientCA string `toml:"client_ca"`
	// ConnectTLS speaks TLS to the device server, whose certificate ServerCA
	// vouches for; empty stands for those of the system.
	ConnectTLS bool   `toml:"connect_tls"`
	ServerCA   string `toml:"server_ca"`
	// InsecureIKnow allows listening beyond loopback without TLS, or without
	// client certificates.
	InsecureIKnow bool `toml:"insecure_i_know"`
}

// SetDefaults makes l what an empty [[ingest.line]] would be.
func (l *Line) SetDefaults() {
	*l = Line{
		Transport: "tcp", Device: "{peer}", Decode: "json", Lane: "normal", Undecodable: "keep",
		MaxClients: 128, IdleTimeout: conf.Duration(time.Hour), FrameTimeout: conf.Duration(30 * time.Second),
		Silence: conf.Duration(100 * time.Millisecond), Queue: 4 * conf.MiB, ReceiveBuffer: 4 * conf.MiB,
	}
	l.Framing.SetDefaults()
}

func (l Line) doorName() string { return "line:" + l.Name }

func (l Line) meaning() meaning {
	return meaning{decode: l.Decode, lane: l.Lane, undecodable: l.Undecodable, refine: l.Refine}
}

func validateLineDoors(r refuse, all []Line, w words) {
	for i, l := range all {
		key := fmt.Sprintf("ingest.line[%d]", i)
		same := func(other Line) bool { return other.Name == l.Name }
		switch {
		case l.Name == "":
			r(key+".name", `write for example "meters"`, "is missing")
		case !isName(l.Name):
			r(key+".name", nameHint, "%q is no valid name", l.Name)
		case slices.IndexFunc(all, same) < i:
			r(key+".name", "give each door a name of its own", "%q is taken", l.Name)
		}
		l.validate(r, key, w)
	}
}

func (l Line) validate(r refuse, key string, w words) {
	r.oneOf(key+".transport", l.Transport, "tcp", "udp")
	l.validatePlace(r, key)
	l.validateTLS(r, key)
	l.Framing.validate(r, key+".framing")
	l.meaning().validate(r, key, w)
	if rest := strings.ReplaceAll(l.Device, "{peer}", ""); strings.ContainsAny(rest, "{}") {
		r(key+".device", `write {peer} for the address of the peer, for example "meter/{peer}"`, "%q has other variables", l.Device)
	}
	if len(l.Reply) > linein.MaxReply {
		r(key+".reply", `write something short, for example 'OK\n'`, "has %d bytes, of %d at the most", len(l.Reply), linein.MaxReply)
	}
	between(r, key+".max_clients", l.MaxClients, 1, 100_000)
	between(r, key+".max_per_host", l.MaxPerHost, 0, 100_000)
	between(r, key+".max_rate", l.MaxRate, 0, 1_000_000)
	between(r, key+".idle_timeout", l.IdleTimeout, conf.Duration(time.Second), conf.Duration(30*24*time.Hour))
	between(r, key+".frame_timeout", l.FrameTimeout, conf.Duration(time.Second), conf.Duration(time.Hour))
	between(r, key+".silence", l.Silence, conf.Duration(time.Millisecond), conf.Duration(time.Minute))
	between(r, key+".queue", l.Queue, 256*conf.KiB, 256*conf.MiB)
	between(r, key+".receive_buffer", l.ReceiveBuffer, 64*conf.KiB, 256*conf.MiB)
}

// validatePlace checks where frames come from, and that this is meant.
func (l Line) validatePlace(r refuse, key string) {
	switch {
	case l.Listen == "" && l.Connect == "":
		r(key+".listen", `write for example "127.0.0.1:5170", or set connect`, "is missing")
	case l.Listen != "" && l.Connect != "":
		r(key+".connect", "use two [[ingest.line]]", "listen is set, too")
	case l.Connect != "" && l.Transport == "udp":
		r(key+".connect", `write transport = "tcp", or listen`, "nobody can be dialled over UDP")
	case l.Connect != "":
		if host, _, ok := r.listener(key+".connect", l.Connect); ok && host == "" {
			r(key+".connect", `write for example "ser2net.lan:4001"`, "%q names no host", l.Connect)
		}
	case l.Transport == "udp":
		if host, port, ok := r.listener(key+".listen", l.Listen); ok && !isLoopback(host) && !l.InsecureIKnow {
			r(key+".listen", fmt.Sprintf(`write "127.0.0.1:%s", %s`, port, insecure), "%q takes what anybody sends, from whatever address he says", l.Listen)
		}
	default:
		r.exposure(key, l.Listen, l.TLSCert != "", l.ClientCA != "", l.InsecureIKnow, "client_ca")
	}
}

func (l Line) validateTLS(r refuse, key string) {
	r.keyPair(key, l.TLSCert, l.TLSKey)
	switch {
	case l.TLSCert != "" && (l.Transport == "udp" || l.Connect != ""):
		r(key+".tls_cert", "use it with listen, over TCP", "means nothing here")
	case l.ClientCA != "" && l.TLSCert == "":
		r(key+".client_ca", "set tls_cert and tls_key", "means nothing without TLS")
	case l.ConnectTLS && l.Connect == "":
		r(key+".connect_tls", "set connect, or tls_cert and tls_key for a listener", "means nothing without connect")
	case l.ServerCA != "" && !l.ConnectTLS:
		r(key+".server_ca", "set connect_tls = true", "means nothing without TLS")
	}
}

// place is where the door is.
func (l Line) place() string {
	if l.Connect != "" {
		return l.Connect
	}
	return l.Listen
}

// door returns what the daemon runs, with room for so many clients.
func (l Line) door(v vocabulary, clients int, log *slog.Logger) (linein.Config, error) {
	c := linein.Config{
		Address: l.place(), Framing: l.Framing.build(), Target: v.target(l.meaning(), l.Device, l.Metric), Reply: string(l.Reply),
		MaxClients: clients, MaxPerHost: l.MaxPerHost, MaxRate: l.MaxRate,
		IdleTimeout: time.Duration(l.IdleTimeout), FrameTimeout: time.Duration(l.FrameTimeout), Silence: time.Duration(l.Silence),
		Queue: int(l.Queue), ReceiveBuffer: int(l.ReceiveBuffer),
	}
	var err error
	switch {
	case l.Transport == "udp":
		c.Transport = linein.Datagrams
	case l.Connect != "":
		c.Transport = linein.Dial
		if l.ConnectTLS {
			c.TLS, err = l.clientTLS()
		}
	case l.TLSCert != "":
		c.TLS, err = openTLS(l.tlsFiles(), func(err error) { log.Warn("what was read before stays valid", "err", err) })
	}
	return c, err
}

func (l Line) tlsFiles() certs.Files {
	return certs.Files{Cert: l.TLSCert, Key: l.TLSKey, ClientCA: l.ClientCA}
}

// clientTLS is for a device server.
func (l Line) clientTLS() (*tls.Config, error) {
	host, _, err := net.SplitHostPort(l.Connect)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if l.ServerCA == "" {
		return cfg, nil
	}
	text, err := os.ReadFile(l.ServerCA)
	if err != nil {
		return nil, fmt.Errorf("read server authorities: %w", err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(text) {
		return nil, errors.New("read server authorities: " + l.ServerCA + " holds no certificate — hint: it must be a file in PEM")
	}
	return cfg, nil
}

// buildLines builds the doors for lines.
func (b *builder) buildLines(v vocabulary, clients map[string]int) error {
	for _, l := range b.cfg.Ingest.Line {
		name := l.doorName()
		err := b.door(name, of(l, clients[name], keptFileAt(l.ServerCA), b.cfg.told(l.meaning())), v, func(v vocabulary) (ingest.Source, []func(), error) {
			log := b.log.With("source", name)
			cfg, err := l.door(v, clients[name], log)
			if err != nil {
				return nil, nil, fmt.Errorf("ingest.line %q: %w", l.Name, err)
			}
			source, err := linein.New(cfg, log)
			if err != nil {
				return nil, nil, fmt.Errorf("ingest.line %q: %w", l.Name, err)
			}
			return source, forgets(cfg.Target), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
