package httpout

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/reading"
)

// awkward are names that devices might give themselves.
func awkward() []string {
	all := []string{"plain", "ü ß", "a=b", "a,b", "a b", `"q"`, "#c", "a'b", "{}", "a\tb", "日本", ".", "-", "a|b", "$1", "%20"}
	for _, c := range []string{",", " ", "=", `"`, "n", "t", "#"} {
		all = append(all, `a\`+c+"b", `a\\`+c+"b", `a\\\`+c+"b", `\`+c, c+`\`, c)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// odd returns a reading for each of the names, one in which it is the metric, and
// two beside each other of which one is the name as a text.
func odd() (rs []reading.Reading) {
	now := time.Now().UnixNano() / 1e9 * 1e9
	for i, name := range awkward() {
		at, value := now+int64(i)*1e6, reading.Float(float64(i))
		rs = append(rs,
			reading.Reading{Device: name, Metric: "temp", Time: at, Value: value},
			reading.Reading{Device: "boiler", Metric: name, Time: at, Value: value},
			reading.Reading{Device: "modem", Metric: "mode", Time: at, Value: reading.String(name)},
			reading.Reading{Device: "modem", Metric: "signal", Time: at, Value: value})
	}
	return rs
}

// TestDatabasesKeepEveryName: whatever a device calls itself and its metrics, no
// reading is passed over by a database that says 204. VictoriaMetrics says so of
// lines that it does not understand, too.
func TestDatabasesKeepEveryName(t *testing.T) {
	want := len(odd())
	for name, start := range map[string]func(t *testing.T) (address string, count func() int){
		"InfluxDB": func(t *testing.T) (string, func() int) {
			s := servertest.InfluxDB(t)
			return s.Addr("http") + "/write?db=tide", func() int { return influxValues(t, s.Addr("http")) }
		},
		"VictoriaMetrics": func(t *testing.T) (string, func() int) { // it makes 0 of a text
			s := servertest.VictoriaMetrics(t)
			return s.Addr("http") + "/write", func() int { return victoriaValues(t, s.Addr("http")) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			address, count := start(t)
			if err := database(t, "http://"+address, Auth{}).Send(within(t, patience), written(t, blockOf(t, 1, odd()))); err != nil {
				t.Fatal(err)
			}
			if !eventually(func() bool { return count() == want }) {
				t.Errorf("%d readings of %d", count(), want)
			}
		})
	}
}

func influxValues(t *testing.T, address string) (n int) {
	t.Helper()
	query := url.Values{"db": {"tide"}, "q": {"SELECT * FROM tidegate GROUP BY *"}}
	resp, err := http.Get("http://" + address + "/query?" + query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Results []struct{ Series []struct{ Values [][]any } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || len(answer.Results) != 1 {
		t.Fatalf("%+v, %v", answer, err)
	}
	for _, s := range answer.Results[0].Series {
		for _, v := range s.Values {
			n += len(v) - 1 - count(v, nil)
		}
	}
	return n
}

func count(values []any, wanted any) (n int) {
	for _, v := range values {
		if v == wanted {
			n++
		}
	}
	return n
}

func victoriaValues(t *testing.T, address string) (n int) {
	t.Helper()
	resp, err := http.Get("http://" + address + "/api/v1/export?match[]=" + url.QueryEscape(`{gateway="north-7"}`) + "&reduce_mem_usage=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for d := json.NewDecoder(resp.Body); ; {
		var line struct {
			Metric map[string]string
			Values []float64
		}
		if err := d.Decode(&line); err == io.EOF {
			return n
		} else if err != nil {
			t.Fatal(fmt.Errorf("export: %w", err))
		}
		n += len(line.Values)
	}
}

// TestReadingsOfOneTimeBecomeOneInADatabase keeps the page about encodings honest:
// a database has one value for each series and time, whichever was written last.
func TestReadingsOfOneTimeBecomeOneInADatabase(t *testing.T) {
	s := servertest.InfluxDB(t)
	rs := measured("boiler", 0, 10, number)
	for i := range rs {
		rs[i].Time = began + int64(i/2)*1_000_000 // a clock of milliseconds, read twice in each
	}
	if err := database(t, "http://"+s.Addr("http")+"/write?db=tide", Auth{}).Send(within(t, patience), written(t, blockOf(t, 1, rs))); err != nil {
		t.Fatal(err)
	}
	if n := influxCount(t, s, "temp"); n != 5 {
		t.Errorf("%d values of 10 readings at 5 times, want 5", n)
	}
}

// TestVictoriaMetricsSaysYesToWhatItDrops does the same for what is older than it
// keeps: there is no answer from which a gateway could tell.
func TestVictoriaMetricsSaysYesToWhatItDrops(t *testing.T) {
	s := servertest.VictoriaMetrics(t)
	sink := database(t, "http://"+s.Addr("http")+"/write", Auth{})
	old, young := measured("old", 0, 1, number), measured("young", 0, 1, number)
	old[0].Time, young[0].Time = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano(), time.Now().UnixNano() // this one keeps a hundred years
	for i, rs := range [][]reading.Reading{old, young} {
		if err := sink.Send(within(t, patience), written(t, blockOf(t, uint64(i+1), rs))); err != nil {
			t.Fatal(err)
		}
	}
	if !eventually(func() bool { return victoriaValues(t, s.Addr("http")) > 0 }) {
		t.Error("not even the young one is there")
	}
	if n := victoriaValues(t, s.Addr("http")); n != 1 {
		t.Errorf("%d readings are there, want the young one alone", n)
	}
}
