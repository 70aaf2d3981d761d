package vm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/cloud"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// site is the configuration of a gateway that takes readings from outside its
// machine and sends them to a cloud, with more keys of that uplink.
func (m *machine) site(cloudURL, more string) string {
	return fmt.Sprintf(`[buffer]
profile = "speed"
[ingest.mqtt]
listen = "0.0.0.0:1883"
insecure_i_know = true
[[ingest.mqtt.route]]
topic = "site/{site}/dev/{device}/telemetry"
[[ingest.mqtt.route]]
topic = "alarms/{device}"
lane = "alarm"
[[ingest.mqtt.route]]
topic = "bulk/{device}"
lane = "bulk"
[[uplink.http]]
name = "cloud"
url = %q
timeout = "20s"
insecure_i_know = true
%s
`, cloudURL, more)
}

// publish runs a fleet to its end.
func (m *machine) publish(cfg firmwaresim.FleetConfig, ledger *firmwaresim.Ledger) {
	m.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), m.patience())
	defer cancel()
	cfg.Addr = m.address("1883")
	fleet, err := firmwaresim.NewFleet(cfg, ledger)
	if err == nil {
		err = fleet.Run(ctx)
	}
	if err != nil || fleet.Stats().Acked < cfg.Count {
		m.Fatalf("%d messages of %d were acknowledged: %v", fleet.Stats().Acked, cfg.Count, err)
	}
}

// fleet is simulated sensors that publish until they are stopped.
type fleet struct {
	*firmwaresim.Fleet
	m      *machine
	cancel context.CancelFunc
	ended  chan error // nil when stopped
}

func (m *machine) startFleet(cfg firmwaresim.FleetConfig, ledger *firmwaresim.Ledger) *fleet {
	m.Helper()
	cfg.Addr = m.address("1883")
	// The network in between takes connections while the machine is off, and breaks
	// them: a pause is soon over, and what is open is known to be dead soon.
	cfg.Client = firmwaresim.ClientConfig{MaxPause: 300 * time.Millisecond, KeepAlive: 20 * time.Second}
	sim, err := firmwaresim.NewFleet(cfg, ledger)
	if err != nil {
		m.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &fleet{Fleet: sim, m: m, cancel: cancel, ended: make(chan error, 1)}
	go func() { f.ended <- sim.Run(ctx) }()
	m.Cleanup(f.stop)
	return f
}

func (f *fleet) stop() {
	if f.ended == nil {
		return
	}
	f.cancel()
	if err := <-f.ended; err != nil {
		f.m.Errorf("fleet: %v", err)
	}
	f.ended = nil
}

// awaitAck waits for one more acknowledgement. It reports false when the time is
// over, or the power away.
func (f *fleet) awaitAck(atMost time.Duration) bool {
	late, look := time.After(atMost), time.NewTicker(20*time.Millisecond)
	defer look.Stop()
	for before := f.Stats().Acked; ; {
		select {
		case <-look.C:
			if f.Stats().Acked > before {
				return true
			}
		case <-f.m.power.ended:
			return false
		case <-late:
			return false
		}
	}
}

// shore is a cloud in the test's process, which keeps its power, and the cable to
// it.
type shore struct {
	m      *machine
	store  *cloud.Store
	routes atomic.Pointer[http.Handler]
	cable  *firmwaresim.Link
	url    string // as the machine sees it, through the cable
}

func (m *machine) openShore() *shore {
	m.Helper()
	s := &shore{m: m}
	s.renew()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*s.routes.Load()).ServeHTTP(w, r) }))
	cable, err := firmwaresim.OpenLink("127.0.0.1:0", server.Listener.Addr().String())
	if err != nil {
		m.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- cable.Run(ctx) }()
	m.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			m.Errorf("cable: %v", err)
		}
		server.CloseClientConnections()
		server.Close()
	})
	_, port, _ := strings.Cut(cable.Addr(), ":")
	s.cable, s.url = cable, "http://"+inside+":"+port+"/v1/ingest"
	return s
}

// renew replaces the cloud by one that has nothing yet. A machine whose disk is an
// older copy gives numbers to its readings that the last cloud has seen.
func (s *shore) renew() {
	s.m.Helper()
	dir, err := os.MkdirTemp("", "shore")
	if err != nil {
		s.m.Fatal(err)
	}
	store, err := cloud.Open(cloud.StoreConfig{Dir: dir})
	if err != nil {
		s.m.Fatal(err)
	}
	s.m.Cleanup(func() {
		if err := errors.Join(store.Close(), os.RemoveAll(dir)); err != nil {
			s.m.Error(err)
		}
	})
	routes := cloud.Routes(cloud.NewReceiver(cloud.ReceiverConfig{}, store, slog.New(slog.DiscardHandler)), store)
	s.store = store
	s.routes.Store(&routes)
}

// delivered is a script that succeeds when nothing is waiting on the machine: neither in
// the buffer, nor for the uplink, nor on its way.
const delivered = `tidegate status -json | grep -o '"\(waiting\|in_flight\)": *[0-9]\+' |
	awk -F: '{ n += $2; k++ } END { print k + 0, "counts, together", n + 0; exit !(k == 3 && n == 0) }'`

// awaitDelivery waits until nothing on the machine is waiting any more.
func (s *shore) awaitDelivery() {
	s.m.Helper()
	s.m.eventually("everything is delivered", delivered)
}

// audit holds what the cloud has against what was acknowledged. It reports what is
// lost and does not judge it; everything else has to be as promised.
func (s *shore) audit(ledger *firmwaresim.Ledger) firmwaresim.Verdict {
	s.m.Helper()
	file, err := os.CreateTemp(s.m.dir, "export")
	if err != nil {
		s.m.Fatal(err)
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if err := s.store.Export(context.Background(), file, cloud.Filter{}); err != nil {
		s.m.Fatal(err)
	}
	if _, err := file.Seek(0, 0); err != nil {
		s.m.Fatal(err)
	}
	v, err := firmwaresim.Audit(ledger, file)
	if err != nil {
		s.m.Fatal(err)
	}
	if v.Twice > 0 || v.Invented > 0 {
		s.m.Errorf("audit: %v", v)
	}
	return v
}

// auditLanes looks for numbers of readings that are neither here nor declared, and
// for readings that were declared lost, of which there must be none.
func (s *shore) auditLanes() {
	s.m.Helper()
	lanes, err := s.store.Ledger()
	if err != nil {
		s.m.Fatal(err)
	}
	for _, l := range lanes {
		if l.MissingReadings > 0 {
			s.m.Errorf("epoch %s, lane %s: %v is neither here nor declared", l.Epoch, l.Lane, l.Missing)
		}
		for _, gap := range l.Gaps {
			if gap.Last > 0 {
				s.m.Errorf("epoch %s, lane %s: declared lost: %+v", l.Epoch, l.Lane, gap)
			}
		}
	}
}
