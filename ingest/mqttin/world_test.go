package mqttin

import (
	"cmp"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// world is a gateway that can lose its power.
type world struct {
	t       *testing.T
	cfg     Config
	custody *ingesttest.Custody
	src     *Source
	stop    func()
	clock   *fakeClock // nil for the machine's
}

func newWorld(t *testing.T, cfg Config) *world {
	cfg.Linger = cmp.Or(cfg.Linger, time.Millisecond)
	cfg.Anonymous = cfg.Authorize == nil
	cfg.SysInterval = -1
	w := &world{t: t, cfg: cfg, custody: instant()}
	w.src, w.stop = run(t, w.custody, cfg)
	w.src.Addr(t.Context())
	t.Cleanup(func() { w.stop() })
	return w
}

// crash cuts the power, and gives it back.
func (w *world) crash() {
	w.t.Helper()
	w.flush()
	next := w.custody.Crash()
	w.stop()
	w.begin(next)
}

// restart stops the gateway as it should be, and starts it again.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.begin(w.custody.Crash())
}

func (w *world) begin(custody *ingesttest.Custody) {
	w.custody = custody
	w.custody.CommitAtOnce()
	k := machineClock()
	if w.clock != nil {
		k = w.clock.clock()
	}
	w.src, w.stop = runAt(w.t, w.custody, w.cfg, k)
	w.src.Addr(w.t.Context())
}

// flush lets the second pass in which what nobody waits for is noted.
func (w *world) flush() { serving(w.src).tendOnce() }

// gone waits until no client is connected.
func (w *world) gone() {
	w.t.Helper()
	retry(w.t, func() bool {
		b := serving(w.src)
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.conns) == 0
	})
}

// onlyOne waits until only one client is connected.
func (w *world) onlyOne() {
	w.t.Helper()
	retry(w.t, func() bool { return w.src.Stats().Clients == 1 })
}

// fakeClock is a clock that tests set.
type fakeClock struct {
	mu     sync.Mutex
	boot   uint32
	up     time.Duration
	time   time.Time
	synced bool
}

func (f *fakeClock) clock() clock {
	return clock{boot: f.boot,
		uptime: func() time.Duration { f.mu.Lock(); defer f.mu.Unlock(); return f.up },
		wall:   func() time.Time { f.mu.Lock(); defer f.mu.Unlock(); return f.time },
		synced: func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.synced },
	}
}

func (f *fakeClock) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// reboot is the next boot of the machine, after a time without power.
func (f *fakeClock) reboot(off time.Duration, synced bool) {
	f.set(func() { f.boot, f.up, f.time, f.synced = f.boot+1, time.Minute, f.time.Add(off), synced })
}

// jump sets the wall clock, and says that it is right now.
func (f *fakeClock) jump() { f.set(func() { f.time, f.synced = f.time.AddDate(50, 0, 0), true }) }

// pass lets time pass.
func (f *fakeClock) pass(d time.Duration) { f.set(func() { f.up, f.time = f.up+d, f.time.Add(d) }) }

// pass lets time pass for a gateway that runs.
func (w *world) pass(d time.Duration) {
	w.clock.pass(d)
	w.flush()
}
