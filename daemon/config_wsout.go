package daemon

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/httpout"
	"github.com/tidegate/tidegate/uplink/wsout"
)

// WebSocketUplink is [[uplink.websocket]]: a cloud that takes messages over a
// connection that stays.
type WebSocketUplink struct {
	Upstream
	URL string `toml:"url"`
	// TokenFile holds the bearer token; Username and PasswordFile are for Basic
	// authentication. Empty ones send none.
	TokenFile    string `toml:"token_file"`
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	// Headers are sent with the handshake, "Name: value".
	Headers []string `toml:"headers"`
	// Ping is after how much silence an idle connection is tried out; zero for
	// never.
	Ping conf.Duration `toml:"ping"`
}

// SetDefaults makes w what an empty [[uplink.websocket]] would be.
func (w *WebSocketUplink) SetDefaults() {
	*w = WebSocketUplink{Upstream: defaultUpstream(), Ping: conf.Duration(5 * time.Minute)}
}

func (w WebSocketUplink) target() string { return w.URL }

func (w WebSocketUplink) secretFiles() []string { return []string{w.TokenFile, w.PasswordFile} }

func (w WebSocketUplink) validate(r refuse, key string) {
	w.validateSettings(r, key, "packed", "json", "ndjson", "senml+json", "senml+cbor")
	w.validateURL(r, key+".url", w.URL, "wss://cloud.example/v1/ingest", "ws", "wss")
	if err := httpout.CheckHeaders(w.Headers); err != nil {
		r.because(key+".headers", err)
	}
	between(r, key+".ping", w.Ping, 0, conf.Duration(24*time.Hour))
	switch {
	case w.MessagePer != "batch":
		r(key+".message_per", `write "batch"`, "a WebSocket takes whole batches")
	case w.TokenFile != "" && w.Username != "":
		r(key+".username", "leave out either token_file or username and password_file", "there is a token already")
	case (w.Username == "") != (w.PasswordFile == ""):
		r(key+".username", "name both username and password_file, or neither", "a name and its password belong together")
	}
	if w.Ping > 0 && w.Ping < conf.Duration(time.Second) {
		r(key+".ping", `write for example "1m"`, "%v is too often", w.Ping)
	}
}

func (w WebSocketUplink) sink(by way) (uplink.Sink, error) {
	at, err := url.Parse(w.URL)
	if err != nil {
		return nil, err
	}
	ping := time.Duration(w.Ping)
	if ping == 0 {
		ping = -1
	}
	cfg := wsout.Config{
		URL: w.URL, Username: w.Username, Password: secretIn(w.PasswordFile), Header: headerOf(w.Headers), UserAgent: "tidegate/" + Version,
		Deflate: w.Encoding != "packed", Ping: ping, Dial: by.dial, TLS: by.tlsFor(at, "wss"),
	}
	if w.TokenFile != "" {
		cfg.Token = secretIn(w.TokenFile)
	}
	return wsout.New(cfg)
}

// secretIn reads a secret from a file whenever it is asked for, so that one that
// has changed is noticed.
func secretIn(path string) func() (conf.Secret, error) {
	return func() (conf.Secret, error) { return conf.ReadSecret(path) }
}

// headerOf returns headers that are written "Name: value", and were checked.
func headerOf(lines []string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		h.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return h
}
