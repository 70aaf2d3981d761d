package daemon

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// do runs a program to its end, which must be with this code, and returns what
// it said.
func (s *site) do(code int, name string, args ...string) string {
	s.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GORACE="+quickExit)
	said, _ := cmd.CombinedOutput() // the code says it all
	if got := cmd.ProcessState.ExitCode(); got != code {
		s.Fatalf("%s %s ended with %d, want %d:\n%s", name, strings.Join(args, " "), got, code, said)
	}
	return string(said)
}

// cloudProgram builds the program that the other end runs.
func (s *site) cloudProgram() string {
	s.Helper()
	path := filepath.Join(s.dir, "tidegate-cloud")
	if out, err := exec.Command("go", "build", "-o", path, "../cmd/tidegate-cloud").CombinedOutput(); err != nil {
		s.Fatalf("%v: %s", err, out)
	}
	return path
}

// The link is down, so somebody carries the readings to the cloud on a stick:
// once half of them, because the stick was pulled out too early, and once whole.
// Then the link comes up, and the gateway, which knows nothing of the stick,
// sends everything. Each reading counts once, those that came later included.
func TestStickAndLinkTogetherDeliverOnce(t *testing.T) {
	s := newSite(t)
	program, store := s.cloudProgram(), filepath.Join(s.dir, "cloud")
	gateway := s.startGateway()
	ledger := firmwaresim.NewLedger()
	fleet := s.startFleet(firmwaresim.FleetConfig{Devices: 20, Rate: 2000, QoS: 1}, ledger)
	fleet.eventuallyAcked(3000)
	stick, half := filepath.Join(s.dir, "north.chunks"), filepath.Join(s.dir, "half.chunks")
	t.Log(s.do(exitOK, "tidegate", "buffer", "export", "-config", s.configFile(), "-undelivered", "cloud", "-o", stick))
	whole, err := os.ReadFile(stick)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(half, whole[:len(whole)-len(whole)/3], 0o600); err != nil {
		t.Fatal(err)
	}
	said := s.do(exitFailure, program, "import", "-data", store, half)
	if !strings.Contains(said, "the file ends at byte") || strings.Contains(said, ": 0 chunks") {
		t.Errorf("the half stick said\n%s", said)
	}
	t.Log(s.do(exitOK, program, "import", "-data", store, stick))

	fleet.eventuallyAcked(500)
	gateway.kill() // what it knows of its sinks is on flash, or comes again
	s.startGateway()
	s.start(program, "run", "-listen", s.cloud, "-data", store)
	s.eventually("the cloud listens", func() bool { return listens(s.cloud) })
	fleet.stop()
	s.eventuallyDelivered()
	if v := s.audit(ledger); v.Acked < 3500 {
		t.Errorf("only %d messages were acknowledged", v.Acked)
	}
	again := uint64(0)
	for _, lane := range s.cloudLedger() {
		again += lane.Duplicates
		if len(lane.Missing) > 0 {
			t.Errorf("%s %s misses %v", lane.Epoch, lane.Lane, lane.Missing)
		}
	}
	if again < 3000 {
		t.Errorf("%d readings came again: the stick and the link did not bring the same", again)
	}
	t.Logf("%d readings came to the cloud again, and count once", again)
}
