package mqttin

import (
	"errors"
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// lanes are the ways that a publish with an acknowledgement can take.
var lanes = []struct {
	name string
	qos  byte
	// prepare makes publishes to "d" go this way.
	prepare func(t *testing.T, src *Source)
	ack     byte
}{
	{"express", 1, func(*testing.T, *Source) {}, packets.Puback},
	{"subscribed", 1, func(t *testing.T, src *Source) {
		connect(t, src, 4, "reader").subscribe(1, 1, "#")
	}, packets.Puback},
	{"qos2", 2, func(*testing.T, *Source) {}, packets.Pubrec},
}

func forEachLane(t *testing.T, test func(t *testing.T, version, qos, ack byte, custody *ingesttest.Custody, src *Source)) {
	for _, lane := range lanes {
		for _, version := range []byte{4, 5} {
			t.Run(fmt.Sprintf("%s/v%d", lane.name, version), func(t *testing.T) {
				custody := ingesttest.NewCustody()
				src := start(t, custody, Config{})
				lane.prepare(t, src)
				test(t, version, lane.qos, lane.ack, custody, src)
			})
		}
	}
}

func TestNoAckBeforeReceipt(t *testing.T) {
	forEachLane(t, func(t *testing.T, version, qos, ack byte, custody *ingesttest.Custody, src *Source) {
		c := connect(t, src, version, "device")
		for id := range uint16(5) {
			c.publish("d", `{"temp":21.5}`, qos, id+1)
		}
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		custody.Taken(t, 5)
		c.silent()
		custody.Commit()
		for id := range uint16(5) {
			c.expect(ack, id+1)
		}
		c.expect(packets.Pingresp, 0)
	})
}

func TestFailedCommitNeverAcks(t *testing.T) {
	forEachLane(t, func(t *testing.T, version, qos, ack byte, custody *ingesttest.Custody, src *Source) {
		c := connect(t, src, version, "device")
		c.publish("d", `{"temp":21.5}`, qos, 1)
		custody.Taken(t, 1)
		custody.Commit()
		c.expect(ack, 1)
		c.publish("d", `{"temp":21.6}`, qos, 2)
		custody.Taken(t, 2)
		custody.Fail(errors.New("disk is gone"))
		checkFarewell(t, c.hungUp(), version)
	})
}

// checkFarewell checks that a peer of MQTT 5 was told why, and others nothing.
func checkFarewell(t *testing.T, got []packets.Packet, version byte) {
	t.Helper()
	if version < 5 && len(got) == 0 {
		return
	}
	if version == 5 && len(got) == 1 && got[0].FixedHeader.Type == packets.Disconnect && got[0].ReasonCode == codeQuotaExceeded {
		return
	}
	t.Fatalf("version %d got %+v", version, got)
}

func TestNotStoredTable(t *testing.T) {
	for _, version := range []byte{4, 5} {
		for qos := range byte(3) {
			for _, lane := range []string{"express", "subscribed"} {
				t.Run(fmt.Sprintf("v%d/qos%d/%s", version, qos, lane), func(t *testing.T) {
					custody := ingesttest.NewCustody()
					src := start(t, custody, Config{})
					if lane == "subscribed" {
						connect(t, src, 4, "reader").subscribe(1, 0, "#")
					}
					custody.Refuse(ingest.ErrFull)
					c := connect(t, src, version, "device")
					id := uint16(0)
					if qos > 0 {
						id = 7
					}
					c.publish("d", "21.5", qos, id)
					checkNotStored(t, c, version, qos)
					if got := src.Stats().NotStored; got != 1 {
						t.Errorf("counted %d not stored, want 1", got)
					}
				})
			}
		}
	}
}

// A client that is told no forgets the message; while the gateway stops it must
// keep it.
func TestNothingIsRefusedWhileStopping(t *testing.T) {
	for _, tt := range []struct {
		version, qos byte
		stopping     bool
		want         verdict
	}{
		{5, 1, false, refuse},
		{5, 1, true, hangUp},
		{5, 2, false, hangUp},
		{5, 2, true, hangUp},
		{4, 1, false, hangUp},
		{4, 0, true, drop},
		{5, 0, true, drop},
	} {
		if got := notStored(tt.version, tt.qos, tt.stopping); got != tt.want {
			t.Errorf("%+v: got %d", tt, got)
		}
	}
}

func checkNotStored(t *testing.T, c *client, version, qos byte) {
	t.Helper()
	switch {
	case qos == 0:
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		c.expect(packets.Pingresp, 0)
	case qos == 1 && version == 5:
		if ack := c.expect(packets.Puback, 7); ack.ReasonCode != codeQuotaExceeded {
			t.Fatalf("puback says %#x", ack.ReasonCode)
		}
		c.silent()
	default:
		checkFarewell(t, c.hungUp(), version)
	}
}
