package httpin

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tidegate/tidegate/ingest/ingesttest"
)

const fourMetrics = `{"ts":1700000000123,"temp":21.37,"hum":48.2,"bat":3.71,"rssi":-67}`

// BenchmarkRequests sends payloads of four values over connections that are
// kept, one or a hundred of them a request, to the door and, for comparison, to
// a server that reads the body and answers 201.
func BenchmarkRequests(b *testing.B) {
	for _, payloads := range []int{1, 100} {
		body := bytes.Repeat([]byte(fourMetrics+"\n"), payloads)
		b.Run(fmt.Sprintf("payloads=%d/door", payloads), func(b *testing.B) {
			custody := ingesttest.Discard{}
			w := startOn(b, config(b), custody)
			post(b, w.url+"/v1/readings/bench/d", body, 4*payloads)
		})
		b.Run(fmt.Sprintf("payloads=%d/bare", payloads), func(b *testing.B) {
			bare := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusCreated)
			}))
			defer bare.Close()
			post(b, bare.URL, body, 4*payloads)
		})
	}
}

func post(b *testing.B, url string, body []byte, values int) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		for pb.Next() {
			r, err := client.Post(url, "application/x-ndjson", bytes.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
			if r.StatusCode != http.StatusCreated {
				b.Errorf("status %d", r.StatusCode)
			}
		}
	})
	b.ReportMetric(float64(values)*float64(b.N)/b.Elapsed().Seconds(), "values/s")
}
