package httpout

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink"
)

// TestVictoriaMetricsHasWhatItTook reads back by export, after the server was
// stopped and started in mid-stream.
func TestVictoriaMetricsHasWhatItTook(t *testing.T) {
	s := servertest.VictoriaMetrics(t)
	sink := database(t, "http://"+s.Addr("http")+"/write", Auth{})
	const messages, each = 20, 50
	for i := range messages {
		m := written(t, blockOf(t, uint64(i*each+1), measured("boiler", i*each, each, number)))
		if i == messages/2 {
			s.Stop()
			if err := sink.Send(within(t, patience), m); err == nil || uplink.IsPermanent(err) {
				t.Errorf("a server that is gone: %v", err)
			}
			s.Start()
		}
		if err := sink.Send(within(t, patience), m); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	if !eventually(func() bool { n = exported(t, s); return n == messages*each }) {
		t.Errorf("%d readings of %d", n, messages*each)
	}
}

// exported returns how many values VictoriaMetrics has of the metric.
func exported(t *testing.T, s *servertest.Server) int {
	t.Helper()
	resp, err := http.Get("http://" + s.Addr("http") + "/api/v1/export?match[]=tidegate_temp&reduce_mem_usage=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n := 0
	for d := json.NewDecoder(resp.Body); ; {
		var line struct {
			Metric map[string]string
			Values []float64
		}
		if err := d.Decode(&line); err == io.EOF {
			return n
		} else if err != nil {
			t.Fatal(err)
		}
		if line.Metric["device"] != "boiler" || line.Metric["gateway"] != "north-7" {
			t.Fatalf("a series of %v", line.Metric)
		}
		n += len(line.Values)
	}
}

// TestFullVictoriaMetricsWaits: a server that is read-only loses nothing.
func TestFullVictoriaMetricsWaits(t *testing.T) {
	s := servertest.VictoriaMetrics(t)
	sink := database(t, "http://"+s.Addr("http")+"/write", Auth{})
	m := written(t, blockOf(t, 1, measured("boiler", 0, 10, number)))
	s.Fill()
	err := sink.Send(within(t, patience), m)
	if err == nil || uplink.IsPermanent(err) {
		t.Errorf("a full server: %v, want a transient error", err)
	}
	s.Clear()
	if err := sink.Send(within(t, patience), m); err != nil {
		t.Errorf("after it was cleared: %v", err)
	}
}
