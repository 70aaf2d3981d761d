package daemon

import (
	"fmt"
	"net"

	"github.com/tidegate/tidegate/ingest/mqttin"
)

// hasUsers says whether clients must show who they are.
func (m MQTT) hasUsers() bool { return m.PasswordFile != "" || m.ClientCA != "" }

// validateListeners looks at all ways in.
func (m MQTT) validateListeners(r refuse, page Dashboard) {
	m.validateListener(r)
	m.validatePlain(r)
	m.validateWebSocket(r, page)
}

// validatePlain checks the listener that never has TLS.
func (m MQTT) validatePlain(r refuse) {
	const key = "ingest.mqtt.plain_listen"
	host, _, ok := r.listener(key, m.PlainListen)
	switch {
	case !ok:
	case m.Listen == "":
		r(key, "set listen as well, or this one to empty", "the broker is off")
	case m.TLSCert == "":
		r(key, "write the address into listen, or set tls_cert and tls_key", "listen has no TLS either")
	case m.PasswordFile == "" && m.ClientCA != "":
		r(key, "set password_file, too", "nobody could connect: a certificate is shown over TLS")
	case !isLoopback(host) && !m.InsecureIKnow:
		r(key, "listen on 127.0.0.1 only, "+insecure, "%q has no encryption", m.PlainListen)
	}
}

// validateWebSocket checks the way in through the dashboard, which asks for no
// client certificates.
func (m MQTT) validateWebSocket(r refuse, page Dashboard) {
	const key = "ingest.mqtt.websocket"
	host, _, err := net.SplitHostPort(page.Listen)
	switch {
	case !m.WebSocket:
	case m.Listen == "":
		r(key, "set listen, or write false", "the broker is off")
	case page.Listen == "":
		r(key, "set dashboard.listen, or write false", "the dashboard is off, at whose address it would be")
	case m.PasswordFile == "" && m.ClientCA != "":
		r(key, "set password_file, or write false", "nobody could connect: the dashboard's address asks for no certificates")
	case err == nil && !isLoopback(host) && !m.InsecureIKnow && !page.secure():
		r(key, "let the dashboard listen on 127.0.0.1 only, or set its tls_generate, or set insecure_i_know = true in [ingest.mqtt] if this network is trusted", "the dashboard's %q has no encryption", page.Listen)
	case err == nil && !isLoopback(host) && !m.InsecureIKnow && !m.hasUsers():
		r(key, "set password_file, or set insecure_i_know = true in [ingest.mqtt] if this network is trusted", "the dashboard's %q lets everybody on the network publish, without password", page.Listen)
	}
}

// validateListener refuses to listen beyond loopback without TLS and users,
// unless that is meant.
func (m MQTT) validateListener(r refuse) {
	r.exposure("ingest.mqtt", m.Listen, m.TLSCert != "", m.hasUsers(), m.InsecureIKnow, "password_file or client_ca")
}

// validateAccess checks what goes together with what.
func (m MQTT) validateAccess(r refuse) {
	r.keyPair("ingest.mqtt", m.TLSCert, m.TLSKey)
	if m.ClientCA != "" && m.TLSCert == "" {
		r("ingest.mqtt.client_ca", "set tls_cert and tls_key", "means nothing without TLS")
	}
	if m.RequireClientIDMatch && !m.hasUsers() {
		r("ingest.mqtt.require_client_id_match", "set password_file or client_ca, or write false", "nobody could connect, because nobody has a name")
	}
	for i, a := range m.ACL {
		a.validate(r, fmt.Sprintf("ingest.mqtt.acl[%d]", i), m)
	}
}

func (a ACL) validate(r refuse, key string, m MQTT) {
	switch {
	case a.User == "":
		r(key+".user", `write a user's name, or "*" for everybody`, "is empty")
	case a.User != mqttin.Everybody && !m.hasUsers():
		r(key+".user", `set password_file or client_ca, or write "*"`, "%q can be nobody's name: everybody connects without one", a.User)
	}
	a.validateFilters(r, key+".publish", a.Publish, m)
	a.validateFilters(r, key+".subscribe", a.Subscribe, m)
}

func (a ACL) validateFilters(r refuse, key string, filters []string, m MQTT) {
	for i, filter := range filters {
		at := fmt.Sprintf("%s[%d]", key, i)
		if err := mqttin.CheckRuleFilter(filter); err != nil {
			r.because(at, err)
		} else if mqttin.UsesClient(filter) && !m.RequireClientIDMatch {
			r(at, "write {user}, or set require_client_id_match = true", "a client may call itself what it likes, so {client} protects nothing")
		}
	}
}
