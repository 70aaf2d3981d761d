package api

import (
	"context"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// TestSeriesInABrowser runs browsertest/series.mjs, which says what the sheet of a
// series must do. With TIDEGATE_PICTURES=folder it leaves screenshots there.
func TestSeriesInABrowser(t *testing.T) {
	const install = "apt-get install chromium nodejs npm && npm install --prefix dashboard/browsertest"
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium; ", install)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node; ", install)
	}
	if _, err := os.Stat("../browsertest/node_modules/playwright-core"); err != nil {
		t.Skip("no playwright-core; ", install)
	}
	s := newShore(t)
	page, publish := s.serve()
	s.fillDays()
	control := httptest.NewServer(s.control(publish))
	defer control.Close()
	command := exec.CommandContext(t.Context(), node, "series.mjs", page, control.URL, chromium, os.Getenv("TIDEGATE_PICTURES"))
	command.Dir = "../browsertest"
	output, err := command.CombinedOutput()
	t.Logf("%s", output)
	if err != nil {
		t.Error(err)
	}
}

// serve shows the page of the buffer until the test ends, and returns its address,
// and what takes a reading and shows it.
func (s *shore) serve() (page string, publish func(...reading.Reading)) {
	hub := dashboard.NewHub(dashboard.Config{Interval: 20 * time.Millisecond}, func() dashboard.Status {
		now := time.Now().UnixMilli()
		return dashboard.Status{
			Gateway: "plant 7", Version: "1.0.0", Started: now - 60_000, Now: now, Clock: "synced",
			Buffer: dashboard.Buffer{BytesUsed: 364e6, BytesMax: 2e9, Profile: "balanced", State: dashboard.OK}, Problems: []string{},
		}
	})
	server := dashboard.NewServer(hub, nil, slog.New(slog.DiscardHandler))
	server.Handle(History(s.Buffer, "plant 7")...)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- hub.Run(ctx) }()
	go func() { ended <- server.Serve(ctx, listener) }()
	s.Cleanup(func() {
		cancel()
		for range cap(ended) {
			if err := <-ended; err != nil {
				s.Error(err)
			}
		}
	})
	return "http://" + listener.Addr().String(), func(rs ...reading.Reading) {
		s.take(rs...)
		hub.Publish(rs)
	}
}

// fillDays takes two days of a boiler that is measured every ten seconds: an hour
// without a reading, another with the clock not set, a short spike, some that are
// bad, and losses that were declared on the first day.
func (s *shore) fillDays() {
	const step = 10 * time.Second
	end := time.Now()
	s.Cursor("cloud")
	for at := end.Add(-48 * time.Hour); at.Before(end.Add(-time.Second)); {
		s.clock = wire.Synced
		if ago := end.Sub(at); ago > 2*time.Hour && ago <= 3*time.Hour {
			s.clock = wire.Unsynced
		}
		var rs []reading.Reading
		for range 360 {
			if ago := end.Sub(at); at.Before(end) && (ago < 10*time.Hour || ago > 11*time.Hour) {
				rs = append(rs, s.boilerAt(at, end.Sub(at))...)
			}
			at = at.Add(step)
		}
		if len(rs) > 0 {
			s.take(rs...)
		}
	}
	s.clock = wire.Synced
	if _, err := s.Purge(s.Context(), buffer.Purge{Sink: "cloud", Before: end.Add(-40 * time.Hour).UnixNano()}); err != nil {
		s.Fatal(err)
	}
}

func (s *shore) boilerAt(at time.Time, ago time.Duration) []reading.Reading {
	x := float64(at.Unix()) / 3600
	r := temp(at.UnixNano(), reading.Float(math.Round(100*(71+3*math.Sin(x)+math.Sin(40*x)/3))/100))
	r.Flags = reading.Stamped
	minute := int(ago / time.Minute)
	switch {
	case minute == 300:
		r.Value = reading.Float(95.25) // a spike
	case minute > 20 && minute <= 22:
		r.Flags |= reading.Bad
	}
	pump := temp(at.UnixNano(), reading.Bool(minute/7%2 == 0))
	pump.Metric, pump.Unit = "pump", ""
	state := temp(at.UnixNano(), reading.String([]string{"heating", "holding", "cooling down"}[minute/13%3]))
	state.Metric, state.Unit = "state", ""
	return []reading.Reading{r, pump, state}
}

func (s *shore) control(publish func(...reading.Reading)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /boiler", func(_ http.ResponseWriter, r *http.Request) {
		value, err := strconv.ParseFloat(r.FormValue("value"), 64)
		if err != nil {
			s.Error(err)
		}
		now := time.Now().UnixNano()
		pump, state := temp(now, reading.Bool(true)), temp(now, reading.String("<b>heating</b>"))
		pump.Metric, pump.Unit, state.Metric, state.Unit = "pump", "", "state", ""
		publish(temp(now, reading.Float(value)), pump, state)
	})
	mux.HandleFunc("POST /fresh", func(http.ResponseWriter, *http.Request) {
		publish(reading.Reading{Device: "*", Metric: "a*", Time: time.Now().UnixNano(), Value: reading.Float(1)})
	})
	return mux
}
