package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/tidegate/tidegate/dashboard/api"
)

// errNoGateway means that nobody listens at the admin socket.
var errNoGateway = errors.New("no gateway runs")

// streamAdmin asks the daemon behind the socket for what takes its time: begun is
// called when it has understood, and show for each line. The end of ctx is no error.
func streamAdmin[T any](ctx context.Context, socket, method, path string, body any, begun func(), show func(T) error) error {
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
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.As(err, new(*net.OpError)):
		return errNoGateway
	case err != nil:
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		no := api.RefusalOf(resp.Body)
		if no == "" {
			return fmt.Errorf("the daemon answered %s — hint: is it of another version than this program? Restart it", resp.Status)
		}
		return errors.New(no)
	}
	begun()
	for lines := json.NewDecoder(resp.Body); ; {
		var line json.RawMessage
		if err := lines.Decode(&line); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("the gateway went away: %w", err)
		}
		if no := api.RefusalOf(bytes.NewReader(line)); no != "" {
			return errors.New(no)
		}
		var value T
		if err := json.Unmarshal(line, &value); err != nil {
			return fmt.Errorf("a line of the gateway's answer: %w", err)
		}
		if err := show(value); err != nil {
			return err
		}
	}
}
