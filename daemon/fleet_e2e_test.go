package daemon

import (
	"context"
	"fmt"
	"net/http"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// fleet is a fleet of sensors that is running.
type fleet struct {
	*site
	*firmwaresim.Fleet
	cancel context.CancelFunc
	ended  chan error
}

// startFleet starts the fleet that cfg describes; stop or the end of the test
// ends it. Its acknowledgements are entered into the ledger.
func (s *site) startFleet(cfg firmwaresim.FleetConfig, ledger *firmwaresim.Ledger) *fleet {
	s.Helper()
	cfg.Addr = s.mqtt
	sim, err := firmwaresim.NewFleet(cfg, ledger)
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &fleet{site: s, Fleet: sim, cancel: cancel, ended: make(chan error, 1)}
	go func() { f.ended <- sim.Run(ctx) }()
	s.Cleanup(f.stop)
	return f
}

func (f *fleet) stop() {
	if f.ended == nil {
		return
	}
	f.cancel()
	if err := <-f.ended; err != nil {
		f.Errorf("fleet: %v", err)
	}
	f.ended = nil
}

// eventuallyAcked waits for n more acknowledgements.
func (f *fleet) eventuallyAcked(n uint64) {
	f.Helper()
	want := f.Stats().Acked + n
	f.eventually(fmt.Sprintf("%d more messages are acknowledged", n), func() bool { return f.Stats().Acked >= want })
}

// audit holds the ledger against what the cloud has: nothing that was
// acknowledged may be missing, nothing may be there twice.
func (s *site) audit(ledger *firmwaresim.Ledger) firmwaresim.Verdict {
	s.Helper()
	var v firmwaresim.Verdict
	s.get("http://"+s.cloud+"/v1/export", func(r *http.Response) (err error) {
		v, err = firmwaresim.Audit(ledger, r.Body)
		return err
	})
	s.Log(v)
	if !v.OK() || v.Acked == 0 {
		s.Errorf("first lost: %v", v.FirstLost)
	}
	return v
}

// sensors is the fleet of the accidents: it publishes faster than the disk
// syncs, with either promise that MQTT knows, and remembers what it was promised.
type sensors struct {
	*site
	ledger                   *firmwaresim.Ledger
	atLeastOnce, exactlyOnce *fleet
}

func (s *site) startSensors() *sensors {
	s.Helper()
	ledger := firmwaresim.NewLedger()
	return &sensors{
		site:        s,
		ledger:      ledger,
		atLeastOnce: s.startFleet(firmwaresim.FleetConfig{Devices: 20, Rate: 100, QoS: 1, Prefix: "once-"}, ledger),
		exactlyOnce: s.startFleet(firmwaresim.FleetConfig{Devices: 4, Rate: 50, QoS: 2, Prefix: "twice-"}, ledger),
	}
}

// eventuallyAcked waits for n more acknowledgements of either kind.
func (f *sensors) eventuallyAcked(n uint64) {
	f.Helper()
	f.atLeastOnce.eventuallyAcked(n)
	f.exactlyOnce.eventuallyAcked(n)
}

// stopAndAudit ends the story: what was acknowledged must be in the cloud.
func (f *sensors) stopAndAudit() {
	f.Helper()
	f.eventuallyAcked(1)
	f.atLeastOnce.stop()
	f.exactlyOnce.stop()
	f.eventuallyDelivered()
	f.audit(f.ledger)
}
