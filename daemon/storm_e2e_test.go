package daemon

import (
	"testing"
	"time"

	"github.com/tidegate/tidegate/buffer"
)

// Accidents do not wait for each other.
func TestStormOfAccidentsLosesNothing(t *testing.T) {
	accidents := 60
	if testing.Short() {
		accidents = 15
	}
	s, random := newSite(t), seeded(t)
	link := s.insertLink("1s")
	receiver, gateway := s.startCloud(), s.startGateway()
	sensors := s.startSensors()
	for range accidents {
		pass(time.Duration(random.IntN(300)) * time.Millisecond)
		switch random.IntN(8) {
		case 0, 1:
			gateway.kill()
			gateway = s.startGateway()
		case 2:
			s.eventually("the gateway runs", func() bool { return listens(s.mqtt) }) // and knows what a signal means
			gateway.stop()
			gateway = s.startGateway()
		case 3:
			receiver.kill()
			receiver = s.startCloud()
		case 4:
			link.CutAfter(1 + random.Int64N(3000))
		case 5:
			link.Blackhole()
		case 6:
			link.Hangup()
		case 7:
			link.Restore()
		}
	}
	link.Restore()
	gateway.kill() // its successor asks the cloud at once, however long the outage was
	s.startGateway()
	sensors.stopAndAudit()
	s.logDuplicates()
}

// A buffer that is full of readings that nobody takes loses the oldest ones, and
// the cloud is told of each, also when the gateway is killed meanwhile.
func TestEvictionIsAccountedForThroughKillNine(t *testing.T) {
	const size, batch, segmentBlobs = 128 << 10, 40, 8 << 20 / (128 << 10)
	s := newSite(t)
	s.maxBytes = "32MiB"
	s.configure("http://"+s.cloud+"/v1/ingest", "5s")
	gateway := s.startGateway()
	sensor := s.startBlobs("sensor", 8)
	for range 10 { // 50 MiB
		sensor.publishAll(batch, size)
		gateway.kill()
		gateway = s.startGateway()
	}
	sensor.publishAll(batch, size)
	s.startCloud()
	s.eventuallyDelivered()

	lost := sensor.missing()
	if len(lost) == 0 {
		t.Error("nothing was evicted: nothing is proved")
	}
	declared := uint64(0)
	for _, gap := range s.gaps() {
		declared += gap.Count
		if gap.Reason != buffer.ReasonEvicted {
			t.Errorf("gap: %+v", gap)
		}
	}
	// A segment that a cursor is just reading when it is evicted may still get
	// through.
	if n := uint64(len(lost)); declared < n || declared > n+segmentBlobs {
		t.Errorf("%d blobs are lost, and the cloud was told of %d", n, declared)
	}
	for _, tag := range lost {
		if tag > 7*batch {
			t.Errorf("blob %d is lost: not one of the oldest", tag)
		}
	}
	t.Logf("%d of %d blobs evicted, %d readings declared", len(lost), sensor.countAcked(), declared)
}

// A crash begins a new epoch, whose numbers go on where the last one's ended.
// The cloud must not take those before for missing.
func TestCloudMissesNothingAfterACrash(t *testing.T) {
	s := newSite(t)
	s.startCloud()
	gateway := s.startGateway()
	sensors := s.startSensors()
	sensors.eventuallyAcked(20)
	gateway.kill()
	s.startGateway()
	sensors.stopAndAudit()
	for _, lane := range s.cloudLedger() {
		if lane.MissingReadings > 0 {
			t.Errorf("epoch %s, lane %s: %v counts as missing", lane.Epoch, lane.Lane, lane.Missing)
		}
	}
}
