package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// storm5k kills a gateway under a fleet that publishes, and starts it again: all
// devices come back at once, each with messages that are not acknowledged. In the
// end everything that was acknowledged must be in the cloud, once.
func (b *bench) storm5k(ctx context.Context) (err error) {
	devices := pick(b, 500, 5000)
	s, err := b.openShore(ctx, forSpeed, thousandsOfClients, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	s.link.Restore()
	ledger := firmwaresim.NewLedger()
	fleet, err := firmwaresim.NewFleet(firmwaresim.FleetConfig{
		Addr: s.gateway.addr, Devices: devices, Rate: 0.5, QoS: 1, Topic: jsonTopic, Client: firmwaresim.ClientConfig{Window: 4},
	}, ledger)
	if err != nil {
		return err
	}
	err = during(ctx, fleet.Run, func() error { return b.reconnect(ctx, s, fleet, devices) })
	if err != nil {
		return err
	}
	return b.audit(ctx, s, ledger)
}

// reconnect kills the gateway and waits until every device has what it published
// before acknowledged.
func (b *bench) reconnect(ctx context.Context, s *shore, fleet *firmwaresim.Fleet, devices int) error {
	online := func() (bool, error) { return fleet.Stats().Online == devices, nil }
	if err := poll(ctx, 10*time.Millisecond, 2*time.Minute, "all devices are connected", online); err != nil {
		return err
	}
	if err := let(ctx, calm); err != nil {
		return err
	}
	addr := s.gateway.addr
	s.gateway.kill()
	owed := fleet.Stats()
	if err := s.startGateway(ctx, b, addr, forSpeed, thousandsOfClients); err != nil {
		return err
	}
	began := time.Now()
	if err := poll(ctx, 5*time.Millisecond, 2*time.Minute, "all devices are connected again", online); err != nil {
		return err
	}
	connected := time.Since(began)
	err := poll(ctx, 5*time.Millisecond, 2*time.Minute, "all is acknowledged", func() (bool, error) {
		now := fleet.Stats()
		return now.Published-now.Acked < uint64(devices)/100 && now.Acked >= owed.Published, nil
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	b.say("%d messages were in flight, %d were published again", owed.Published-owed.Acked, fleet.Stats().Republished)
	what := thousands(uint64(devices)) + " devices, gateway killed: from its return "
	b.report.add("storm5k", what+"until all are connected", connected.Seconds(), "s", most(10))
	b.report.add("storm5k", what+"until what they had in flight is acknowledged", took.Seconds(), "s", most(10))
	return nil
}

// audit waits until everything is delivered and holds the cloud against what the
// devices know.
func (b *bench) audit(ctx context.Context, s *shore, ledger *firmwaresim.Ledger) error {
	if err := s.gateway.untilDelivered(ctx); err != nil {
		return err
	}
	resp, err := http.Get("http://" + s.cloud + "/v1/export")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	verdict, err := firmwaresim.Audit(ledger, resp.Body)
	if err != nil {
		return err
	}
	b.say("%s", verdict)
	if !verdict.OK() {
		return fmt.Errorf("audit: %s", verdict)
	}
	b.report.add("storm5k", "acknowledged messages lost", float64(verdict.Lost), "", most(0))
	return nil
}
