package daemon

import (
	"net/url"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
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
	// Ping is after how much silence an idle connection is tried out; zero for
	// never.
	Ping conf.Duration `toml:"ping"`
}

// SetDefaults makes w what an empty [[uplink.websocket]] would be.
func (w *WebSocketUplink) SetDefaults() {
	*w = WebSocketUplink{Upstream: defaultUpstream(), Ping: conf.Duration(time.Minute)}
}

func (w WebSocketUplink) target() string { return w.URL }

func (w WebSocketUplink) secretFiles() []string { return []string{w.TokenFile, w.PasswordFile} }

func (w WebSocketUplink) validate(r refuse, key string) {
	w.validateSettings(r, key, "packed", "json")
	w.validateURL(r, key+".url", w.URL, "wss://cloud.example/v1/ingest", "ws", "wss")
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
	token, err := secretIn(w.TokenFile)
	if err != nil {
		return nil, err
	}
	password, err := secretIn(w.PasswordFile)
	if err != nil {
		return nil, err
	}
	at, err := url.Parse(w.URL)
	if err != nil {
		return nil, err
	}
	ping := time.Duration(w.Ping)
	if ping == 0 {
		ping = -1
	}
	return wsout.New(wsout.Config{
		URL: w.URL, Token: token, Username: w.Username, Password: password, UserAgent: "tidegate/" + Version,
		Deflate: w.Encoding != "packed", Ping: ping, Dial: by.dial, TLS: by.tlsFor(at, "wss"),
	})
}

// secretIn reads a secret, if a file is named.
func secretIn(path string) (conf.Secret, error) {
	if path == "" {
		return conf.Secret{}, nil
	}
	return conf.ReadSecret(path)
}
