package httpout

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

// The user of the databases under test.
const (
	realUser     = "north-7"
	realPassword = "s3cret-0815"
)

// points makes a body of line protocol: as many points as there is room for, in a
// series that has the message's key for a tag, and the size in each of them.
func points(key uplink.Key, size int) []byte {
	var body []byte
	for i := 0; len(body) == 0 || len(body) < size; i++ {
		body = fmt.Appendf(body, "real,key=%s n=%d,size=%d %d\n", key, i, size, began+int64(i)*1_000_000)
	}
	return body
}

// rebuilt returns the body that a series was made of: empty if a point is missing.
func rebuilt(t *testing.T, key string, numbers []float64, size int) uplinktest.Received {
	t.Helper()
	var k uplink.Key
	part := strings.Split(key, "/")
	k.Gateway = part[0]
	if _, err := fmt.Sscanf(part[1]+" "+part[3], "%x %d-%d", &k.Epoch, &k.First, &k.Last); err != nil {
		t.Fatal(err)
	}
	body := points(k, size)
	if bytes.Count(body, []byte("\n")) != len(numbers) {
		return uplinktest.Received{Key: key}
	}
	for i, n := range numbers {
		if n != float64(i) {
			return uplinktest.Received{Key: key}
		}
	}
	return uplinktest.Received{Key: key, Body: body}
}

// overHTTP is the door to a database at a path.
func overHTTP(scheme, path, password string, secure *tls.Config) func(*testing.T, string) uplink.Sink {
	return func(t *testing.T, address string) uplink.Sink {
		s, err := New(Config{
			URL: scheme + "://" + address + path, TLS: secure, TrustStatus: true, Database: true, Connections: 4,
			Auth: Auth{Username: realUser, PasswordFile: secret(t, password)},
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// lines is the suite's description of a database that takes line protocol.
func lines(path string) uplinktest.Real {
	return uplinktest.Real{
		Protocol:    "http",
		New:         overHTTP("http", path, realPassword, nil),
		BadPassword: overHTTP("http", path, uplinktest.WrongPassword, nil),
		TLS: func(t *testing.T, address string, secure *tls.Config) uplink.Sink {
			return overHTTP("https", path, realPassword, secure)(t, address)
		},
		Body: points, ContentType: "text/plain; charset=utf-8",
		Dedups: true,
	}
}

func TestRealInfluxDB(t *testing.T) {
	const limit = 256 << 10
	real := lines("/write?db=tide")
	real.Server = func(t *testing.T) *servertest.Server {
		return servertest.InfluxDB(t, servertest.User(realUser, realPassword), servertest.MaxMessage(limit))
	}
	real.TooLarge = limit + 10_000
	real.Read = func(t *testing.T, address string) []uplinktest.Received {
		query := url.Values{"db": {"tide"}, "q": {`SELECT n, size FROM real GROUP BY "key"`}}
		var answer struct {
			Results []struct {
				Error  string
				Series []struct {
					Tags   map[string]string
					Values [][]float64
				}
			}
		}
		fetch(t, "http://"+address+"/query?epoch=ns&"+query.Encode(), func(d *json.Decoder) error { return d.Decode(&answer) })
		if len(answer.Results) != 1 || answer.Results[0].Error != "" {
			t.Fatalf("%+v", answer)
		}
		var all []uplinktest.Received
		for _, s := range answer.Results[0].Series {
			var numbers []float64
			for _, v := range s.Values {
				numbers = append(numbers, v[1])
			}
			all = append(all, rebuilt(t, s.Tags["key"], numbers, int(s.Values[0][2])))
		}
		return all
	}
	uplinktest.RunReal(t, real)
}

func TestRealVictoriaMetrics(t *testing.T) {
	real := lines("/write")
	real.Server = func(t *testing.T) *servertest.Server {
		return servertest.VictoriaMetrics(t, servertest.User(realUser, realPassword))
	}
	real.Forgets = true // and Fill kills it: TestFullVictoriaMetricsWaits has that
	real.Read = func(t *testing.T, address string) []uplinktest.Received {
		fetch(t, "http://"+address+"/internal/force_flush", func(*json.Decoder) error { return nil }) // makes all of it visible
		numbers, sizes := map[string][]float64{}, map[string]int{}
		fetch(t, "http://"+address+"/api/v1/export?match[]="+url.QueryEscape(`{key!=""}`), func(d *json.Decoder) error {
			var line struct {
				Metric map[string]string
				Values []float64
			}
			if err := d.Decode(&line); err != nil {
				return err
			}
			if key := line.Metric["key"]; line.Metric["__name__"] == "real_size" {
				sizes[key] = int(line.Values[0])
			} else {
				numbers[key] = append(numbers[key], line.Values...)
			}
			return nil
		})
		var all []uplinktest.Received
		for key, n := range numbers {
			all = append(all, rebuilt(t, key, n, sizes[key]))
		}
		return all
	}
	uplinktest.RunReal(t, real)
}

// fetch reads the JSON values of an answer.
func fetch(t *testing.T, url string, next func(*json.Decoder) error) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(realUser, realPassword)
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	d := json.NewDecoder(resp.Body)
	for d.More() {
		if err := next(d); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
