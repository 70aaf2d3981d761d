package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tidegate/tidegate/internal/servertest"
)

// toInfluxDB writes lines to InfluxDB 1, which keeps one value a device and time.
func toInfluxDB(t *testing.T) realUpstream {
	s := servertest.InfluxDB(t, servertest.User(realUser, realPassword), servertest.OrNil())
	if s == nil {
		return realUpstream{}
	}
	return realUpstream{name: "real-influxdb", server: s, encoding: "line",
		keys: fmt.Sprintf("url = %q\nusername = %q\npassword_file = %q",
			"http://"+s.Addr("http")+"/write?db=tide&precision=ns", realUser, secret(t, realPassword)),
		points: func(t *testing.T) (all []point) {
			var answer struct {
				Results []struct {
					Series []struct {
						Tags   struct{ Device string }
						Values [][2]float64
					}
				}
			}
			text := ask(t, "http://"+s.Addr("http")+"/query?epoch=ms&db=tide&q="+url.QueryEscape("SELECT seq FROM tidegate GROUP BY device"))
			if err := json.Unmarshal(text, &answer); err != nil || len(answer.Results) != 1 {
				t.Fatalf("%v: %.300s", err, text)
			}
			for _, series := range answer.Results[0].Series {
				for _, v := range series.Values {
					all = append(all, point{series.Tags.Device, int64(v[0]), v[1]})
				}
			}
			return all
		}}
}

// toVictoriaMetrics writes lines to VictoriaMetrics. It keeps re-sends beside what
// they repeat unless it is told to drop them.
func toVictoriaMetrics(t *testing.T) realUpstream {
	s := servertest.VictoriaMetrics(t, servertest.User(realUser, realPassword), servertest.OrNil(), servertest.Config("-dedup.minScrapeInterval=1ms"))
	if s == nil {
		return realUpstream{}
	}
	return realUpstream{name: "real-victoriametrics", server: s, encoding: "line", forgets: true,
		keys: fmt.Sprintf("url = %q\nusername = %q\npassword_file = %q",
			"http://"+s.Addr("http")+"/write", realUser, secret(t, realPassword)),
		points: func(t *testing.T) (all []point) {
			s.Stop() // what is shown then is on disk
			s.Start()
			for line := range bytes.Lines(ask(t, "http://"+s.Addr("http")+"/api/v1/export?match="+url.QueryEscape(`tidegate_seq`))) {
				var series struct {
					Metric     struct{ Device string }
					Values     []float64
					Timestamps []int64
				}
				if err := json.Unmarshal(line, &series); err != nil {
					t.Fatalf("%v: %.300s", err, line)
				}
				for i, v := range series.Values {
					all = append(all, point{series.Metric.Device, series.Timestamps[i], v})
				}
			}
			return all
		}}
}

// toFiles writes lines to files, which only the gateway itself can lose.
func toFiles(t *testing.T) realUpstream {
	dir := filepath.Join(t.TempDir(), "out")
	return realUpstream{encoding: "ndjson", keys: fmt.Sprintf("dir = %q\nmax_size = \"64KiB\"", dir),
		read: func(t *testing.T) (lines [][]byte) {
			files, err := filepath.Glob(filepath.Join(dir, "*.ndjson*"))
			if err != nil || len(files) < 2 {
				t.Fatalf("files %v: %v", files, err)
			}
			for _, path := range files {
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				for line := range bytes.Lines(text) {
					lines = append(lines, bytes.TrimSpace(line))
				}
			}
			return lines
		}}
}

// ask is curl, which logs in.
func ask(t *testing.T, url string) []byte {
	t.Helper()
	out, err := exec.Command("curl", "-sS", "--fail-with-body", "--user", realUser+":"+realPassword, url).CombinedOutput()
	if err != nil {
		t.Fatalf("curl %s: %v: %s", url, err, out)
	}
	return out
}

// overKafka sends to a Kafka in this process, which is never killed: it has no
// disk. It is read by librdkafka.
func overKafka(t *testing.T) realUpstream {
	if _, err := exec.LookPath("kcat"); err != nil {
		if os.Getenv("TIDEGATE_E2E") == "all" {
			t.Fatal(err)
		}
		t.Logf("%v — hint: apt-get install kcat", err)
		return realUpstream{}
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "tide"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	broker := cluster.ListenAddrs()[0]
	return realUpstream{
		keys: fmt.Sprintf("brokers = [%q]\ntls = false\ntopic = \"tide\"", broker),
		read: func(t *testing.T) (bodies [][]byte) {
			out, err := exec.Command("kcat", "-b", broker, "-C", "-t", "tide", "-o", "beginning", "-e", "-q", "-f", "%s\n").Output()
			if err != nil {
				t.Fatalf("kcat: %v", err)
			}
			for line := range bytes.Lines(out) { // a document of JSON has no line ends
				bodies = append(bodies, bytes.TrimSpace(line))
			}
			return bodies
		}}
}
