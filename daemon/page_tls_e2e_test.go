package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/certs"
)

// MQTT over WebSocket is over TLS where the page is.
func TestMQTTOverSecureWebSocketBesideThePage(t *testing.T) {
	s := newSite(t)
	s.insertInto("[ingest.mqtt]", "websocket = true")
	s.insertInto("[dashboard]", "tls_generate = true")
	s.startGateway()
	s.eventuallyStatus("the broker runs", func(st dashboard.Status) bool { return st.Doors[0].State == dashboard.OK })
	text, err := os.ReadFile(filepath.Join(s.data, ownCertificate))
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(text)
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: trusted}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "wss://"+s.dashboard+"/mqtt", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	checkPublish(t, ws)
	s.eventuallyStatus("the reading waits", func(st dashboard.Status) bool { return st.Buffer.Waiting == 1 })
}

// A certificate that is renewed on disk is the page's without a restart; one that
// is damaged is not.
func TestPageTakesARenewedCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "page.pem")
		renew := func(name string) string {
			own, err := certs.OpenOwn(path, []string{name}, time.Now, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			return own.Fingerprint()
		}
		first := renew("first")
		e := &entrance{}
		if err := (Dashboard{TLSCert: path, TLSKey: path}).openTLS(e, "", "north-7", slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		shown := func() string {
			pair, err := e.tls.Config.GetCertificate(&tls.ClientHelloInfo{})
			if err != nil {
				t.Fatal(err)
			}
			if certs.Fingerprint(pair) != e.fingerprint() || !e.tls.Vouched {
				t.Errorf("shows %s and says %s", certs.Fingerprint(pair), e.fingerprint())
			}
			return certs.Fingerprint(pair)
		}
		if shown() != first {
			t.Error("another certificate than that of the file")
		}
		second := renew("second")
		time.Sleep(2 * time.Second)
		if second == first || shown() != second {
			t.Error("the renewed certificate is not taken")
		}
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if shown() != second {
			t.Error("the last good certificate does not stay")
		}
	})
}
