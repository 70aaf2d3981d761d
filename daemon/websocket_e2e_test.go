package daemon

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/dashboard"
)

// The broker is reached through the dashboard's listener, where the dashboard's
// names are the only ones that it answers to.
func TestMQTTOverWebSocketBesideThePage(t *testing.T) {
	s := newSite(t)
	text, err := os.ReadFile(s.configFile())
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("[ingest.mqtt]"), []byte("[ingest.mqtt]\nwebsocket = true"), 1)
	if err := os.WriteFile(s.configFile(), text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.startGateway()
	s.eventuallyStatus("the broker runs", func(st dashboard.Status) bool { return st.Doors[0].State == dashboard.OK })

	for host, want := range map[string]int{s.dashboard: http.StatusSwitchingProtocols, "evil.example": http.StatusForbidden} {
		ws, response, err := dialMQTT(t, s.dashboard, host)
		if response == nil || response.StatusCode != want {
			t.Fatalf("host %s: got %+v, %v", host, response, err)
		}
		if ws == nil {
			continue
		}
		defer ws.CloseNow()
		checkPublish(t, ws)
	}
	s.eventuallyStatus("the reading waits", func(st dashboard.Status) bool { return st.Buffer.Waiting == 1 })
}

func dialMQTT(t *testing.T, address, host string) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return websocket.Dial(ctx, "ws://"+address+"/mqtt", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		Host:       host, Subprotocols: []string{"mqtt"},
	})
}

// checkPublish connects and publishes with QoS 1, in one message.
func checkPublish(t *testing.T, ws *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	nc := websocket.NetConn(ctx, ws, websocket.MessageBinary)
	io.WriteString(nc, "\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ws"+"\x32\x09\x00\x01d\x00\x0721.5")
	got := make([]byte, 8)
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != "\x20\x02\x00\x00\x40\x02\x00\x07" {
		t.Errorf("got %x, %v", got, err)
	}
}
