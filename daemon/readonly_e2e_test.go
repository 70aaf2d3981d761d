package daemon

import (
	"net/http"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/dashboard"
)

// A card that the kernel made read-only: what is on it is delivered, nothing new
// is acknowledged, and it goes on when the card can be written again.
func TestReadOnlyDiskIsDeliveredAndGoesOnWhenItCanBeWritten(t *testing.T) {
	s := newSite(t)
	s.mountSmallDisk()
	disk := filepath.Dir(s.data)
	gateway := s.startGateway()
	sensor := s.startBlobs("sensor", 8)
	sensor.publishAll(8, 1000)
	gateway.kill()
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	gateway = s.startGateway()
	s.eventually("it starts", func() bool { return listens(s.mqtt) })
	s.eventuallyHealth(http.StatusServiceUnavailable, "read-only")
	s.startCloud()
	s.eventually("what was acknowledged is delivered", func() bool { return len(sensor.missing()) == 0 })

	if err := unix.Mount("", disk, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	sensor.publishAll(8, 1000)
	s.eventuallyHealth(http.StatusOK, "ok")
	gateway.stop()
	gateway = s.startGateway()
	s.eventuallyStatus("all is well", func(st dashboard.Status) bool { return st.Buffer.State == dashboard.OK })
	s.eventuallyDelivered()
	sensor.auditBlobs()
	gateway.stop()
}
