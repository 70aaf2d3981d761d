package command

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// clockAt is a clock that tests set.
type clockAt struct {
	mu     sync.Mutex
	boot   uint32
	up     time.Duration
	now    time.Time
	synced bool
}

func (f *clockAt) clock() Clock {
	return Clock{
		Boot:   f.boot,
		Uptime: func() time.Duration { f.mu.Lock(); defer f.mu.Unlock(); return f.up },
		Now:    func() time.Time { f.mu.Lock(); defer f.mu.Unlock(); return f.now },
		Synced: func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.synced },
	}
}

func (f *clockAt) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.up, f.now = f.up+d, f.now.Add(d)
}

// published is what the outlet was given.
type published struct {
	topic, payload string
	qos            byte
	retain         bool
	left           time.Duration
}

// outlet is a broker that keeps nothing but what it was given, once its commit is
// on flash.
type outlet struct {
	custody   ingest.Custody
	receivers int
	fail      error

	mu  sync.Mutex
	all []published
	log *strings.Builder
}

func (o *outlet) Publish(ctx context.Context, c Command, topic string, left time.Duration, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, int, error) {
	if o.fail != nil {
		return nil, 0, o.fail
	}
	receipt, err := o.custody.Accept(ctx, rs, notes...)
	if err != nil {
		return nil, 0, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, published{topic, string(c.Payload), c.QoS, c.Retain, left})
	return receipt, o.receivers, nil
}

// world is a desk that can lose its power.
type world struct {
	t       *testing.T
	cfg     Config
	time    *clockAt
	custody *ingesttest.Custody
	outlet  *outlet
	desk    *Desk
	clerk   *Clerk
	narrow  Narrow
	logged  strings.Builder
	stop    func()
}

var noon = time.Date(2026, time.June, 1, 12, 0, 0, 0, time.UTC)

func newWorld(t *testing.T, change func(*Config)) *world {
	w := &world{t: t, custody: ingesttest.NewCustody(),
		cfg: Config{Gateway: "north-7", Allow: []string{"dev/+/set"}, Rate: 6000}}
	w.time = &clockAt{boot: 1, up: time.Hour, now: noon, synced: true}
	w.cfg.Clock = w.time.clock()
	if change != nil {
		change(&w.cfg)
	}
	w.begin()
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *world) begin() {
	w.custody.CommitAtOnce()
	w.outlet = &outlet{custody: w.custody, receivers: 1}
	log := slog.New(slog.NewTextHandler(&w.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.desk = New(w.cfg, w.outlet, ingest.NewIntake(w.custody, nil, time.Now), log)
	w.clerk = w.desk.Clerk("test", w.narrow)
	w.run()
}

// run runs the desk until stop.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	desk := w.desk
	go func() { ended <- desk.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("run: %v", err)
		}
	}
}

// crash cuts the power, and gives it back after a while. What was published before
// is what devices have been sent.
func (w *world) crash(off time.Duration, synced bool) {
	w.t.Helper()
	before := w.outlet.all
	next := w.custody.Crash()
	w.stop()
	w.time.pass(off)
	w.time.boot, w.time.up, w.time.synced = w.time.boot+1, time.Minute, synced
	w.cfg.Clock = w.time.clock()
	w.custody = next
	w.begin()
	w.outlet.all = before
}

// bring hands a document to the clerk.
func (w *world) bring(document string) Answer {
	w.t.Helper()
	a, err := w.clerk.Decide(w.t.Context(), Letter{Body: []byte(document)})
	if err != nil {
		w.t.Fatalf("%s: %v", document, err)
	}
	return a
}

// want brings a document and compares the state.
func (w *world) want(s State, reason, document string) Answer {
	w.t.Helper()
	before := len(w.outlet.all)
	a := w.bring(document)
	if a.State != s || !strings.Contains(a.Reason, reason) {
		w.t.Errorf("%s\n  is %s, %q; want %s, %q", document, a.State, a.Reason, s, reason)
	}
	if n := len(w.outlet.all) - before; n > 0 != (s == Accepted) {
		w.t.Errorf("%s: %s, and published %d times", document, a.State, n)
	}
	if s == Refused && !strings.Contains(a.Reason, "hint: ") {
		w.t.Errorf("%s: %q has no hint", document, a.Reason)
	}
	return a
}

// audits are what goes upstream.
func (w *world) audits() (all []Audit) {
	w.t.Helper()
	for _, r := range w.custody.Stored() {
		var a Audit
		if err := json.Unmarshal([]byte(r.Value.Text()), &a); err != nil || r.Device != AuditDevice || r.Metric != AuditMetric {
			w.t.Errorf("%+v is no audit: %v", r, err)
		}
		all = append(all, a)
	}
	return all
}

// eventually waits until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(ingesttest.Patience); !so(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		<-ctx.Done()
		cancel()
	}
}

var errNoRoom = errors.New("no room")
