package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/identify"
)

func (g Gateway) validateIdentify(r refuse) {
	if len(g.Identify) > 0 && !filepath.IsAbs(g.Identify[0]) {
		r("gateway.identify", `write the full path, for example ["/usr/lib/tidegate/identify"]`, "%q is no full path of a program", g.Identify[0])
	}
	switch {
	case strings.ContainsAny(g.IdentifyLED, "/\x00") || strings.Trim(g.IdentifyLED, ".") != g.IdentifyLED:
		r("gateway.identify_led", `see "ls /sys/class/leds"`, "%q is no name of an LED", g.IdentifyLED)
	case len(g.Identify) > 0 && g.IdentifyLED != "":
		r("gateway.identify_led", "leave one of them out", "there is gateway.identify as well")
	}
}

// shows is how the gateway shows itself, by the present configuration.
func (d *Daemon) shows() identify.Config {
	g := d.current().cfg.Gateway
	return identify.Config{Command: g.Identify, LED: g.IdentifyLED}
}

// shown is how the gateway shows itself: by what, "" for nothing, and for how many
// seconds more.
type shown struct {
	By   string `json:"by"`
	Left int    `json:"left"`
}

// identifyRoutes let the gateway show which one it is.
func (d *Daemon) identifyRoutes() []dashboard.Route {
	now := func() shown { return shown{d.signal.How(), int((d.signal.Left() + time.Second - 1) / time.Second)} }
	return []dashboard.Route{
		{Pattern: "GET /api/v1/identify", Access: dashboard.Look, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			api.Answer(w, now(), nil)
		})},
		{Pattern: "POST /api/v1/identify", Access: dashboard.Operate, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var order struct {
				Seconds int `json:"seconds"`
			}
			err := api.Read(w, r, 1<<10, &order)
			if err == nil {
				err = show(d.signal, order.Seconds)
			}
			api.Answer(w, now(), err)
		})},
	}
}

// show shows the gateway for so long; zero seconds end it.
func show(s *identify.Signal, seconds int) error {
	most := int(identify.Most.Seconds())
	if seconds < 0 || seconds > most {
		return api.Invalid(fmt.Errorf("%d seconds cannot be shown — hint: 1 to %d, or 0 to stop", seconds, most))
	}
	if seconds == 0 {
		s.Stop()
		return nil
	}
	err := s.Show(time.Duration(seconds) * time.Second)
	if errors.Is(err, identify.ErrNone) {
		return api.NotFound(err)
	}
	return err
}

// identify asks the gateway to show itself.
func (c *opsCall) identify(ctx context.Context) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	var now shown
	if err := askAdmin(ctx, cfg.Gateway.SocketPath(), http.MethodPost, "/api/v1/identify", map[string]int{"seconds": c.seconds}, &now); err != nil {
		return err
	}
	if c.seconds == 0 {
		fmt.Fprintln(c.stdout, "the gateway was told to stop")
		return nil
	}
	fmt.Fprintf(c.stdout, "the gateway shows itself for %d s, by its %s; \"tidegate log\" tells how that went\n", now.Left, now.By)
	return nil
}
