package daemon

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/sticks"
)

// serveAdmin answers the other commands of the program on the admin socket.
// Who may connect is the business of the file's mode.
func (d *Daemon) serveAdmin(ctx context.Context, routes []dashboard.Route) error {
	mux := http.NewServeMux()
	for _, route := range slices.Concat(routes, d.entrance.machineRoutes(), []dashboard.Route{dashboard.StatusRoute(d.status)}) {
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
// on its admin socket: the same for both, because some of them let only so many ask at
// once.
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
