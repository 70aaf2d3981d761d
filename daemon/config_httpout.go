package daemon

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/uplink/httpout"
)

// HTTPUplink is [[uplink.http]]: a cloud, or a database, that takes POSTs.
type HTTPUplink struct {
	Upstream
	LineProtocol
	URL string `toml:"url"`
	// Method is POST or PUT.
	Method string `toml:"method"`
	// Ack says what acknowledges a message: the answer of a tidegate cloud, any
	// status of success, or (auto) what goes with the encoding.
	Ack string `toml:"ack"`
	// Compression is auto, none, gzip or zstd.
	Compression string `toml:"compression"`
	// TokenFile holds a token, which is sent in TokenHeader behind TokenScheme.
	TokenFile   string `toml:"token_file"`
	TokenHeader string `toml:"token_header"`
	TokenScheme string `toml:"token_scheme"`
	// Username and PasswordFile are for Basic.
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	// TokenURL and what follows ask for tokens: OAuth 2, client credentials.
	TokenURL           string   `toml:"token_url"`
	ClientID           string   `toml:"client_id"`
	ClientSecretFile   string   `toml:"client_secret_file"`
	ClientSecretInBody bool     `toml:"client_secret_in_body"`
	Scopes             []string `toml:"scopes"`
	Audience           string   `toml:"audience"`
	// Headers are sent with every request, "Name: value".
	Headers []string `toml:"headers"`
	// IdempotencyKey sends the header of that name.
	IdempotencyKey bool `toml:"idempotency_key"`
}

// The values of HTTPUplink.Ack.
const (
	ackAuto     = "auto"
	ackTidegate = "tidegate"
	ackStatus   = "status"
)

// SetDefaults makes h what an empty [[uplink.http]] would be.
func (h *HTTPUplink) SetDefaults() {
	*h = HTTPUplink{
		Upstream: defaultUpstream(), LineProtocol: defaultLineProtocol(),
		Method: http.MethodPost, Ack: ackAuto, Compression: string(httpout.Auto),
		TokenHeader: "Authorization", TokenScheme: "Bearer",
	}
}

func (HTTPUplink) piecewise() {}

func (h HTTPUplink) target() string { return h.URL }

func (h HTTPUplink) secretFiles() []string {
	return []string{h.TokenFile, h.PasswordFile, h.ClientSecretFile}
}

func (h HTTPUplink) validate(r refuse, key string) {
	h.validateSettings(r, key, encode.Encodings()...)
	h.LineProtocol.validate(r, key)
	h.validateURL(r, key+".url", h.URL, "https://cloud.example/v1/ingest", "http", "https")
	r.oneOf(key+".method", h.Method, http.MethodPost, http.MethodPut)
	r.oneOf(key+".ack", h.Ack, ackAuto, ackTidegate, ackStatus)
	r.oneOf(key+".compression", h.Compression, string(httpout.Auto), string(httpout.None), string(httpout.Gzip), string(httpout.Zstd))
	if err := httpout.CheckHeaders(h.Headers); err != nil {
		r.because(key+".headers", err)
	}
	h.validateWho(r, key)
}

// validateWho checks the keys that say who is sending. Whether files can be read
// is for the check.
func (h HTTPUplink) validateWho(r refuse, key string) {
	const together = "a user and a password belong together"
	switch {
	case h.Username != "" && h.PasswordFile == "":
		r(key+".username", "name a file in password_file", together)
	case h.Username == "" && h.PasswordFile != "":
		r(key+".password_file", "set username", together)
	case strings.Contains(h.Username, ":"):
		r(key+".username", "choose another user", "%q has a colon, which cannot be sent", h.Username)
	case h.TokenFile != "" && h.Username != "":
		r(key+".token_file", "keep either token_file or username", "a token and a password exclude each other")
	case h.TokenURL != "" && (h.TokenFile != "" || h.Username != ""):
		r(key+".token_url", "keep either token_url, token_file or username", "tokens that are asked for exclude other secrets")
	}
	if h.TokenURL == "" {
		if h.ClientID != "" || h.ClientSecretFile != "" {
			r(key+".client_id", "set token_url", "there is nobody to ask for a token")
		}
		return
	}
	h.validateURL(r, key+".token_url", h.TokenURL, "https://login.example/oauth2/token", "http", "https")
	if h.ClientID == "" || h.ClientSecretFile == "" {
		r(key+".token_url", "set client_id and client_secret_file", "nobody is given a token without saying who he is")
	}
}

func (h HTTPUplink) sink(w way) (uplink.Sink, error) {
	at, err := url.Parse(h.URL)
	if err != nil {
		return nil, err
	}
	headers := h.Headers
	if w.answered != nil {
		headers = append(slices.Clone(headers), "Tidegate-Commands: yes")
	}
	return httpout.New(httpout.Config{
		URL: h.URL, Method: h.Method, UserAgent: "tidegate/" + Version,
		Auth: httpout.Auth{
			TokenFile: h.TokenFile, TokenHeader: h.TokenHeader, TokenScheme: h.TokenScheme,
			Username: h.Username, PasswordFile: h.PasswordFile,
			OAuth: httpout.OAuth{
				TokenURL: h.TokenURL, ClientID: h.ClientID, ClientSecretFile: h.ClientSecretFile,
				Scopes: h.Scopes, Audience: h.Audience, InBody: h.ClientSecretInBody,
			},
			Unread: func(err error) {
				w.log.Warn("a file with a secret has changed and cannot be read; the one before stays in use", "err", err)
			},
		},
		Headers: headers, Answered: w.answered, IdempotencyKey: h.IdempotencyKey,
		TrustStatus: h.Ack == ackStatus || h.Ack == ackAuto && h.Encoding != "packed",
		Database:    h.Encoding == "line",
		Compression: httpout.Compression(h.Compression),
		Connections: h.Window,
		Dial:        w.dial,
		TLS:         w.tlsFor(at, "http", "https"), // the token endpoint may have TLS where the other has not
	})
}

// LineProtocol holds the keys of doors out that have more to say about the
// encoding line.
type LineProtocol struct {
	// Measurement, Field and the values of Tags, "key=value", are templates with
	// the names {gateway}, {lane}, {device}, {metric} and {unit}.
	Measurement string   `toml:"measurement"`
	Tags        []string `toml:"tags"`
	Field       string   `toml:"field"`
	// KindsApart gives texts and booleans fields of their own.
	KindsApart bool `toml:"kinds_apart"`
}

func defaultLineProtocol() LineProtocol {
	return LineProtocol{
		Measurement: encode.DefaultMeasurement,
		Tags:        encode.DefaultTags(),
		Field:       encode.DefaultField,
	}
}

func (l LineProtocol) validate(r refuse, key string) {
	for name, cfg := range map[string]encode.LineConfig{
		"measurement": {Measurement: l.Measurement}, "tags": {Tags: l.Tags}, "field": {Field: l.Field},
	} {
		if err := cfg.Check(); err != nil {
			r.because(key+"."+name, err)
		}
	}
	// A database has one value for each series and time: what looks alike replaces
	// each other there, and every answer is 204.
	all := strings.Join(append(l.line().Tags, cmp.Or(l.Measurement, encode.DefaultMeasurement), cmp.Or(l.Field, encode.DefaultField)), " ")
	if !strings.Contains(all, "{device}") {
		r(key+".tags", `add "device={device}"`, "neither measurement, tags nor field say {device}, so a database would take all devices for one")
	}
	if !strings.Contains(all, "{metric}") {
		r(key+".field", `write "{metric}"`, "neither measurement, tags nor field say {metric}, so a database would take all metrics for one")
	}
}

func (l LineProtocol) line() encode.LineConfig {
	tags := slices.Clone(l.Tags)
	if len(tags) == 0 {
		tags = encode.DefaultTags()
	}
	return encode.LineConfig{Measurement: l.Measurement, Tags: tags, Field: l.Field, KindsApart: l.KindsApart}
}
