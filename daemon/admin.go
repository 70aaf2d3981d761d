package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/sticks"
)

// serveAdmin answers the other commands of the program on the admin socket.
// Who may connect is the business of the file's mode.
func (d *Daemon) serveAdmin(ctx context.Context) error {
	mux := http.NewServeMux()
	for _, route := range slices.Concat(d.routes(), d.entrance.machineRoutes(), []dashboard.Route{dashboard.StatusRoute(d.status)}) {
		mux.Handle(route.Pattern, dashboard.FromMachine(route.Handler))
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(d.admin); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}

// routes are what a running gateway may be asked beside its status, on its page and
// on its admin socket.
func (d *Daemon) routes() []dashboard.Route {
	return slices.Concat(
		api.Buffer(d.buffer),
		api.Quarantine(d.buffer),
		api.Trace(d.buffer, ways{d}),
		api.History(d.buffer, d.gateway),
		api.Values(d.hub),
		api.Config(configuration{d}),
		d.tapRoutes(),
		d.diagnoseRoutes(),
		api.Send(d.send),
		api.Command(d.give),
		api.Serial(d.bench, d.bench),
		d.entrance.routes(),
		api.Log(d.tail),
		d.exportRoutes(sticks.Host{}),
		d.bundleRoutes(),
		d.identifyRoutes(),
		api.Metrics(d.serveMetrics),
		api.Health(d.unwell, d.unready),
	)
}

// statusTime is how long the daemon may take for what it knows by heart.
const statusTime = 5 * time.Second

// askStatus asks the daemon behind the socket for its status.
func askStatus(ctx context.Context, socket string) (s dashboard.Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	err = askAdmin(ctx, socket, http.MethodGet, "/api/v1/status", nil, &s)
	return s, err
}

// askAdmin sends a request to the daemon behind the socket, with a body if that
// is not nil, and decodes the answer.
func askAdmin(ctx context.Context, socket, method, path string, body, into any) error {
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://tidegate"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // its text is about a URL that nobody has ever seen
	}
	if err != nil {
		return fmt.Errorf("%w — hint: is the daemon running? Try \"systemctl status tidegate\" or \"tidegate run\"", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		no := api.RefusalOf(resp.Body)
		if no == "" {
			return fmt.Errorf("%s: the daemon answered %s — hint: is it of another version than this program? Restart it", socket, resp.Status)
		}
		return errors.New(no)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("answer from %s: %w", socket, err)
	}
	return nil
}
