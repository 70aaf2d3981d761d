package dashboard

import (
	"cmp"
	"context"
	"errors"
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
	// Interval is the time between two frames; 250 ms, and 2 s at the most,
	// because the page takes a longer silence for a broken connection.
	Interval time.Duration
	// Budget is how many readings are looked at in one Interval; 5,000.
	Budget int
	// MaxDevices, MaxMetrics (of one device) and MaxSeries (of all) are what
	// the page shows at the most; 1,000, 64 and 10,000.
	MaxDevices, MaxMetrics, MaxSeries int
	// MaxViewers is how many pages may be open at once; 32.
	MaxViewers int
}

func (c Config) withDefaults() Config {
	c.Interval = min(cmp.Or(c.Interval, 250*time.Millisecond), 2*time.Second)
	c.Budget = cmp.Or(c.Budget, 5000)
	c.MaxDevices = cmp.Or(c.MaxDevices, 1000)
	c.MaxMetrics = cmp.Or(c.MaxMetrics, 64)
	c.MaxSeries = cmp.Or(c.MaxSeries, 10_000)
	c.MaxViewers = cmp.Or(c.MaxViewers, 32)
	return c
}

// maxText is how many bytes of a text value are shown.
const maxText = 64

// Hub keeps the latest value of every series and shows them to the viewers.
// Its methods may be called by many goroutines at once.
type Hub struct {
	config  Config
	status  func() Status
	started time.Time

	// skipped counts readings that found the inbox full; full says that it is,
	// so that a flood costs one load and one addition a batch.
	skipped atomic.Uint64
	full    atomic.Bool

	mu    sync.Mutex // guards inbox and taken; held only to copy
	inbox []reading.Reading
	taken uint64 // readings that ever entered the inbox

	// Owned by Run.
	table *table
	spare []reading.Reading
	tick  uint64

	presence atomic.Pointer[Presence]

	viewersMu sync.Mutex // guards viewers, ended and each viewer.since
	viewers   map[*viewer]struct{}
	ended     bool
}

// viewer is one open page.
type viewer struct {
	// frames is the viewer's one slot. Only the hub sends and closes.
	frames chan []byte
	// since is the tick up to which the viewer has been given everything.
	since uint64
}

// NewHub returns a Hub that asks status for the state of the gateway, once an
// Interval and only while somebody watches. The Server asks it, too, so status
// must be safe for use by many goroutines at once.
func NewHub(config Config, status func() Status) *Hub {
	config = config.withDefaults()
	return &Hub{
		config:  config,
		status:  status,
		started: time.Now(),
		table:   newTable(config),
		viewers: make(map[*viewer]struct{}),
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
	n := min(len(rs), h.config.Budget-len(h.inbox))
	h.inbox = append(h.inbox, rs[:n]...)
	for i := len(h.inbox) - n; i < len(h.inbox); i++ {
		h.inbox[i].Value = clip(h.inbox[i].Value)
	}
	h.taken += uint64(n)
	h.full.Store(len(h.inbox) >= h.config.Budget)
	h.mu.Unlock()
	h.skipped.Add(uint64(len(rs) - n))
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

// Run sends a frame to every viewer once an Interval, until ctx ends. Then it
// dismisses the viewers; the Hub cannot be run again.
func (h *Hub) Run(ctx context.Context) error {
	defer h.dismiss()
	ticker := time.NewTicker(h.config.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := h.turn(); err != nil {
				return err
			}
		}
	}
}

// turn is one tick: empty the inbox into the table, then show what changed.
func (h *Hub) turn() error {
	h.tick++
	up := time.Since(h.started).Milliseconds()
	batch, readings, skipped := h.drain()
	forgot := h.table.apply(batch, h.tick, up)
	clear(batch) // unpins the strings of the readings
	h.spare = batch[:0]
	if h.tick%presenceTicks == 1 {
		h.presence.Store(h.table.presence(up))
	}

	h.viewersMu.Lock()
	defer h.viewersMu.Unlock()
	if forgot {
		h.startOver()
	}
	if len(h.viewers) == 0 {
		return nil
	}
	return h.show(&frame{
		Seq:      h.tick,
		Up:       up,
		Readings: readings,
		Skipped:  skipped,
		Hidden:   h.table.hidden,
	})
}

// drain empties the inbox and returns what was in it, how many readings were
// published so far, and how many of them found the inbox full.
func (h *Hub) drain() (batch []reading.Reading, readings, skipped uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	batch, h.inbox = h.inbox, h.spare
	h.full.Store(false)
	skipped = h.skipped.Load()
	return batch, h.taken + skipped, skipped
}

// startOver gives every viewer everything again: what they have may contain
// devices that the table has forgotten. The caller holds viewersMu.
func (h *Hub) startOver() {
	for v := range h.viewers {
		v.since = 0
	}
}

// show fills the slot of every viewer whose slot is empty. Viewers who are
// equally far share one encoded frame. The caller holds viewersMu.
func (h *Hub) show(f *frame) error {
	status := h.status()
	f.Status = &status
	encoded := make(map[uint64][]byte, 2)
	for v := range h.viewers {
		if len(v.frames) > 0 {
			continue // still busy with the last one: merged into the next
		}
		message, ok := encoded[v.since]
		if !ok {
			var err error
			if message, err = f.encode(h.table, v.since); err != nil {
				return err
			}
			encoded[v.since] = message
		}
		v.frames <- message
		v.since = h.tick
	}
	return nil
}

// errCrowded means that MaxViewers pages are open, or that the hub has ended.
var errCrowded = errors.New("too many viewers")

// join admits a viewer; leave lets it go.
func (h *Hub) join() (*viewer, error) {
	h.viewersMu.Lock()
	defer h.viewersMu.Unlock()
	if h.ended || len(h.viewers) >= h.config.MaxViewers {
		return nil, errCrowded
	}
	v := &viewer{frames: make(chan []byte, 1)}
	h.viewers[v] = struct{}{}
	return v, nil
}

func (h *Hub) leave(v *viewer) {
	h.viewersMu.Lock()
	defer h.viewersMu.Unlock()
	delete(h.viewers, v)
}

// dismiss tells every viewer that the hub has ended.
func (h *Hub) dismiss() {
	h.viewersMu.Lock()
	defer h.viewersMu.Unlock()
	h.ended = true
	for v := range h.viewers {
		close(v.frames)
	}
	clear(h.viewers)
}
