package daemon

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/cloud"
	"github.com/tidegate/tidegate/dashboard"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// eventuallyForwards waits until the cloud acknowledges more than it has.
func (s *site) eventuallyForwards() {
	s.Helper()
	st, _ := s.status() // zero while the gateway does not answer: then anything is more
	before := uint64(0)
	if len(st.Links) > 0 {
		before = st.Links[0].Acked
	}
	s.eventuallyStatus("readings are delivered", func(st dashboard.Status) bool { return st.Links[0].Acked > before })
}

func TestLinkCutInTheMiddleOfABodyLosesNothing(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	s, random := newSite(t), seeded(t)
	link := s.insertLink("5s")
	s.startCloud()
	s.startGateway()
	sensors := s.startSensors()
	for range rounds {
		s.eventuallyForwards()
		link.CutAfter(1 + random.Int64N(3000))
		s.eventuallyStatus("the link is down", linkIs(dashboard.LinkDown))
		link.Restore()
	}
	sensors.stopAndAudit()
}

// A line that is dead and says nothing costs a timeout, and no sensor notices.
func TestBlackholedLinkRecovers(t *testing.T) {
	s := newSite(t)
	link := s.insertLink("1s")
	s.startCloud()
	s.startGateway()
	sensors := s.startSensors()
	s.eventuallyForwards()
	link.Blackhole()
	s.eventuallyStatus("the link is down", linkIs(dashboard.LinkDown))
	sensors.eventuallyAcked(100)
	link.Restore()
	sensors.stopAndAudit()
}

// weather is what a request to the cloud meets before it gets there, if it does.
type weather func(w http.ResponseWriter, r *http.Request, cloud http.Handler)

// peer is a cloud in the test's own process, with weather around it.
type peer struct {
	cloud http.Handler

	mu      sync.Mutex
	weather weather // nil when it is fine
	met     int     // requests that met this weather
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	now := p.weather
	if r.Method != http.MethodPost {
		now = nil // only deliveries have to go through it
	}
	if now != nil {
		p.met++
	}
	p.mu.Unlock()
	if now == nil {
		p.cloud.ServeHTTP(w, r)
		return
	}
	now(w, r, p.cloud)
}

func (p *peer) change(to weather) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weather, p.met = to, 0
}

func (p *peer) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.met
}

// startPeer serves a cloud with weather on the cloud's address.
func (s *site) startPeer() *peer {
	s.Helper()
	store, err := cloud.Open(cloud.StoreConfig{Dir: filepath.Join(s.dir, "cloud")})
	if err != nil {
		s.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	p := &peer{cloud: cloud.Routes(cloud.NewReceiver(cloud.ReceiverConfig{}, store, log), store)}
	server := httptest.NewUnstartedServer(p)
	server.Listener.Close()
	if server.Listener, err = net.Listen("tcp", s.cloud); err != nil {
		s.Fatal(err)
	}
	server.Start()
	s.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		if err := store.Close(); err != nil {
			s.Error(err)
		}
	})
	return p
}

// says is weather that answers with a status and a text.
func says(code int, text string) weather {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.WriteHeader(code)
		io.WriteString(w, text)
	}
}

func TestTideGoesOnAfterAnyWeather(t *testing.T) {
	s := newSite(t)
	p := s.startPeer()
	s.startGateway()
	sensors := s.startSensors()
	for _, w := range []struct {
		name    string
		weather weather
	}{
		{"an error", says(500, "out of order")},
		{"not now", says(503, "")},
		{"the login page of a captive portal", says(200, "<html><body>Welcome! Please log in.</body></html>")},
		{"success without a word", says(204, "")},
		{"an acknowledgement of something else", says(200, `{"acked":{"epoch":"0000000000000001","lane":"normal","first":1,"last":9}}`)},
		{"a redirect", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}},
		{"a connection that ends", func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }},
		{"silence", func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}},
		{"custody whose acknowledgement gets lost", func(_ http.ResponseWriter, r *http.Request, cloud http.Handler) {
			cloud.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}},
	} {
		s.eventuallyForwards()
		p.change(w.weather)
		s.eventually("the gateway meets "+w.name, func() bool { return p.requests() > 0 })
		s.eventuallyStatus("the link counts as down in the face of "+w.name, linkIs(dashboard.LinkDown))
		p.change(nil)
	}
	sensors.stopAndAudit()
	for _, lane := range s.cloudLedger() {
		if lane.MissingReadings > 0 || len(lane.Gaps) > 0 {
			t.Errorf("missing %v, gaps %v", lane.Missing, lane.Gaps)
		}
	}
}

func TestRetryAfterIsHeeded(t *testing.T) {
	const pause = 2 * time.Second
	s := newSite(t)
	p := s.startPeer()
	asked := make(chan time.Time, 1000) // whatever else takes its time: they pass before the gateway is answered
	p.change(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		asked <- time.Now()
		w.Header().Set("Retry-After", fmt.Sprint(int(pause/time.Second)))
		w.WriteHeader(http.StatusTooManyRequests)
	})
	ledger := firmwaresim.NewLedger()
	s.startGateway()
	s.publish("first-", 1, ledger)
	first := <-asked
	s.publish("more-", 20, ledger)
	if waited := (<-asked).Sub(first); waited < pause-100*time.Millisecond {
		t.Errorf("the gateway asked again after %v, and was told to wait for %v", waited, pause)
	}
	p.change(nil)
	s.eventuallyDelivered()
	s.audit(ledger)
}

// publish has a sensor publish n messages one by one, each in a commit and so in
// a block of its own.
func (s *site) publish(device string, n uint64, ledger *firmwaresim.Ledger) {
	s.Helper()
	sensor := s.startFleet(firmwaresim.FleetConfig{
		Count: n, QoS: 1, Prefix: device, Client: firmwaresim.ClientConfig{Window: 1},
	}, ledger)
	s.eventually(device+" is acknowledged", func() bool { return sensor.Stats().Acked == n })
	sensor.stop()
}

// A proxy that takes small messages only makes the gateway send small ones.
func TestPayloadTooLargeMakesMessagesSmaller(t *testing.T) {
	const limit = 2000
	s := newSite(t)
	p := s.startPeer()
	p.change(says(500, ""))
	s.startGateway()
	sensor := s.startBlobs("sensor", 1)
	sensor.publishAll(100, 200)
	var refused atomic.Int64
	p.change(func(w http.ResponseWriter, r *http.Request, cloud http.Handler) {
		if r.ContentLength > limit {
			refused.Add(1)
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		cloud.ServeHTTP(w, r)
	})
	s.eventuallyDelivered()
	sensor.auditBlobs()
	if refused.Load() == 0 {
		t.Error("no message was too large: nothing is proved")
	}
	if gaps := s.gaps(); len(gaps) > 0 {
		t.Errorf("gaps: %+v", gaps)
	}
}

// One message that the cloud refuses for good must not stop the others. It is
// set aside, and the cloud is told what it will not get.
func TestPoisonIsQuarantinedAndTheTideGoesOn(t *testing.T) {
	const readings = 5 // of a message
	s := newSite(t)
	p := s.startPeer()
	p.change(says(500, ""))
	ledger := firmwaresim.NewLedger()
	s.startGateway()
	s.publish("before-", 40, ledger)
	s.publish("poison-", 1, nil)
	s.publish("behind-", 40, ledger)
	p.change(func(w http.ResponseWriter, r *http.Request, cloud http.Handler) {
		body, err := io.ReadAll(r.Body)
		if err != nil || holdsDevice(t, body, "poison-") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		cloud.ServeHTTP(w, r)
	})
	s.eventuallyDelivered()
	s.audit(ledger)

	s.eventually("the cloud is told", func() bool { return len(s.gaps()) > 0 }) // in a message of its own
	gaps := s.gaps()
	if len(gaps) != 1 || gaps[0].Reason != buffer.ReasonQuarantined || gaps[0].Count > readings {
		t.Fatalf("gaps: %+v, want one of the poison alone", gaps)
	}
	for _, lane := range s.cloudLedger() {
		if lane.MissingReadings > 0 {
			t.Errorf("lane %s: nobody said why %v is missing", lane.Lane, lane.Missing)
		}
	}
	s.eventuallyStatus("the loss shows", func(st dashboard.Status) bool {
		return slices.ContainsFunc(st.Problems, func(p string) bool { return strings.Contains(p, "reported upstream") })
	})
}

func holdsDevice(t *testing.T, body []byte, prefix string) bool {
	chunk, err := wire.ParseChunk(body)
	if err != nil {
		t.Errorf("chunk: %v", err)
		return false
	}
	var all []reading.Reading
	for _, block := range chunk.Blocks {
		if all, err = wire.NewDecoder().Decode(all, block); err != nil {
			t.Errorf("block: %v", err)
		}
	}
	return slices.ContainsFunc(all, func(r reading.Reading) bool { return strings.HasPrefix(r.Device, prefix) })
}

// gaps returns the losses of which the cloud was told, and checks that each of
// them is also there as a reading.
func (s *site) gaps() []cloud.Gap {
	s.Helper()
	var gaps []cloud.Gap
	for _, lane := range s.cloudLedger() {
		gaps = append(gaps, lane.Gaps...)
	}
	rows := s.export("?device=" + url.QueryEscape(buffer.GapDevice))
	if len(rows) != len(gaps) {
		s.Errorf("%d gaps in the ledger, %d among the readings", len(gaps), len(rows))
	}
	return gaps
}

// row is a reading as the cloud exports it.
type row struct {
	Gateway, Epoch, Lane string
	Seq                  uint64
	Device, Metric, Unit string
	Value                json.RawMessage
	Bytes                []byte
}

func (s *site) export(query string) []row {
	s.Helper()
	return s.exportFrom(s.cloud, query)
}

func (s *site) exportFrom(address, query string) []row {
	s.Helper()
	var rows []row
	s.get("http://"+address+"/v1/export"+query, func(r *http.Response) error {
		in := json.NewDecoder(bufio.NewReader(r.Body))
		for {
			var one row
			if err := in.Decode(&one); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			rows = append(rows, one)
		}
	})
	return rows
}
