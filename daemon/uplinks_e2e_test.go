package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
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
	kind   string // the table of [uplink]
	name   string
	server *servertest.Server
	keys   string // of the table, beside what all have
	// read returns the bodies that the server has, re-sends included.
	read func(t *testing.T) [][]byte
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
	if len(all) == 0 {
		t.Skip("no server is installed that this gateway can send to")
	}
	for _, u := range all {
		s.more += fmt.Sprintf("[[uplink.%s]]\nname = %q\nencoding = \"json\"\nmax_batch = \"8KiB\"\ntimeout = \"5s\"\n%s\n", u.kind, u.name, u.keys)
	}
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	cloud := s.startCloud()
	gateway := s.startGateway()
	ledger, random := firmwaresim.NewLedger(), seeded(t)
	fleet := s.startFleet(firmwaresim.FleetConfig{Devices: 5, Rate: 20, QoS: 1}, ledger)
	for round := range max(4, len(all)) {
		fleet.eventuallyAcked(40)
		u := all[round%len(all)]
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
	export := strings.Join(slices.Collect(maps.Values(have)), "\n")
	v, err := firmwaresim.Audit(ledger, strings.NewReader(export))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(v)
	if !v.OK() || v.Acked == 0 {
		t.Errorf("first lost: %v", v.FirstLost)
	}
	if lost, invented := onlyIn(want, have), onlyIn(have, want); len(lost)+len(invented) > 0 {
		t.Errorf("the cloud and this server do not have the same readings: %d are missing (%.3v), %d are only here (%.3v)", len(lost), lost, len(invented), invented)
	}
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
// tells them apart.
func rowsOf(t *testing.T, body []byte) map[string]string {
	t.Helper()
	var document struct {
		Gateway, Epoch, Lane string
		Readings             []json.RawMessage
	}
	if err := json.Unmarshal(body, &document); err != nil {
		t.Fatalf("%v: %.200s", err, body)
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

// realUpstreams starts a server for each kind of uplink that this program knows and
// that is installed.
func realUpstreams(t *testing.T) []realUpstream {
	t.Helper()
	var all []realUpstream
	for _, m := range []struct {
		kind string
		make func(t *testing.T) realUpstream
	}{
		{"amqp", overAMQP}, {"amqp1", overAMQP1}, {"stomp", overSTOMP}, {"redis", overRedis},
		{"nats", overNATS}, {"mqtt", overMQTT},
	} {
		if !knowsUplink(m.kind) {
			t.Logf("[[uplink.%s]] is not in this program", m.kind)
			continue
		}
		if u := m.make(t); u.server != nil {
			u.kind, u.name = m.kind, "real-"+m.kind
			all = append(all, u)
		}
	}
	return all
}

// knowsUplink says whether [uplink] has tables of the kind.
func knowsUplink(kind string) bool {
	tables := reflect.TypeFor[Uplink]()
	for i := range tables.NumField() {
		if tables.Field(i).Tag.Get("toml") == kind {
			return true
		}
	}
	return false
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
