package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// shore is a buffer that runs, and the requests for its history.
type shore struct {
	*testing.T
	*buffer.Buffer
	dir   string
	clock wire.ClockState
	mux   *http.ServeMux
}

func newShore(t *testing.T) *shore {
	s := &shore{T: t, dir: t.TempDir(), clock: wire.Synced, mux: http.NewServeMux()}
	clock := buffer.Clock{Boot: 1, Uptime: func() time.Duration { return 0 }, State: func() wire.ClockState { return s.clock }}
	b, err := buffer.Open(buffer.Config{Dir: s.dir, MaxBytes: buffer.MinBytes, Clock: clock}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Buffer = b
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	// However long a page takes: on a busy machine, a second is over at any reading.
	for _, r := range historyWithin(time.Hour, b, "plant 7") {
		s.mux.Handle(r.Pattern, r.Handler)
	}
	return s
}

func (s *shore) take(rs ...reading.Reading) {
	s.Helper()
	receipt, err := s.Accept(s.Context(), rs)
	if err == nil {
		err = receipt.Wait(s.Context())
	}
	if err != nil {
		s.Fatal(err)
	}
}

func temp(at int64, v reading.Value) reading.Reading {
	return reading.Reading{Device: "boiler", Metric: "temp", Unit: "Cel", Time: at, Value: v}
}

func (s *shore) ask(path string, form url.Values) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, httptest.NewRequestWithContext(s.Context(), http.MethodGet, path+"?"+form.Encode(), nil))
	return w
}

// answered is an answer as who asked reads it.
type answered struct {
	historyAnswer
	Points []struct {
		T, End                            int64
		V, First, Min, Mean, Max, Last, N float64
		Q                                 int
	} `json:"points"`
	Holes    [][2]int64 `json:"holes"`
	Unsynced [][2]int64 `json:"unsynced"`
}

func (s *shore) history(form url.Values) (a answered) {
	s.Helper()
	w := s.ask("/api/v1/history", form)
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK {
		s.Fatalf("%d: %v: %s", w.Code, err, w.Body)
	}
	return a
}
