package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/wire"
)

// outlet is a door out of a shore: a forwarder whose other side answers as the test
// says.
type outlet struct {
	*shore
	name   string
	cursor *buffer.Cursor
	f      *uplink.Forwarder
	stop   func()

	mu     sync.Mutex
	answer func(m uplink.Message) error
}

func (o *outlet) Send(ctx context.Context, m uplink.Message) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.answer(m)
}

func (o *outlet) Quarantine(b wire.Block, reason string) error {
	return o.Buffer.Quarantine(o.name, b, reason)
}

func (o *outlet) says(answer func(m uplink.Message) error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = answer
}

func takes(uplink.Message) error { return nil }

// open makes a door out that runs until the test, or stop, ends it.
func (s *shore) open(name string, answer func(m uplink.Message) error) *outlet {
	o := &outlet{shore: s, name: name, cursor: s.Cursor(name), answer: answer}
	cfg := uplink.Config{Gateway: "plant 7"}
	cfg.Backoff.Min, cfg.Backoff.Max = time.Millisecond, 2*time.Millisecond
	o.f = uplink.New(cfg, o.cursor, encode.NewPacked("plant 7"), o, o, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.f.Run(ctx) }()
	o.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Error(err)
		}
	})
	s.Cleanup(o.stop)
	return o
}

// gates are the ways of a shore.
type gates []*outlet

func (gates) DoorsOf(device string) []string { return []string{"mqtt of " + device} }

func (g gates) WaysOut() (all []WayOut) {
	for _, o := range g {
		all = append(all, WayOut{Name: o.name, Kind: "test", Cursor: o.cursor, Forwarder: o.f,
			Why: func(reading.Lane) string { return "the tide is out at " + o.name }})
	}
	return all
}

// trace asks where a reading is; an error is what was answered instead.
func (s *shore) trace(query url.Values, outlets ...*outlet) (t Traced, err error) {
	s.Helper()
	w := httptest.NewRecorder()
	mux := http.NewServeMux()
	for _, r := range Trace(s.Buffer, gates(outlets)) {
		mux.Handle(r.Pattern, r.Handler)
	}
	mux.ServeHTTP(w, httptest.NewRequestWithContext(s.Context(), http.MethodGet, "/api/v1/trace?"+query.Encode(), nil))
	if w.Code != http.StatusOK {
		return t, errors.New(http.StatusText(w.Code) + ": " + RefusalOf(w.Body))
	}
	if err := json.NewDecoder(w.Body).Decode(&t); err != nil {
		s.Fatal(err)
	}
	return t, nil
}

func newest(device, metric string) url.Values {
	return url.Values{"device": {device}, "metric": {metric}}
}

// eventually waits until the newest temperature is where it is wanted.
func (s *shore) eventually(what string, wanted func(Traced) bool, outlets ...*outlet) (t Traced) {
	s.Helper()
	deadline, look := time.After(20*time.Second), time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		t, err := s.trace(newest("boiler", "temp"), outlets...)
		if err != nil {
			s.Fatal(err)
		}
		if wanted(t) {
			return t
		}
		select {
		case <-look.C:
		case <-deadline:
			s.Fatalf("not in time: %s; the last was %+v", what, t)
		}
	}
}

func state(link int, want string) func(Traced) bool {
	return func(t Traced) bool { return t.Links[link].State == want }
}

func TestATraceFollowsAReadingToItsAck(t *testing.T) {
	s := newShore(t)
	before := time.Now().UnixMilli()
	held := make(chan struct{})
	cloud := s.open("cloud", func(uplink.Message) error { <-held; return nil })
	spare := s.open("spare", func(uplink.Message) error { return errors.New("no route") })
	s.take(temp(1e18, reading.Float(20.5)), temp(1e18+1e9, reading.Float(21.5)))
	got := s.eventually("it is on its way", state(0, "sent"), cloud, spare)
	if got.Device != "boiler" || got.Metric != "temp" || got.Unit != "Cel" || got.Value != 21.5 || got.Lane != "normal" || got.Seq != 2 || got.Measured != 1e12+1000 || got.Stamped {
		t.Errorf("the reading: %+v", got)
	}
	if got.Received < before || got.ReceivedBy < got.Received || got.Stored < got.ReceivedBy || got.Stored > got.Now || got.StoredBefore != 0 || !slices.Equal(got.Doors, []string{"mqtt of boiler"}) {
		t.Errorf("to flash: %+v", got)
	}
	if p := got.Links[0]; p.Link != "cloud" || p.Kind != "test" || p.Sent < got.Received || p.Tries != 1 || p.Bytes == 0 || p.Others != 1 || p.Acked != 0 {
		t.Errorf("on its way: %+v", p)
	}
	close(held)
	got = s.eventually("it is acknowledged", state(0, "acked"), cloud, spare)
	if p := got.Links[0]; p.Acked < p.Sent || p.AckedBefore != 0 {
		t.Errorf("acknowledged: %+v", p)
	}
	if p := got.Links[1]; p.State != "waiting" && p.State != "sent" {
		t.Errorf("the other one: %+v", p)
	}
	waits := s.eventually("the spare link waits", func(t Traced) bool { return t.Links[1].State == "waiting" && t.Links[1].Tries > 1 }, cloud, spare)
	if p := waits.Links[1]; p.Ahead != 1 || p.Why != "the tide is out at spare" || p.Tried < p.Sent {
		t.Errorf("waiting: %+v", p)
	}
	same := url.Values{"device": {"boiler"}, "metric": {"temp"}, "lane": {got.Lane}, "seq": {"1"}, "epoch": {got.Epoch}}
	if first, err := s.trace(same, cloud); err != nil || first.Value != 20.5 || first.Seq != 1 {
		t.Errorf("by number: %+v, %v", first, err)
	}
}

// What happened before the forwarder, or the gateway, began is not told with times
// that nobody knows.
func TestATraceInventsNoTimes(t *testing.T) {
	s := newShore(t)
	first := s.open("cloud", takes)
	s.take(temp(1e18, reading.Float(1)))
	acked := s.eventually("it is acknowledged", state(0, "acked"), first).Links[0].Acked
	first.stop()
	second := s.open("cloud", takes)
	got := s.eventually("it is acknowledged", state(0, "acked"), second)
	if p := got.Links[0]; p.Acked != 0 || p.Sent != 0 || p.AckedBefore < acked {
		t.Errorf("by a forwarder before this one, at %d: %+v", acked, p)
	}
	if i := slices.IndexFunc(got.Steps, func(s Step) bool { return strings.Contains(s.Text, "acknowledged before {") }); i < 0 {
		t.Errorf("in words: %+v", got.Steps)
	}
}

func TestATraceTellsOfQuarantineAndLosses(t *testing.T) {
	s := newShore(t)
	cloud := s.open("cloud", func(m uplink.Message) error {
		if m.Lane == reading.Normal {
			return uplink.Permanent(errors.New("no such field"))
		}
		return nil
	})
	s.take(temp(1e18, reading.Float(1)))
	got := s.eventually("it is refused", state(0, "refused"), cloud)
	if p := got.Links[0]; p.Why != "no such field" || p.Block != "cloud/normal/1" || p.Acked != 0 {
		t.Errorf("refused: %+v", p)
	}
	cloud.says(takes)
	if err := s.RetryRefused([]string{"cloud/normal/1"}); err != nil {
		t.Fatal(err)
	}
	got = s.eventually("it is taken after all", state(0, "acked"), cloud)
	if p := got.Links[0]; p.Acked == 0 || p.Block != "" {
		t.Errorf("taken after all: %+v", p)
	}

	cloud.says(func(m uplink.Message) error {
		if m.Lane == reading.Normal {
			return uplink.Permanent(errors.New("no such field"))
		}
		return nil
	})
	s.take(temp(1e18+1, reading.Float(2)))
	s.eventually("the next is refused", state(0, "refused"), cloud)
	if err := s.DropRefused([]string{"cloud/normal/2"}); err != nil {
		t.Fatal(err)
	}
	if p := s.eventually("it is dropped", state(0, "lost"), cloud).Links[0]; !strings.Contains(p.Why, "left the quarantine") || p.Acked != 0 || p.AckedBefore != 0 {
		t.Errorf("dropped: %+v", p)
	}
}

func TestATraceOfNothingSaysWhy(t *testing.T) {
	s := newShore(t)
	s.take(temp(1e18, reading.Float(1)))
	for _, tt := range []struct {
		query url.Values
		want  string
	}{
		{newest("boiler", "pressure"), `Not Found: a reading of "boiler", "pressure" is not on flash — hint: `},
		{newest("boiler", ""), "Bad Request: which reading? — hint: "},
		{newest("", "temp"), "Bad Request: which reading? — hint: "},
		{newest("*", "temp"), "Not Found: "},
		{url.Values{"seq": {"1"}}, "Bad Request: lane and seq do not name a reading — hint: "},
		{url.Values{"seq": {"x"}, "lane": {"normal"}}, "Bad Request: "},
		{url.Values{"seq": {"2"}, "lane": {"normal"}}, "Not Found: reading 2 of lane normal is not on flash — hint: "},
		{url.Values{"seq": {"1"}, "lane": {"alarm"}}, "Not Found: "},
		{url.Values{"seq": {"1"}, "lane": {"normal"}, "epoch": {"00000000000000ff"}}, "Not Found: "},
	} {
		if got, err := s.trace(tt.query); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%v: %+v, %v; want %s", tt.query, got, err, tt.want)
		}
	}
}

// The words of every state, with the times as numbers that who shows them puts into
// his zone.
func TestStepsInWords(t *testing.T) {
	for _, tt := range []struct {
		p    Passage
		mood string
		want string
	}{
		{Passage{State: "acked", Sent: 5, Tried: 5, Tries: 1, Bytes: 90, Others: 4, Acked: 9}, "ok", "sent {5} in 90 bytes with 4 others; acknowledged {9}"},
		{Passage{State: "acked", AckedBefore: 9}, "ok", "acknowledged before {9}, as far as is remembered"},
		{Passage{State: "sent", Sent: 5, Tried: 8, Tries: 3, Bytes: 90}, "idle", "sent {5} in 90 bytes with nothing else, try 3 at {8}; not acknowledged yet"},
		{Passage{State: "waiting"}, "idle", "waits"},
		{Passage{State: "sent", Sent: 5, Tries: 1, Bytes: 90, Others: 1}, "idle", "sent {5} in 90 bytes with 1 other; not acknowledged yet"},
		{Passage{State: "waiting", Ahead: 1}, "idle", "waits behind 1 older one"},
		{Passage{State: "waiting", Ahead: 12}, "idle", "waits behind 12 older ones"},
		{Passage{State: "refused", Block: "a/normal/1"}, "bad", "refused, and set aside as a/normal/1"},
		{Passage{State: "lost"}, "bad", "will not arrive"},
		{Passage{State: "empty"}, "bad", "left out: the encoding has no words for it"},
	} {
		if got := tt.p.step(); got.Text != tt.want || got.Mood != tt.mood {
			t.Errorf("%+v: %s, %s; want %s, %s", tt.p, got.Mood, got.Text, tt.mood, tt.want)
		}
	}
	old := Traced{StoredBefore: 7, Measured: 3, Stamped: true}
	if got := old.steps(); len(got) != 2 || got[0].Text != "{3}, stamped by the gateway" || got[1].Text != "before {7}, as far as is remembered" {
		t.Errorf("%+v", got)
	}
	span := Traced{Received: 4, ReceivedBy: 6, Stored: 8, Took: 3.5, Doors: []string{"http", "mqtt"}}
	if got := span.steps(); len(got) != 3 || got[1].Text != "{4} to {6}, by http or mqtt" || got[2].Text != "{8}, within 3.5 ms" {
		t.Errorf("%+v", got)
	}
}

// stuck are ways that take their time.
type stuck struct {
	gates
	asked, free chan struct{}
}

func (s stuck) WaysOut() []WayOut {
	s.asked <- struct{}{}
	<-s.free
	return nil
}

// A search reads flash for seconds: whoever may look must not have many at once.
func TestTracesAreMadeAFewAtATime(t *testing.T) {
	s := newShore(t)
	s.take(temp(1, reading.Float(20)))
	ways := stuck{asked: make(chan struct{}, 9), free: make(chan struct{})}
	handler := Trace(s.Buffer, ways)[0].Handler
	trace := func(ctx context.Context, from string) int {
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v1/trace?lane=normal&seq=1", nil)
		r.RemoteAddr = from + ":1"
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Code
	}
	codes := make(chan int, 2)
	for _, from := range []string{"192.0.2.1", "192.0.2.2"} {
		go func() { codes <- trace(t.Context(), from) }()
		<-ways.asked
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel() // does not wait for its turn
	busy := make(chan int, 1)
	go func() { busy <- trace(gone, "192.0.2.3") }()
	select {
	case code := <-busy:
		if code != http.StatusServiceUnavailable {
			t.Errorf("one more: HTTP %d", code)
		}
	case <-ways.asked:
		t.Error("there is no end of searches")
	}
	close(ways.free)
	for range 2 {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("HTTP %d", code)
		}
	}
}
