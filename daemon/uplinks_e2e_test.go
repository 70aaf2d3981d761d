package daemon

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
	"github.com/tidegate/tidegate/internal/servertest"
)

// realUpstream is an uplink to a real server, and a reader of what is in there that
// others have written.
type realUpstream struct {
	kind     string // the table of [uplink]
	name     string
	encoding string             // "json" if empty
	server   *servertest.Server // nil: it cannot be killed
	keys     string             // of the table, beside what all have
	// read returns the bodies that the server has, re-sends included.
	read func(t *testing.T) [][]byte
	// points is for databases instead: it returns the values of the sensors'
	// counters, one a device and time, whatever the order.
	points func(t *testing.T) []point
	// forgets says that the server loses what it has acknowledged when it is killed:
	// it is asked to stop.
	forgets bool
}

// TestUplinksToRealServersSurviveKills publishes readings to a gateway that sends
// them to a real server of every kind at once, and kills the gateway again and
// again, and each server. What the sensors hold an acknowledgement for is in each
// server; and a receiver that drops what it has already counts it once.
func TestUplinksToRealServersSurviveKills(t *testing.T) {
	if testing.Short() && os.Getenv("TIDEGATE_E2E") != "all" {
		t.Skip("servers take their time to come back")
	}
	s := newSite(t)
	all := realUpstreams(t)
	if !slices.ContainsFunc(all, func(u realUpstream) bool { return u.server != nil }) {
		t.Skip("no server is installed that this gateway can send to")
	}
	mortal := slices.DeleteFunc(slices.Clone(all), func(u realUpstream) bool { return u.server == nil })
	for _, u := range all {
		s.more += fmt.Sprintf("[[uplink.%s]]\nname = %q\nencoding = %q\nmax_batch = \"8KiB\"\ntimeout = \"5s\"\n%s\n",
			u.kind, u.name, cmp.Or(u.encoding, "json"), u.keys)
	}
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	cloud := s.startCloud()
	gateway := s.startGateway()
	ledger, random := firmwaresim.NewLedger(), seeded(t)
	// A database tells readings apart by their time, so no two of a sensor have the
	// same: each is a second after the one before.
	fleet := s.startFleet(firmwaresim.FleetConfig{Devices: 5, Rate: 20, QoS: 1, Start: time.Now().Add(-6 * time.Hour)}, ledger)
	rounds := max(4, len(mortal))
	if os.Getenv("TIDEGATE_E2E") == "all" {
		rounds = 3 * len(mortal)
	}
	for round := range rounds {
		fleet.eventuallyAcked(40)
		u := mortal[round%len(mortal)]
		u.end()
		fleet.eventuallyAcked(100) // a backlog for this one
		gateway.kill()
		if round%3 == 1 {
			cloud.kill()
			cloud = s.startCloud()
		}
		gateway = s.startGateway()
		fleet.eventuallyAcked(10)
		u.server.Start()
		for range 2 { // while the backlog is under way
			pass(time.Duration(random.IntN(400)) * time.Millisecond)
			gateway.kill()
			gateway = s.startGateway()
			fleet.eventuallyAcked(1)
		}
	}
	gateway.kill() // with everything on its way
	gateway = s.startGateway()
	fleet.eventuallyAcked(40)
	fleet.stop()
	s.eventuallyDelivered()
	gateway.stop()
	s.audit(ledger)
	want := s.inTheCloud()
	for _, u := range all {
		t.Run(u.name, func(t *testing.T) { u.audit(t, ledger, want) })
	}
}

// end ends the server as hard as it can stand.
func (u realUpstream) end() {
	if u.forgets {
		u.server.Stop()
		return
	}
	u.server.Kill()
}

// audit does what a receiver is told to do, and holds the result against what the
// sensors were told, and against what the cloud has.
func (u realUpstream) audit(t *testing.T, ledger *firmwaresim.Ledger, want map[string]string) {
	if u.points != nil {
		u.auditPoints(t, ledger)
		return
	}
	bodies := u.read(t)
	have := make(map[string]string)
	again := 0
	for _, body := range bodies {
		for key, row := range rowsOf(t, body) {
			if before, ok := have[key]; ok {
				again++
				if before != row {
					t.Errorf("%s was sent as %s and again as %s", key, before, row)
				}
			}
			have[key] = row
		}
	}
	t.Logf("%d messages with %d readings, and %d readings again", len(bodies), len(have), again)
	auditRows(t, ledger, slices.Collect(maps.Values(have)))
	if lost, invented := onlyIn(want, have), onlyIn(have, want); len(lost)+len(invented) > 0 {
		t.Errorf("the cloud and this server do not have the same readings: %d are missing (%.3v), %d are only here (%.3v)", len(lost), lost, len(invented), invented)
	}
}

// auditRows holds rows like those of our receiver's export against the ledger.
func auditRows(t *testing.T, ledger *firmwaresim.Ledger, rows []string) {
	t.Helper()
	v, err := firmwaresim.Audit(ledger, strings.NewReader(strings.Join(rows, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(v)
	if !v.OK() || v.Acked == 0 {
		t.Errorf("first lost: %v", v.FirstLost)
	}
}

// point is a value of a sensor's counter in a database.
type point struct {
	device string
	time   int64 // in the database's unit
	value  float64
}

// auditPoints is audit for what knows no messages, and tells readings apart by
// device and time.
func (u realUpstream) auditPoints(t *testing.T, ledger *firmwaresim.Ledger) {
	all := u.points(t)
	have := make(map[point]bool)
	var rows []string
	for _, p := range all {
		if !have[p] {
			rows = append(rows, fmt.Sprintf(`{"gateway":"database","epoch":"0","lane":"normal","seq":%d,"device":%q,"metric":"seq","value":%v}`, len(rows), p.device, p.value))
		}
		have[p] = true
	}
	t.Logf("%d points of counters", len(all))
	if len(all) != len(have) {
		t.Errorf("%d points are there again", len(all)-len(have))
	}
	auditRows(t, ledger, rows)
}

// onlyIn returns the keys of a that b lacks.
func onlyIn(a, b map[string]string) []string {
	var missing []string
	for key := range a {
		if _, ok := b[key]; !ok {
			missing = append(missing, key)
		}
	}
	slices.Sort(missing)
	return missing
}

// rowsOf returns the readings of a body as an export has them, by what a receiver
// tells them apart. A body is a document, or one line of NDJSON.
func rowsOf(t *testing.T, body []byte) map[string]string {
	t.Helper()
	var document struct {
		Gateway, Epoch, Lane string
		Readings             []json.RawMessage
	}
	if err := json.Unmarshal(body, &document); err != nil {
		t.Fatalf("%v: %.200s", err, body)
	}
	if document.Readings == nil {
		return map[string]string{keyOfRow(t, body): string(body)}
	}
	rows := make(map[string]string)
	for _, r := range document.Readings {
		row := fmt.Sprintf(`{"gateway":%q,"epoch":%q,"lane":%q,%s`, document.Gateway, document.Epoch, document.Lane, bytes.TrimPrefix(r, []byte("{")))
		key := keyOfRow(t, []byte(row))
		if _, ok := rows[key]; ok {
			t.Errorf("%s is there twice in one message", key)
		}
		rows[key] = row
	}
	return rows
}

func keyOfRow(t *testing.T, row []byte) string {
	t.Helper()
	var id struct {
		Gateway, Epoch, Lane string
		Seq                  uint64
	}
	if err := json.Unmarshal(row, &id); err != nil {
		t.Fatalf("%v: %.200s", err, row)
	}
	return fmt.Sprintf("%s/%s/%s/%d", id.Gateway, id.Epoch, id.Lane, id.Seq)
}

// inTheCloud is what our own receiver has.
func (s *site) inTheCloud() map[string]string {
	s.Helper()
	have := make(map[string]string)
	s.get("http://"+s.cloud+"/v1/export", func(r *http.Response) error {
		text, err := io.ReadAll(r.Body)
		for line := range bytes.Lines(text) {
			have[keyOfRow(s.T, line)] = string(line)
		}
		return err
	})
	return have
}

// realUpstreams starts a server for each kind of uplink, if it is installed.
func realUpstreams(t *testing.T) []realUpstream {
	t.Helper()
	var all []realUpstream
	for _, m := range []struct {
		kind string
		make func(t *testing.T) realUpstream
	}{
		{"amqp", overAMQP}, {"amqp1", overAMQP1}, {"stomp", overSTOMP}, {"redis", overRedis},
		{"nats", overNATS}, {"mqtt", overMQTT}, {"kafka", overKafka},
		{"http", toInfluxDB}, {"http", toVictoriaMetrics}, {"file", toFiles},
	} {
		if u := m.make(t); u.keys != "" {
			u.kind, u.name = m.kind, cmp.Or(u.name, "real-"+m.kind)
			all = append(all, u)
		}
	}
	return all
}

// secret writes a password for the configuration and returns the file's path.
func secret(t *testing.T, password string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
