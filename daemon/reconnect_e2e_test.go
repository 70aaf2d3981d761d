package daemon

import (
	"syscall"
	"testing"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// Hundreds of devices come back at once, each with messages in flight: all are
// let in, and nothing that was acknowledged, before or after, is lost.
func TestStormOfReconnectsLosesNothing(t *testing.T) {
	const devices = 500
	s := newSite(t)
	s.startCloud()
	gateway := s.startGateway()
	ledger := firmwaresim.NewLedger()
	fleet := s.startFleet(firmwaresim.FleetConfig{
		Devices: devices, Rate: 1, QoS: 1, Client: firmwaresim.ClientConfig{Window: 4},
	}, ledger)
	everybody := func() bool { return fleet.Stats().Online == devices }
	for _, end := range []func(){gateway.kill, func() { gateway.signal(syscall.SIGTERM); <-gateway.ended }} {
		s.eventually("all devices are connected", everybody)
		fleet.eventuallyAcked(devices)
		end()
		gateway = s.startGateway()
	}
	s.eventually("all devices are connected again", everybody)
	fleet.eventuallyAcked(devices)
	fleet.stop()
	s.eventuallyDelivered()
	s.audit(ledger)
}
