package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/tidegate/tidegate/dashboard"
)

// serveAdmin answers the other commands of the program on the admin socket.
// Who may connect is the business of the file's mode.
func (d *Daemon) serveAdmin(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(d.status()) // a caller that went away needs no answer
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(d.admin); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}

// askStatus asks the daemon behind the socket for its status.
func askStatus(ctx context.Context, socket string) (dashboard.Status, error) {
	client := http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}},
	}
	defer client.CloseIdleConnections()
	var s dashboard.Status
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://tidegate/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := client.Do(req)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // its text is about a URL that nobody has ever seen
	}
	if err != nil {
		return s, fmt.Errorf("%w — hint: is the daemon running? Try \"systemctl status tidegate\" or \"tidegate run\"", err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return s, fmt.Errorf("status from %s: %w", socket, err)
	}
	return s, nil
}
