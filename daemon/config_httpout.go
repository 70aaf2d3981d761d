package daemon

import (
	"net/url"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/httpout"
)

// HTTPUplink is [[uplink.http]]: a cloud that takes POSTs.
type HTTPUplink struct {
	Upstream
	URL string `toml:"url"`
	// TokenFile holds the bearer token; empty sends none.
	TokenFile string `toml:"token_file"`
}

// SetDefaults makes h what an empty [[uplink.http]] would be.
func (h *HTTPUplink) SetDefaults() { *h = HTTPUplink{Upstream: defaultUpstream()} }

func (h HTTPUplink) target() string { return h.URL }

func (h HTTPUplink) secretFiles() []string { return []string{h.TokenFile} }

func (h HTTPUplink) validate(r refuse, key string) {
	h.validateSettings(r, key, "packed", "json")
	h.validateURL(r, key+".url", h.URL, "https://cloud.example/v1/ingest", "http", "https")
}

func (h HTTPUplink) sink(w way) (uplink.Sink, error) {
	var token conf.Secret
	if h.TokenFile != "" {
		var err error
		if token, err = conf.ReadSecret(h.TokenFile); err != nil {
			return nil, err
		}
	}
	at, err := url.Parse(h.URL)
	if err != nil {
		return nil, err
	}
	return httpout.New(httpout.Config{
		URL: h.URL, Token: token, UserAgent: "tidegate/" + Version,
		TrustStatus: h.Encoding != "packed", Gzip: true, Connections: h.Window,
		Dial: w.dial, TLS: w.tlsFor(at, "https"),
	})
}
