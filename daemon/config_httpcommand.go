package daemon

import (
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/command/overhttp"
	"github.com/tidegate/tidegate/internal/conf"
)

// HTTPCommands is [[command.http]]: commands from a tidegate cloud, or whoever
// answers as it does.
type HTTPCommands struct {
	Downstream
	URL string `toml:"url"`
	// TokenFile holds a token for "Authorization: Bearer".
	TokenFile string `toml:"token_file"`
	// Ask asks for commands; Wait is for how long the other side may hold a question,
	// and Poll how long none is asked after one that brought nothing.
	Ask  bool          `toml:"ask"`
	Wait conf.Duration `toml:"wait"`
	Poll conf.Duration `toml:"poll"`
	// Beside names an uplink of kind http: commands come with its acknowledgements.
	Beside string `toml:"beside"`
}

// SetDefaults makes h what an empty [[command.http]] would be.
func (h *HTTPCommands) SetDefaults() {
	*h = HTTPCommands{Downstream: defaultDownstream(), Ask: true, Wait: conf.Duration(30 * time.Second), Poll: conf.Duration(time.Minute)}
}

func (h HTTPCommands) target() string { return h.URL }

func (h HTTPCommands) secretFiles() []string { return []string{h.TokenFile} }

func (h HTTPCommands) validate(r refuse, key string) {
	h.upstream().validateURL(r, key+".url", h.URL, "https://cloud.example/v1/commands", "http", "https")
	between(r, key+".wait", h.Wait, 0, conf.Duration(5*time.Minute))
	between(r, key+".poll", h.Poll, 0, conf.Duration(24*time.Hour))
	if !h.Ask && h.Beside == "" {
		r(key+".ask", "set ask = true, or name an uplink in beside", "no commands would ever come")
	}
}

// validateBesides checks the uplinks with whose acknowledgements commands come.
func (c Config) validateBesides(r refuse) {
	for i, h := range c.Command.HTTP {
		known := slices.ContainsFunc(c.Uplink.HTTP, func(u HTTPUplink) bool { return u.Name == h.Beside })
		if h.Beside != "" && !known {
			r(fmt.Sprintf("command.http[%d].beside", i), "write the name of an [[uplink.http]]", "there is no uplink %q of that kind", h.Beside)
		}
	}
}

// beside reports whether commands come with the acknowledgements of the uplink.
func (c Commands) beside(uplink string) bool {
	return slices.ContainsFunc(c.HTTP, func(h HTTPCommands) bool { return h.Beside == uplink && uplink != "" })
}

func (h HTTPCommands) courier(w way) (command.Courier, error) {
	at, err := url.Parse(h.URL)
	if err != nil {
		return nil, err
	}
	cfg := overhttp.Config{
		URL: h.URL, Gateway: w.gateway, TokenFile: h.TokenFile, TLS: w.tlsFor(at, "https"), Dial: onelinkDial(w.dial),
		Wait: time.Duration(h.Wait), Pause: time.Duration(h.Poll), UserAgent: "tidegate/" + Version,
	}
	if !h.Ask {
		cfg.Pause = -1
	}
	return overhttp.New(cfg, w.log)
}
