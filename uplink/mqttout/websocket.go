package mqttout

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

// maxFrame bounds a frame of the server in bytes. It may put several packets into
// one.
const maxFrame = 1 << 20

// overWebSocket makes a connection one of MQTT over WebSocket (MQTT 5.0, 6):
// binary frames, in which packets may begin and end anywhere.
func (s *Sink) overWebSocket(ctx context.Context, conn net.Conn) (net.Conn, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	ws, answer, err := websocket.Dial(ctx, "ws://"+s.cfg.Address+s.cfg.Path, &websocket.DialOptions{
		// Not followed: what a redirect leads to is another server.
		HTTPClient:   &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Subprotocols: []string{"mqtt"},
	})
	switch {
	case err != nil && answer != nil && answer.StatusCode != http.StatusSwitchingProtocols:
		return nil, fmt.Errorf("WebSocket: %d %s — hint: check the path of the url; is it a broker, and does it serve WebSocket there?",
			answer.StatusCode, http.StatusText(answer.StatusCode))
	case err != nil:
		return nil, fmt.Errorf("WebSocket: %w", err)
	case ws.Subprotocol() != "mqtt":
		ws.CloseNow()
		return nil, errNoMQTT
	}
	ws.SetReadLimit(maxFrame)
	return frames{websocket.NetConn(context.Background(), ws, websocket.MessageBinary), ws}, nil
}

var errNoMQTT = errors.New("WebSocket: what is there does not speak MQTT — hint: check the path of the url")

// frames is a WebSocket that is closed without a word: MQTT has said its own.
type frames struct {
	net.Conn
	ws *websocket.Conn
}

func (f frames) Close() error { return f.ws.CloseNow() }
