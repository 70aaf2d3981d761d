package daemon

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// deliverBy replaces the uplink of the configuration.
func (s *site) deliverBy(uplink string) {
	s.Helper()
	text, err := os.ReadFile(s.configFile())
	if err != nil {
		s.Fatal(err)
	}
	before, _, _ := strings.Cut(string(text), "[[uplink.http]]")
	if err := os.WriteFile(s.configFile(), []byte(before+uplink), 0o600); err != nil {
		s.Fatal(err)
	}
}

// Over a WebSocket as over anything else: whatever is killed in the middle of what,
// nothing acknowledged is lost, and each reading counts once.
func TestWebSocketUplinkSurvivesKills(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	s, random := newSite(t), seeded(t)
	s.deliverBy(fmt.Sprintf("[[uplink.websocket]]\nname = \"cloud\"\nurl = \"ws://%s/v1/ingest\"\nmax_batch = \"8KiB\"\ntimeout = \"2s\"\n", s.cloud))
	gateway := s.startGateway()
	receiver := s.startCloud()
	sensors := s.startSensors()
	for round := range rounds {
		s.eventuallyForwards()
		pass(time.Duration(random.IntN(50)) * time.Millisecond)
		if round%2 == 0 {
			receiver.kill()
			sensors.eventuallyAcked(50)
			receiver = s.startCloud()
		} else {
			gateway.kill()
			gateway = s.startGateway()
		}
		sensors.eventuallyAcked(10)
	}
	sensors.stopAndAudit()
	s.logDuplicates()
}

// A gateway without any network writes files on a stick, is killed and killed again,
// and the stick is carried to the cloud: once in the middle of it all, and once at
// the end. What was acknowledged to the sensors is in the cloud, each reading once.
func TestFileUplinkIsImportedOnce(t *testing.T) {
	for name, form := range map[string]string{
		"Packed": `encoding = "packed"`,
		"Lines":  "encoding = \"ndjson\"\ncompression = \"zstd\"",
	} {
		t.Run(name, func(t *testing.T) {
			s, random := newSite(t), seeded(t)
			program, store := s.cloudProgram(), filepath.Join(s.dir, "cloud")
			stick := filepath.Join(s.dir, "stick")
			s.deliverBy(fmt.Sprintf("[[uplink.file]]\nname = \"stick\"\ndir = %q\nmax_size = \"64KiB\"\nmax_batch = \"8KiB\"\nmin_free = \"1MiB\"\n%s\n", stick, form))
			gateway := s.startGateway()
			ledger := firmwaresim.NewLedger()
			fleet := s.startFleet(firmwaresim.FleetConfig{Devices: 20, Rate: 2000, QoS: 1}, ledger)
			rounds := 6
			if testing.Short() {
				rounds = 2
			}
			for range rounds {
				fleet.eventuallyAcked(500)
				pass(time.Duration(random.IntN(50)) * time.Millisecond)
				gateway.kill()
				s.importFiles(program, store, stick)
				gateway = s.startGateway()
			}
			fleet.eventuallyAcked(500)
			fleet.stop()
			s.eventuallyDelivered()
			gateway.kill()
			s.importFiles(program, store, stick)
			s.importFiles(program, store, stick)
			s.start(program, "run", "-listen", s.cloud, "-data", store)
			s.eventually("the cloud listens", func() bool { return listens(s.cloud) })
			if v := s.audit(ledger); v.Acked < 1000 {
				t.Errorf("only %d messages were acknowledged", v.Acked)
			}
			for _, lane := range s.cloudLedger() {
				if len(lane.Missing) > 0 {
					t.Errorf("%s %s misses %v", lane.Epoch, lane.Lane, lane.Missing)
				}
			}
		})
	}
}

// importFiles imports what is on the stick. After a kill its last file may end in
// the middle of a record, which the import says and takes the rest.
func (s *site) importFiles(program, store, stick string) {
	s.Helper()
	files, err := filepath.Glob(filepath.Join(stick, "stick-*"))
	if err != nil {
		s.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".tmp") {
			continue
		}
		said, err := exec.Command(program, "import", "-data", store, file).CombinedOutput()
		if part := strings.HasSuffix(file, ".part"); err != nil && (!part || !bytes.Contains(said, []byte("the file ends at byte"))) {
			s.Errorf("%v: %s", err, said)
		} else if !part && bytes.Contains(said, []byte(": 0 chunks")) {
			s.Errorf("%s", said)
		}
	}
}

// The status says where files go and how they do, as it does of any other link.
func TestFileUplinkWaitsForItsStick(t *testing.T) {
	s := newSite(t)
	stick := filepath.Join(s.dir, "stick")
	if err := os.Mkdir(stick, 0o700); err != nil {
		t.Fatal(err)
	}
	s.deliverBy(fmt.Sprintf("[[uplink.file]]\nname = \"stick\"\ndir = %q\nrequire_mount = true\n", stick))
	s.startGateway()
	sensors := s.startSensors()
	sensors.eventuallyAcked(20)
	s.eventuallyStatus("the stick is missed", func(st dashboard.Status) bool {
		return len(st.Links) == 1 && st.Links[0].Kind == "file" && strings.Contains(st.Links[0].LastError, "no file system is mounted")
	})
	if files, err := os.ReadDir(stick); err != nil || len(files) > 0 {
		t.Errorf("%v, %v", files, err)
	}
	said := s.do(exitOK, "tidegate", "check", "-config", s.configFile())
	if !strings.Contains(said, "put the stick back") {
		t.Errorf("check says\n%s", said)
	}
}
