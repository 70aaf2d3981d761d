package daemon

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate/tidegate/cloud"
	"github.com/tidegate/tidegate/dashboard"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// A gateway that catches up sends old readings and new ones side by side: a kill
// must neither lose its place in the one nor in the other.
func TestKillNineWhileCatchingUpLosesNothing(t *testing.T) {
	rounds, backlog := 20, uint64(60_000)
	if testing.Short() {
		rounds, backlog = 5, 10_000
	}
	s, random := newSite(t), seeded(t)
	link := s.insertLink("5s")
	link.Cut()
	s.startCloud()
	gateway := s.startGateway()
	sensors := s.startSensors()
	older := s.startFleet(firmwaresim.FleetConfig{QoS: 1, Prefix: "older-", Client: firmwaresim.ClientConfig{Window: 500}}, sensors.ledger)
	older.eventuallyAcked(backlog)
	older.stop()
	link.Restore()
	link.Bandwidth(100_000)
	for range rounds {
		gateway.kill()
		gateway = s.startGateway()
		sensors.eventuallyAcked(1)
		s.eventuallyStatus("some of the backlog is delivered", func(st dashboard.Status) bool { return st.Links[0].Acked > 1000 })
		pass(time.Duration(random.IntN(100)) * time.Millisecond)
	}
	st, _ := s.status()
	t.Logf("after %d kills, %d readings wait", rounds, st.Buffer.Waiting)
	link.Bandwidth(0)
	sensors.stopAndAudit()
	s.logDuplicates()
}

// logDuplicates shows that accidents hit: what came again was dropped.
func (s *site) logDuplicates() {
	s.Helper()
	again := uint64(0)
	for _, lane := range s.cloudLedger() {
		again += lane.Duplicates
	}
	s.Logf("%d readings came to the cloud again, and count once", again)
}

func TestKillNineOfTheCloudLosesNothing(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 6
	}
	s, random := newSite(t), seeded(t)
	s.startGateway()
	sensors := s.startSensors()
	for range rounds {
		receiver := s.startCloud()
		s.eventuallyForwards()
		pass(time.Duration(random.IntN(50)) * time.Millisecond)
		receiver.kill()
	}
	s.startCloud()
	sensors.stopAndAudit()
	s.logDuplicates()
}

func TestStopUnderLoadIsCleanAndContinuesTheEpoch(t *testing.T) {
	s := newSite(t)
	s.startCloud()
	sensors := s.startSensors()
	for range 3 {
		gateway := s.startGateway()
		sensors.eventuallyAcked(20)
		gateway.stop()
	}
	s.startGateway()
	sensors.stopAndAudit()
	epochs := map[string]bool{}
	for _, lane := range s.cloudLedger() {
		epochs[lane.Epoch] = true
		if lane.MissingReadings > 0 || len(lane.Gaps) > 0 {
			t.Errorf("missing %v, gaps %v", lane.Missing, lane.Gaps)
		}
	}
	if len(epochs) != 1 {
		t.Errorf("%d epochs after clean stops, want one", len(epochs))
	}
}

func (s *site) cloudLedger() []cloud.LaneLedger {
	s.Helper()
	var answer struct{ Lanes []cloud.LaneLedger }
	s.get("http://"+s.cloud+"/v1/ledger", func(r *http.Response) error {
		return json.NewDecoder(r.Body).Decode(&answer)
	})
	return answer.Lanes
}

// A link that swallows everything must not hold up a stop for longer than the
// grace, and what it swallowed is delivered by the next life.
func TestStopWhileTheLinkIsDeadIsPrompt(t *testing.T) {
	s := newSite(t)
	link := s.insertLink("5m") // longer than a stop may take
	s.startCloud()
	gateway := s.startGateway()
	sensors := s.startSensors()
	s.eventuallyStatus("something is delivered", func(st dashboard.Status) bool { return st.Links[0].Acked > 0 })
	link.Blackhole()
	s.eventuallyStatus("messages are stuck", func(st dashboard.Status) bool { return st.Links[0].InFlight > 0 })
	sensors.eventuallyAcked(20)
	gateway.stop()

	link.Restore()
	s.startGateway()
	sensors.stopAndAudit()
}

// The second signal is for those who do not want to wait for the grace.
func TestSecondSignalEndsAtOnceAndLosesNothing(t *testing.T) {
	s := newSite(t)
	link := s.insertLink("30s")
	link.Blackhole()
	s.startCloud()
	sensors := s.startSensors()
	s.eventually("another signal ends the gateway", func() bool { return s.isEndedByASecondSignal(sensors) })

	link.Restore()
	s.startGateway()
	sensors.stopAndAudit()
}

// isEndedByASecondSignal tells a gateway to stop, twice, and reports whether the second
// time ended it, and at once. On a busy machine the grace may be over before.
func (s *site) isEndedByASecondSignal(sensors *sensors) bool {
	s.Helper()
	gateway := s.startGateway()
	sensors.eventuallyAcked(20)
	s.eventuallyStatus("messages are stuck", func(st dashboard.Status) bool { return st.Links[0].InFlight > 0 })
	begun := time.Now()
	gateway.signal(syscall.SIGTERM)
	s.eventually("the doors are closed", func() bool { return !listens(s.mqtt) })
	s.eventually("it ends", func() bool {
		_ = gateway.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		return isClosed(gateway.ended)
	})
	took, status := time.Since(begun), gateway.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() && status.Signal() == syscall.SIGTERM {
		return took < drainGrace/2 // one that lets go late does so each time
	}
	if took < drainGrace {
		s.Errorf("the gateway ended with %v after %v, want the signal", status, took)
	}
	return false
}

func TestSecondGatewayOnOneFolderIsTurnedAway(t *testing.T) {
	s := newSite(t)
	s.startGateway()
	s.eventually("the first gateway listens", func() bool { return listens(s.mqtt) })
	if code := s.startGateway().waitExit(patience).ExitCode(); code != exitFailure {
		t.Errorf("the second gateway ended with %d, want %d", code, exitFailure)
	}
	said := s.said()
	if !strings.Contains(said, s.data) || !strings.Contains(said, "is a tidegate running on this folder?") {
		t.Errorf("the second gateway does not say why it ends:\n%s", said)
	}
	if _, ok := s.status(); !ok {
		t.Error("the first gateway does not answer any more")
	}
}

// What waits on flash must not be what a sensor waits for, and it must not be
// in memory.
func TestStartWithALargeBacklogIsPrompt(t *testing.T) {
	messages := uint64(100_000)
	if testing.Short() || raceDetected() {
		messages = 20_000
	}
	s, ledger := newSite(t), firmwaresim.NewLedger()
	gateway := s.startGateway()
	empty := s.firstAck("before")
	sensors := s.startFleet(firmwaresim.FleetConfig{Devices: 10, QoS: 1, Client: firmwaresim.ClientConfig{Window: 500}}, ledger)
	sensors.eventuallyAcked(messages)
	sensors.stop()

	gateway.kill()
	killed := t.TempDir()
	copyFolder(t, s.data, killed)

	const prompt = 3 * time.Second
	behind := patience
	for n := 0; n < 5 && behind > prompt; n++ { // one that is slow each time is not held up by others
		if n > 0 { // the same start again: the next one may be spared what this one had to do
			gateway.kill()
			if err := os.RemoveAll(s.data); err != nil {
				t.Fatal(err)
			}
			copyFolder(t, killed, s.data)
		}
		begun := time.Now()
		gateway = s.startGateway()
		s.firstAck(fmt.Sprint("behind-", n))
		behind = time.Since(begun)
	}
	t.Logf("first acknowledgement %v after the start with %d messages waiting; %v from a running, empty gateway; %d MiB resident",
		behind.Round(time.Millisecond), sensors.Stats().Acked, empty.Round(time.Millisecond), gateway.memory("VmRSS")>>20)
	if behind > prompt {
		t.Errorf("first acknowledgement after %v", behind)
	}
	s.startCloud()
	s.eventuallyDelivered()
	s.audit(ledger)
}

// copyFolder copies what is in a folder, with the sockets that nobody listens on.
func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if said, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
}

// firstAck returns how long a new sensor waits for its first acknowledgement.
func (s *site) firstAck(device string) time.Duration {
	s.Helper()
	begun := time.Now()
	sensor := s.startFleet(firmwaresim.FleetConfig{Count: 1, QoS: 1, Prefix: device}, nil)
	sensor.eventuallyAcked(1)
	sensor.stop()
	return time.Since(begun)
}
