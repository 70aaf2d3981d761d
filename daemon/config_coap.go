package daemon

import (
	"fmt"
	"log/slog"

	"github.com/tidegate/tidegate/ingest/coapin"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/fresh"
)

// CoAP is [ingest.coap]: where devices bring readings over UDP.
type CoAP struct {
	// Listen is for plain CoAP, DTLSListen for CoAP over DTLS.
	Listen     string `toml:"listen"`
	DTLSListen string `toml:"dtls_listen"`
	// PSKFile has the keys that are shared with devices; see coapin.ReadKeys.
	PSKFile string    `toml:"psk_file"`
	MaxBody conf.Size `toml:"max_body"`
	// MaxEndpoints are addresses that speak plain CoAP, MaxSessions those of DTLS.
	MaxEndpoints int `toml:"max_endpoints"`
	MaxSessions  int `toml:"max_sessions"`
	// MaxRate is how many requests a second are taken from one of them; zero
	// stands for any number.
	MaxRate int `toml:"max_rate"`
	// InsecureIKnow allows plain CoAP beyond loopback.
	InsecureIKnow bool    `toml:"insecure_i_know"`
	Routes        []Route `toml:"route"`
}

// defaultCoAP is off. A client may not send more than 65,536 messages, for each
// of which there is an ID, in the 247 seconds in which one may come again.
func defaultCoAP() CoAP {
	return CoAP{MaxBody: 64 * conf.KiB, MaxEndpoints: 1024, MaxSessions: 256, MaxRate: 250}
}

func (c CoAP) validate(r refuse, w words) {
	host, port, ok := r.listener("ingest.coap.listen", c.Listen)
	if ok && !isLoopback(host) && !c.InsecureIKnow {
		r("ingest.coap.listen", fmt.Sprintf(`write "127.0.0.1:%s", or set dtls_listen and psk_file instead, %s`, port, insecure), exposed, c.Listen)
	}
	_, _, ok = r.listener("ingest.coap.dtls_listen", c.DTLSListen)
	switch {
	case ok && c.PSKFile == "":
		r("ingest.coap.dtls_listen", "name a file of identities and keys in psk_file", "nobody could connect: there are no keys")
	case c.DTLSListen == "" && c.PSKFile != "":
		r("ingest.coap.psk_file", `set dtls_listen, for example to "0.0.0.0:5684"`, "means nothing without dtls_listen")
	}
	between(r, "ingest.coap.max_body", c.MaxBody, conf.KiB, conf.MiB)
	between(r, "ingest.coap.max_endpoints", c.MaxEndpoints, 1, 100_000)
	between(r, "ingest.coap.max_sessions", c.MaxSessions, 1, 100_000)
	between(r, "ingest.coap.max_rate", c.MaxRate, 0, 1_000_000)
	w.users = c.DTLSListen != ""
	validateRoutes(r, "ingest.coap.route", c.Routes, w)
}

// admit tells a door the keys of devices. Their file is read now, and again when
// it changes.
func (c CoAP) admit(door *coapin.Config, log *slog.Logger) error {
	if c.DTLSListen == "" {
		return nil
	}
	failed := func(err error) { log.Warn("what was read before stays valid", "err", err) }
	keys, err := fresh.Open(c.keys, failed, c.PSKFile)
	if err != nil {
		return err
	}
	door.Key = func(identity string) []byte { return keys.Get().Key(identity) }
	return nil
}

func (c CoAP) keys() (*coapin.Keys, error) { return coapin.ReadKeys(c.PSKFile) }
