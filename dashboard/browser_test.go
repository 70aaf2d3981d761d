package dashboard

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/reading"
)

// TestPageInABrowser runs browsertest/page.mjs, which says what the page must
// do. With TIDEGATE_PICTURES=folder it leaves screenshots there.
func TestPageInABrowser(t *testing.T) {
	const install = "apt-get install chromium nodejs npm && npm install --prefix dashboard/browsertest"
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium; ", install)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node; ", install)
	}
	if _, err := os.Stat("browsertest/node_modules/playwright-core"); err != nil {
		t.Skip("no playwright-core; ", install)
	}
	s := newStage(t)
	control := httptest.NewServer(s.control())
	defer control.Close()
	command := exec.CommandContext(t.Context(), node, "page.mjs", "http://"+s.address, control.URL, chromium, os.Getenv("TIDEGATE_PICTURES"))
	command.Dir = "browsertest"
	output, err := command.CombinedOutput()
	t.Logf("%s", output)
	if err != nil {
		t.Error(err)
	}
}

// stage is a gateway whose state the browser's side sets, scene by scene.
type stage struct {
	t       *testing.T
	address string

	mu     sync.Mutex
	status Status
	hub    *Hub
	stop   func()

	through atomic.Uint64 // readings published
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, address: porttest.For(t)} // it is listened on again after a stop
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

// start begins a run of the gateway, at the same address each time.
func (s *stage) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = healthy()
	s.hub = NewHub(Config{Interval: 20 * time.Millisecond}, s.currentStatus)
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		s.t.Error(err)
		return
	}
	stopHub := run(s.t, s.hub)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	server := NewServer(s.hub, nil, slog.New(slog.DiscardHandler))
	// The modules one by one, for tests of what is not to be seen.
	server.Handle(Route{"GET /source/", Open, http.StripPrefix("/source/", http.FileServer(http.Dir("assets")))})
	go func() { served <- server.Serve(ctx, listener) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			s.t.Error(err)
		}
		stopHub()
	})
}

func (s *stage) currentStatus() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status
	status.Now = time.Now().UnixMilli()
	through := s.through.Load()
	status.Doors = slices.Clone(status.Doors)
	status.Doors[0].Readings += through
	if link := status.Links[0]; link.State == LinkUp {
		link.LastAck, link.Acked = status.Now-400, link.Acked+through
		status.Links = []Link{link}
	}
	return status
}

func (s *stage) publish(rs ...reading.Reading) {
	s.hub.Publish(rs)
	s.through.Add(uint64(len(rs)))
}

func healthy() Status {
	now := time.Now().UnixMilli()
	return Status{
		Gateway: "plant-7", Version: "1.0.0", Started: now, Clock: "synced",
		Buffer: Buffer{BytesUsed: 364e6, BytesMax: 2e9, FlashWritten: 1_230e6, Commits: 88_112, Profile: "balanced", State: OK},
		Links:  []Link{{Name: "cloud", Kind: "http", State: LinkUp, Since: now - 7_200_000, LastAck: now, Acked: 1_204_433, SentBytes: 4_210_000, InFlight: 1}},
		Doors: []Door{
			{Name: "mqtt", Kind: "mqtt", Address: "127.0.0.1:1883", State: OK, Readings: 1_100_000, Clients: 11},
			{Name: "boiler-meter", Kind: "serial", Address: "/dev/ttyUSB0", State: OK, Readings: 104_433, Rejected: 3},
		},
		Problems: []string{},
	}
}

func (s *stage) control() http.Handler {
	var crowd []*viewer // the scenes come one after the other
	mux := http.NewServeMux()
	mux.HandleFunc("POST /boiler", func(_ http.ResponseWriter, r *http.Request) {
		value, err := strconv.ParseFloat(r.FormValue("value"), 64)
		if err != nil {
			s.t.Error(err)
		}
		s.publish(reading.Reading{Device: "boiler-3", Metric: "temp", Unit: "Cel", Value: reading.Float(value)})
	})
	mux.HandleFunc("POST /hostile", func(http.ResponseWriter, *http.Request) {
		s.publish(
			reading.Reading{Device: "<img src=x onerror=alert(1)>", Metric: "</dt><script>alert(2)</script>", Unit: "<b>", Value: reading.String("<svg onload=alert(3)>")},
			reading.Reading{Device: "__proto__", Metric: "constructor", Unit: "toString", Value: reading.Bool(true)},
		)
	})
	mux.HandleFunc("POST /own", func(http.ResponseWriter, *http.Request) { s.own() })
	mux.HandleFunc("POST /fleet", func(http.ResponseWriter, *http.Request) { s.fleet() })
	mux.HandleFunc("POST /crowded", func(http.ResponseWriter, *http.Request) {
		for v, err := s.hub.join(0, false); err == nil; v, err = s.hub.join(0, false) {
			crowd = append(crowd, v)
		}
	})
	mux.HandleFunc("POST /dispersed", func(http.ResponseWriter, *http.Request) {
		for _, v := range crowd {
			s.hub.leave(v)
		}
	})
	mux.HandleFunc("POST /crowd", func(http.ResponseWriter, *http.Request) { s.crowd() })
	mux.HandleFunc("POST /linkdown", func(http.ResponseWriter, *http.Request) { s.set(linkDown) })
	mux.HandleFunc("POST /linkup", func(http.ResponseWriter, *http.Request) { s.set(linkUp) })
	mux.HandleFunc("POST /sick", func(http.ResponseWriter, *http.Request) { s.set(sick) })
	mux.HandleFunc("POST /stop", func(http.ResponseWriter, *http.Request) { s.stop() })
	mux.HandleFunc("POST /start", func(http.ResponseWriter, *http.Request) { s.start() })
	return mux
}

func (s *stage) set(change func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status)
}

func linkDown(status *Status) {
	now := time.Now().UnixMilli()
	status.Buffer.Waiting, status.Buffer.OldestUnsent = 12_431, now-184_000
	link := status.Links[0]
	link.State, link.Since, link.Waiting, link.InFlight = LinkDown, now-184_000, 12_431, 0
	link.LastAck = now - 185_000
	link.LastError = "dial tcp 203.0.113.7:443: connect: no route to host — hint: check the modem and its antenna"
	status.Links = []Link{link}
}

func linkUp(status *Status) {
	started := status.Started
	*status = healthy()
	status.Started = started
}

func sick(status *Status) {
	status.Buffer.State = "the file system is read-only — hint: the card may be worn out, run dmesg and replace it"
	status.Problems = []string{status.Buffer.State}
}

// fleet publishes a small plant with enough history for its sparklines.
func (s *stage) fleet() {
	for tick := range 70 {
		at := float64(tick)
		for pump := range 10 {
			phase := at/6 + float64(pump)
			s.publish(
				reading.Reading{Device: fmt.Sprint("pump-", pump+1), Metric: "flow", Unit: "m3/h", Value: reading.Float(round(42+6*math.Sin(phase), 1))},
				reading.Reading{Device: fmt.Sprint("pump-", pump+1), Metric: "motor.current", Unit: "A", Value: reading.Float(round(11+math.Cos(phase/2), 2))},
				reading.Reading{Device: fmt.Sprint("pump-", pump+1), Metric: "running", Value: reading.Bool(tick/9%5 != 2)},
			)
		}
		s.publish(
			reading.Reading{Device: "boiler-3", Metric: "temp", Unit: "Cel", Value: reading.Float(round(71+3*math.Sin(at/9), 2))},
			reading.Reading{Device: "boiler-3", Metric: "pressure", Unit: "bar", Value: reading.Float(round(1.8+0.1*math.Sin(at/4), 2))},
			reading.Reading{Device: "north/weather", Metric: "wind", Unit: "m/s", Value: reading.Float(round(6+3*math.Sin(at)*math.Sin(at/5), 1))},
			reading.Reading{Device: "north/weather", Metric: "humidity", Unit: "%RH", Value: reading.Float(round(61+at/10, 0)), Flags: reading.Uncertain},
			reading.Reading{Device: "north/weather", Metric: "report", Value: reading.String("Light rain from the west, clearing")},
		)
		s.nextTick()
	}
}

// own shows what the gateway says of itself.
func (s *stage) own() {
	s.set(func(status *Status) { status.Itself = &Itself{Device: "gateway"} })
	number := func(metric, unit string, x float64) reading.Reading {
		return reading.Reading{Device: "gateway", Metric: metric, Unit: unit, Value: reading.Float(x)}
	}
	for i := range 30 {
		s.hub.Show([]reading.Reading{
			number("cpu.temp", "Cel", round(54+3*math.Sin(float64(i)/5), 1)),
			number("cpu.busy", "%", round(12+5*math.Cos(float64(i)/3), 1)),
			number("memory.available", "%", 61.2),
			number("disk.free", "B", 12_345_678_901),
			number("uptime", "s", 273_645),
			number("net.wlan0.in", "B/s", 18_230),
			number("net.wlan0.out", "B/s", 940),
		})
		s.nextTick()
	}
}

// crowd publishes 500 devices again and again until the test ends.
func (s *stage) crowd() {
	var wg sync.WaitGroup
	wg.Go(func() {
		for tick := 0; s.t.Context().Err() == nil; tick++ {
			for device := range 500 {
				s.publish(
					reading.Reading{Device: fmt.Sprint("device-", device), Metric: "temp", Unit: "Cel", Value: reading.Float(float64(tick%40) / 2)},
					reading.Reading{Device: fmt.Sprint("device-", device), Metric: "battery", Unit: "V", Value: reading.Float(3.3)},
				)
			}
			s.nextTick()
		}
	})
	s.t.Cleanup(wg.Wait)
}

// nextTick waits until the hub has looked at what was published.
func (s *stage) nextTick() {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for range ticker.C {
		s.hub.mu.Lock()
		empty := len(s.hub.inbox) == 0
		s.hub.mu.Unlock()
		if empty || s.t.Context().Err() != nil {
			return
		}
	}
}

func round(x float64, places int) float64 {
	scale := math.Pow10(places)
	return math.Round(x*scale) / scale
}
