package httpout

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

func TestConformance(t *testing.T) {
	uplinktest.Run(t, uplinktest.Door{
		New: func(t *testing.T, address string, dial uplink.Dial) uplink.Sink {
			return newSink(t, Config{URL: "http://" + address + "/v1/ingest", Connections: 4, Dial: dial})
		},
		Peer: peer,
	})
}

// TestConformanceOverTLS runs the suite against a server that would speak HTTP/2.
func TestConformanceOverTLS(t *testing.T) {
	authorities := x509.NewCertPool()
	uplinktest.Run(t, uplinktest.Door{
		New: func(t *testing.T, address string, dial uplink.Dial) uplink.Sink {
			return newSink(t, Config{URL: "https://" + address + "/v1/ingest", Connections: 4, Dial: dial, TLS: &tls.Config{RootCAs: authorities, ServerName: "example.com"}})
		},
		Peer: func(t *testing.T, judge uplinktest.Judge) string {
			server := httptest.NewUnstartedServer(answering(judge))
			server.EnableHTTP2 = true
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of cut cables
			server.StartTLS()
			t.Cleanup(server.Close)
			authorities.AddCert(server.Certificate())
			return strings.TrimPrefix(server.URL, "https://")
		},
	})
}

func newSink(t *testing.T, cfg Config) *Sink {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// peer is a cloud that answers as judge says.
func peer(t *testing.T, judge uplinktest.Judge) string {
	t.Helper()
	server := httptest.NewServer(answering(judge))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// answering takes messages as judge says.
func answering(judge uplinktest.Judge) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // cut off: nothing has arrived
		}
		key := r.Header.Get(KeyHeader)
		switch judge(uplinktest.Received{Key: key, Body: body}) {
		case uplinktest.Accept:
			io.WriteString(w, ackFor(key))
		case uplinktest.Later:
			http.Error(w, "out of order", http.StatusServiceUnavailable)
		case uplinktest.Busy:
			w.Header().Set("Retry-After", fmt.Sprint(uplinktest.BusyDelay.Seconds()))
			http.Error(w, "slow down", http.StatusTooManyRequests)
		case uplinktest.Never:
			http.Error(w, "corrupt", http.StatusUnprocessableEntity)
		case uplinktest.Garbage:
			io.WriteString(w, "<html>Welcome! Please log in.</html>")
		}
	}
}

// ackFor returns the acknowledgement of the message with the key
// gateway/epoch/lane/first-last.
func ackFor(key string) string {
	part := strings.Split(key, "/")
	first, last, _ := strings.Cut(part[3], "-")
	return fmt.Sprintf(`{"acked":{"epoch":%q,"lane":%q,"first":%s,"last":%s}}`, part[1], part[2], first, last)
}
