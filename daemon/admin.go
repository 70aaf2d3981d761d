package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, d.status(), nil) })
	d.routeBuffer(mux)
	d.routeQuarantine(mux)
	d.routeTap(mux)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(d.admin); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}

// refusal is what the socket answers instead of a value.
type refusal struct {
	Error string `json:"error"`
}

// answer writes the value, or why there is none.
func answer(w http.ResponseWriter, value any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusConflict)
		value = refusal{err.Error()}
	}
	json.NewEncoder(w).Encode(value) // a caller that went away needs no answer
}

// statusTime is how long the daemon may take for what it knows by heart.
const statusTime = 5 * time.Second

// askStatus asks the daemon behind the socket for its status.
func askStatus(ctx context.Context, socket string) (s dashboard.Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	err = askAdmin(ctx, socket, http.MethodGet, "/status", nil, &s)
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
		var no refusal
		if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&no); err != nil {
			return fmt.Errorf("%s: the daemon answered %s — hint: is it of another version than this program? Restart it", socket, resp.Status)
		}
		return errors.New(no.Error)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("answer from %s: %w", socket, err)
	}
	return nil
}
