package daemon

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/cloud"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// A gateway whose link is down, on the screen of whoever comes to see why: the log as
// it grows, a bundle for support, the readings that wait, and which gateway it is.
func TestOpsInABrowser(t *testing.T) {
	s := newSite(t)
	text, err := os.ReadFile(s.configFile())
	if err != nil {
		t.Fatal(err)
	}
	with := strings.Replace(string(text), "[gateway]\n", "[gateway]\nidentify = [\"/bin/sh\", \"-c\", \"echo $$; exec sleep $0\"]\n", 1) // it never says the same twice
	if err := os.WriteFile(s.configFile(), []byte(with), 0o600); err != nil {
		t.Fatal(err)
	}
	gateway := s.startGateway()
	fleet := s.startFleet(firmwaresim.FleetConfig{Devices: 10, Rate: 500, QoS: 1}, firmwaresim.NewLedger())
	fleet.eventuallyAcked(2000)
	fleet.stop()
	st, ok := s.status()
	if !ok || st.Buffer.Waiting < 2000 {
		t.Fatalf("%d readings wait", st.Buffer.Waiting)
	}
	control := http.NewServeMux()
	control.HandleFunc("POST /chunks", func(w http.ResponseWriter, r *http.Request) { // what the cloud makes of a download
		file, err := os.Open(r.URL.Query().Get("file"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer file.Close()
		readings := 0
		for chunk, err := range cloud.ReadChunks(file) {
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			readings += chunk.Count()
		}
		now, _ := s.status() // of a gateway that was there a moment ago
		_ = json.NewEncoder(w).Encode(map[string]any{"readings": readings, "waiting": now.Buffer.Waiting})
	})
	control.HandleFunc("POST /bundle", func(w http.ResponseWriter, r *http.Request) { // what tar makes of one
		out, err := exec.Command("tar", "-tzf", r.URL.Query().Get("file")).CombinedOutput()
		_ = json.NewEncoder(w).Encode(map[string]any{"files": strings.Fields(string(out)), "ok": err == nil})
	})
	s.inBrowser("ops.mjs", control)
	gateway.stop()
}
