package daemon

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/eclipse/paho.golang/paho"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/servertest"
)

// TestReadingsReachInfluxDBOnce: what a client was told is taken is in the
// database, although the database is killed, and then the gateway. What line
// protocol has no words for is counted where people look.
func TestReadingsReachInfluxDBOnce(t *testing.T) {
	s := newSite(t)
	influx := servertest.InfluxDB(t, servertest.User(realUser, realPassword))
	s.more = fmt.Sprintf(`
[[uplink.http]]
name = "influx"
url = "http://%s/write?db=tide"
encoding = "line"
timeout = "2s"
username = %q
password_file = %q
measurement = "{metric}"
field = "value"
tags = ["device={device}"]
`, influx.Addr("http"), realUser, secret(t, realPassword))
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	gateway := s.startGateway()
	s.eventually("the broker listens", func() bool { return listens(s.mqtt) })
	const readings = 90
	for i := range readings {
		switch i {
		case 30:
			influx.Kill()
		case 60:
			gateway.kill()
			gateway = s.startGateway()
			s.eventually("the broker listens again", func() bool { return listens(s.mqtt) })
			influx.Start()
		}
		c, _ := client(t, s.mqtt, fmt.Sprint("sensor-", i))
		for topic, payload := range map[string]string{
			"site/a/dev/boiler/telemetry": fmt.Sprintf(`{"temp":%d.5,"ts":%d}`, i, 1_700_000_000+i),
			"raw/camera":                  "\x00\xff",
		} {
			if _, err := c.Publish(t.Context(), &paho.Publish{Topic: topic, QoS: 1, Payload: []byte(payload)}); err != nil {
				t.Fatal(err)
			}
		}
		c.Disconnect(&paho.Disconnect{})
	}
	s.eventuallyStatus("all is delivered to influx, and the payloads are counted", func(st dashboard.Status) bool {
		for _, l := range st.Links {
			if l.Name == "influx" && l.Waiting == 0 && l.LeftOut >= readings/3 {
				return len(st.Problems) > 0
			}
		}
		return false
	})
	if n, sum := s.inInflux(influx); n != readings || sum != readings*(readings-1)/2+readings*0.5 {
		t.Errorf("%d readings with the sum %v, want %d", n, sum, readings)
	}
	gateway.stop()
}

// inInflux is how many temperatures there are, and their sum.
func (s *site) inInflux(influx *servertest.Server) (n int, sum float64) {
	query := url.Values{"db": {"tide"}, "u": {realUser}, "p": {realPassword}, "q": {`SELECT COUNT(value), SUM(value) FROM temp WHERE device = 'boiler'`}}
	s.get("http://"+influx.Addr("http")+"/query?"+query.Encode(), func(r *http.Response) error {
		var answer struct {
			Results []struct {
				Series []struct{ Values [][]any }
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&answer); err != nil || len(answer.Results[0].Series) == 0 {
			return fmt.Errorf("%+v, %w", answer, err)
		}
		values := answer.Results[0].Series[0].Values[0]
		n, sum = int(values[1].(float64)), values[2].(float64)
		return nil
	})
	return n, sum
}
