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

	"github.com/tidegate/tidegate/dashboard/api"
)

// errNoGateway means that nobody listens at the admin socket. It is told as a hint.
var errNoGateway = errors.New("is the daemon running? Try \"systemctl status tidegate\" or \"tidegate run\"")

// openAdmin sends a request to the daemon behind the socket, with a body if that is
// not nil. The caller closes the answer. Where nobody listens, an error is of
// errNoGateway; what the daemon finds wrong with the request is of [api.Invalid].
func openAdmin(ctx context.Context, socket, method, path string, body any) (io.ReadCloser, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://tidegate"+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	resp, err := client.Do(req)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // its text is about a URL that nobody has ever seen
	}
	switch {
	case errors.As(err, new(*net.OpError)):
		return nil, fmt.Errorf("%w — hint: %w", err, errNoGateway)
	case err != nil:
		return nil, fmt.Errorf("%w — hint: %v", err, errNoGateway)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	switch no := api.RefusalOf(resp.Body); {
	case no != "" && resp.StatusCode == http.StatusBadRequest:
		return nil, api.Invalid(errors.New(no))
	case no != "":
		return nil, errors.New(no)
	}
	return nil, fmt.Errorf("%s: the daemon answered %s — hint: is it of another version than this program? Restart it", socket, resp.Status)
}

// askAdmin asks the daemon behind the socket, as openAdmin does, and decodes the
// answer.
func askAdmin(ctx context.Context, socket, method, path string, body, into any) error {
	answer, err := openAdmin(ctx, socket, method, path, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if err := json.NewDecoder(answer).Decode(into); err != nil {
		return fmt.Errorf("answer from %s: %w", socket, err)
	}
	return nil
}

// streamAdmin asks the daemon behind the socket for what takes its time: begun is
// called when it has understood, and show for each line. The end of ctx is no error.
func streamAdmin[T any](ctx context.Context, socket, method, path string, body any, begun func(), show func(T) error) error {
	return adminLines(ctx, socket, method, path, body, begun, func(line []byte) error {
		var value T
		if err := json.Unmarshal(line, &value); err != nil {
			return fmt.Errorf("a line of the gateway's answer: %w", err)
		}
		return show(value)
	})
}

func adminLines(ctx context.Context, socket, method, path string, body any, begun func(), show func(line []byte) error) error {
	answer, err := openAdmin(ctx, socket, method, path, body)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	defer answer.Close()
	begun()
	for lines := json.NewDecoder(answer); ; {
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
		if err := show(line); err != nil {
			return err
		}
	}
}
