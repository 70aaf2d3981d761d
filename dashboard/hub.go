package dashboard

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/tidegate/tidegate/reading"
)

// Config bounds the Hub. A zero field takes its default.
type Config struct {
	// Interval is the least time between two frames; 40 ms, and 250 ms at the
	// most, which is also the time between them when frames are large.
	Interval time.Duration
	// Heartbeat is the time between two frames with the state of the gateway, and
	// the most between two frames; 1 s, and 2 s at the most, because the page takes
	// a longer silence for a broken connection.
	Heartbeat time.Duration
	// Budget is how many readings are looked at at once, and in 250 ms; 5,000.
	Budget int
	// MaxDevices, MaxMetrics (of one device) and MaxSeries (of all) are what
	// the page shows at the most; 1,000, 64 and 10,000.
	MaxDevices, MaxMetrics, MaxSeries int
	// MaxViewers is how many pages may be open at once; 32.
	MaxViewers int
}

func (c Config) withDefaults() Config {
	c.Interval = min(cmp.Or(c.Interval, 40*time.Millisecond), slowPace)
	c.Heartbeat = min(cmp.Or(c.Heartbeat, time.Second), 2*time.Second)
	c.Budget = cmp.Or(c.Budget, 5000)
	c.MaxDevices = cmp.Or(c.MaxDevices, 1000)
	c.MaxMetrics = cmp.Or(c.MaxMetrics, 64)
	c.MaxSeries = cmp.Or(c.MaxSeries, 10_000)
	c.MaxViewers = cmp.Or(c.MaxViewers, 32)
	return c
}

const (
	// maxText is how many bytes of a text value are shown.
	maxText = 64
	// slowPace is the time between two turns when nobody watches, or when frames
	// are so large, or so dear, that more of them would be too many.
	slowPace = 250 * time.Millisecond
	// frameRate is how many bytes of frames a second a viewer gets, unless they
	// are rarer than slowPace anyway; leisure is how many times as long as a turn
	// takes the hub rests after it.
	frameRate = 256 << 10
	leisure   = 10
)

// Hub keeps the latest value of every series and shows them to the viewers.
// Its methods may be called by many goroutines at once.
type Hub struct {
	config  Config
	status  func() Status
	started time.Time
	id      string // of this run, for viewers who come back

	wake   chan struct{} // there is something to show
	hurry  chan struct{} // and somebody who has seen nothing yet
	joined chan struct{} // somebody watches who may need the status

	// skipped counts readings that found the inbox full; full says that it is,
	// so that a flood costs one load and one addition a batch.
	skipped atomic.Uint64
	full    atomic.Bool

	mu      sync.Mutex // guards what follows; held only to copy
	inbox   []reading.Reading
	taken   uint64 // readings that ever entered the inbox, and count
	room    int    // how many more of them may
	drained time.Time

	// shown guards what follows; held while frames are made, never while one is
	// written.
	shown   sync.Mutex
	table   *table
	spare   []reading.Reading
	tick    uint64
	changed uint64 // the last tick at which a reading came
	forgot  uint64 // the last tick at which devices were forgotten
	said    *Status
	saidAt  int64  // milliseconds since the hub was made
	sayings uint64 // how often said was set
	viewers map[*viewer]struct{}
	ended   bool
}

// NewHub returns a Hub that asks status for the state of the gateway, once a
// Heartbeat and only while somebody watches. The Server asks it, too, so status
// must be safe for use by many goroutines at once.
func NewHub(config Config, status func() Status) *Hub {
	config = config.withDefaults()
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails, by its documentation
	return &Hub{
		config:  config,
		status:  status,
		started: time.Now(),
		id:      hex.EncodeToString(id),
		wake:    make(chan struct{}, 1),
		hurry:   make(chan struct{}, 1),
		joined:  make(chan struct{}, 1),
		room:    config.Budget,
		drained: time.Now(),
		table:   newTable(config),
		viewers: make(map[*viewer]struct{}),
	}
}

// signal tells whoever listens, who may know already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Publish shows readings to whoever watches. It never waits for anybody, and
// it does not keep rs.
func (h *Hub) Publish(rs []reading.Reading) {
	if h.full.Load() {
		h.skipped.Add(uint64(len(rs)))
		return
	}
	h.mu.Lock()
	n := max(0, min(len(rs), h.room))
	h.enter(rs[:n])
	h.taken += uint64(n)
	h.room -= n
	h.full.Store(h.room <= 0)
	h.mu.Unlock()
	h.skipped.Add(uint64(len(rs) - n))
}

// Show is Publish for a few readings that do not pass through the gateway: they
// are shown and not counted, and a flood does not keep them from being looked at.
func (h *Hub) Show(rs []reading.Reading) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.enter(rs[:min(len(rs), max(0, 2*h.config.Budget-len(h.inbox)))])
}

// enter puts readings into the inbox. The caller holds mu.
func (h *Hub) enter(rs []reading.Reading) {
	if len(h.inbox) == 0 && len(rs) > 0 {
		signal(h.wake)
	}
	h.inbox = append(h.inbox, rs...)
	for i := len(h.inbox) - len(rs); i < len(h.inbox); i++ {
		h.inbox[i].Value = clip(h.inbox[i].Value)
	}
}

// clip makes a value small enough to keep. The copy lets go of the payload that
// a text may be a part of.
func clip(v reading.Value) reading.Value {
	switch text := v.Text(); v.Kind() {
	case reading.KindBytes:
		return reading.String(fmt.Sprintf("%d bytes", len(text)))
	case reading.KindString:
		if len(text) <= maxText {
			return reading.String(strings.Clone(text))
		}
		cut := maxText
		for cut > maxText-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
			cut--
		}
		return reading.String(text[:cut] + "…")
	}
	return v
}

// Run shows what was published, until ctx ends: at once, but for a pause after
// each turn in which what comes next gathers. Whoever has just come need not wait
// for all of it. Then it dismisses the viewers; the Hub cannot be run again.
func (h *Hub) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var looking sync.WaitGroup
	looking.Go(func() { h.look(ctx) })
	defer func() {
		cancel()
		looking.Wait()
		h.dismiss()
	}()
	short, pause := time.NewTimer(0), time.NewTimer(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.hurry:
		case <-h.wake:
			select {
			case <-ctx.Done():
				return nil
			case <-h.hurry:
			case <-pause.C:
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-short.C:
		}
		rest, err := h.turn()
		if err != nil {
			return err
		}
		short.Reset(h.config.Interval)
		pause.Reset(rest)
	}
}

// turn is one tick: empty the inbox into the table, then show what is new. It
// returns how long the next one should wait.
func (h *Hub) turn() (rest time.Duration, err error) {
	began := time.Now()
	h.shown.Lock()
	defer h.shown.Unlock()
	f := h.next()
	if len(h.viewers) == 0 {
		return slowPace, nil
	}
	largest, err := h.show(f)
	atRate := time.Duration(largest) * time.Second / frameRate
	return min(max(h.config.Interval, leisure*time.Since(began), atRate), slowPace), err
}

// next enters what was published into the table, and returns the frame that tells
// of it. The caller holds shown.
func (h *Hub) next() *frame {
	h.tick++
	up := h.up()
	batch, readings, skipped := h.drain()
	if len(batch) > 0 {
		h.changed = h.tick
	}
	if h.table.apply(batch, h.tick, up) {
		h.startOver()
	}
	clear(batch) // unpins the strings of the readings
	h.spare = batch[:0]
	return &frame{Seq: h.tick, Up: up, Readings: readings, Skipped: skipped, Hidden: h.table.hidden}
}

// up is the time since the hub was made in milliseconds.
func (h *Hub) up() int64 { return time.Since(h.started).Milliseconds() }

// drain empties the inbox and returns what was in it, how many readings were
// published so far, and how many of them found the inbox full. There is room
// again for as many readings as the time since the last call allows.
func (h *Hub) drain() (batch []reading.Reading, readings, skipped uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	batch, h.inbox = h.inbox, h.spare
	now := time.Now()
	earned := int64(h.config.Budget) * int64(min(now.Sub(h.drained), slowPace)) / int64(slowPace)
	if earned > 0 {
		h.drained = now
	}
	h.room = min(h.config.Budget, h.room+int(earned))
	if h.room <= 0 {
		signal(h.wake) // whoever finds it full wakes nobody
	}
	h.full.Store(h.room <= 0)
	skipped = h.skipped.Load()
	return batch, h.taken + skipped, skipped
}

// startOver gives every viewer everything again: what they have may contain
// devices that the table has forgotten. The caller holds shown.
func (h *Hub) startOver() {
	h.forgot = h.tick
	for v := range h.viewers {
		v.since = 0
	}
}
