package uplink_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/internal/backoff"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/wire"
)

// tank is a cursor over blocks in memory, and the sequence numbers that they
// get. It keeps the cursor's contract: alarms first, nothing twice, in order.
type tank struct {
	mu      sync.Mutex
	enc     *wire.Encoder
	epoch   uint64
	blocks  [reading.Lanes][]wire.Block // not given out yet
	next    [reading.Lanes]uint64
	changed chan struct{}
	acked   [reading.Lanes]map[uint64]bool
	acks    int
	broken  error // what Next returns when nothing is left, instead of waiting
	ackErr  error
	sharing bool // the lanes take turns, instead of the first that has something
	turn    int
}

func newTank() *tank {
	return &tank{
		enc:     wire.NewEncoder(),
		epoch:   7,
		next:    [reading.Lanes]uint64{1, 1, 1},
		acked:   [reading.Lanes]map[uint64]bool{{}, {}, {}},
		changed: make(chan struct{}),
	}
}

// pour adds a block of n readings to the lane.
func (k *tank) pour(lane reading.Lane, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.addBlock(lane, readings(int(k.next[lane]), n))
}

// pourBytes adds a block of one opaque reading of n bytes to the lane.
func (k *tank) pourBytes(lane reading.Lane, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	opaque := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(k.next[lane]), byte(k.next[lane] >> 8)}).Read(opaque)
	k.addBlock(lane, []reading.Reading{{Device: "camera", Time: 1, Value: reading.Bytes(string(opaque))}})
}

func (k *tank) addBlock(lane reading.Lane, rs []reading.Reading) {
	h := wire.Header{Epoch: k.epoch, Lane: lane, First: k.next[lane], Boot: 1}
	raw, err := k.enc.AppendBlock(nil, h, rs)
	if err != nil {
		panic(err)
	}
	b, _, err := wire.ParseBlock(raw)
	if err != nil {
		panic(err)
	}
	k.blocks[b.Lane] = append(k.blocks[b.Lane], b)
	k.next[b.Lane] = b.Last() + 1
	close(k.changed)
	k.changed = make(chan struct{})
}

// readings returns n readings of ten devices with four metrics each, of values
// that hardly compress.
func readings(start, n int) []reading.Reading {
	rng := rand.New(rand.NewPCG(1, uint64(start)))
	metrics := [...]string{"temp", "hum", "bat", "rssi"}
	rs := make([]reading.Reading, n)
	for i := range rs {
		k := start + i
		rs[i] = reading.Reading{
			Device: fmt.Sprintf("dev-%02d", k/4%10),
			Metric: metrics[k%4],
			Time:   1_700_000_000_000_000_000 + int64(k/4)*250_000_000,
			Value:  reading.Float(float64(2000+rng.IntN(500)) / 100),
		}
	}
	return rs
}

// NextLive takes the bulk lane for a backlog.
func (k *tank) NextLive(ctx context.Context, lanes reading.LaneSet, limit int) ([]wire.Block, error) {
	return k.Next(ctx, lanes&reading.LanesOf(reading.Alarm, reading.Normal), limit)
}

func (k *tank) Next(ctx context.Context, lanes reading.LaneSet, limit int) ([]wire.Block, error) {
	for {
		k.mu.Lock()
		blocks, changed, broken := k.give(lanes, limit), k.changed, k.broken
		k.mu.Unlock()
		if len(blocks) > 0 {
			return blocks, nil
		}
		if broken != nil {
			return nil, broken
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (k *tank) give(lanes reading.LaneSet, limit int) []wire.Block {
	order := []reading.Lane{reading.Alarm, reading.Normal, reading.Bulk}
	if k.sharing {
		k.turn++
		order = append(order[k.turn%3:], order[:k.turn%3]...)
	}
	for _, lane := range order {
		if !lanes.Has(lane) {
			continue
		}
		waiting := k.blocks[lane]
		n, bytes := 0, 0
		for n < len(waiting) && (n == 0 || bytes+len(waiting[n].Raw) <= limit) {
			bytes += len(waiting[n].Raw)
			n++
		}
		if n > 0 {
			k.blocks[lane] = waiting[n:]
			return slices.Clone(waiting[:n])
		}
	}
	return nil
}

func (k *tank) Ack(lane reading.Lane, first, last uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ackErr != nil {
		return k.ackErr
	}
	for n := first; n <= last; n++ {
		if k.acked[lane][n] {
			return fmt.Errorf("ack of %s %d to %d: %d was acked before", lane, first, last, n)
		}
		k.acked[lane][n] = true
	}
	k.acks++
	return nil
}

func (k *tank) ackedUpTo(lane reading.Lane) uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := uint64(0)
	for k.acked[lane][n+1] {
		n++
	}
	return n
}

// attempt is one Send.
type attempt struct {
	uplink.Message
	at time.Time
}

// shore is a sink that does as the test says.
type shore struct {
	answer func(ctx context.Context, m uplink.Message) error // nil accepts everything

	mu       sync.Mutex
	attempts []attempt
	accepted []attempt
	inFlight int
	crowd    int // most in flight at once
}

func (s *shore) Send(ctx context.Context, m uplink.Message) error {
	s.mu.Lock()
	s.attempts = append(s.attempts, attempt{m, time.Now()})
	s.inFlight++
	s.crowd = max(s.crowd, s.inFlight)
	s.mu.Unlock()
	var err error
	if s.answer != nil {
		err = s.answer(ctx, m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	if err == nil {
		s.accepted = append(s.accepted, attempt{m, time.Now()})
	}
	return err
}

func (s *shore) tried() []attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.attempts)
}

func (s *shore) took() []attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.accepted)
}

// mostAtOnce is how many were in flight at once since it was asked last.
func (s *shore) mostAtOnce() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.crowd
	s.crowd = 0
	return n
}

// shelf is a quarantine.
type shelf struct {
	mu      sync.Mutex
	blocks  []wire.Block
	reasons []string
	full    error
}

func (s *shelf) Quarantine(b wire.Block, reason string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full != nil {
		return s.full
	}
	s.blocks = append(s.blocks, b)
	s.reasons = append(s.reasons, reason)
	return nil
}

func (s *shelf) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.blocks)
}

// sea is a Forwarder with everything around it.
type sea struct {
	cfg     uplink.Config
	tank    *tank
	encoder uplink.Encoder
	shore   *shore
	shelf   *shelf

	forwarder *uplink.Forwarder
	ctx       context.Context // of Run
	stop      context.CancelFunc
	ended     chan error
}

func newSea() *sea {
	return &sea{
		cfg: uplink.Config{
			Gateway: "gw",
			// The longest delay that the jitter allows, so that times can be told.
			Backoff: backoff.Backoff{Min: time.Second, Max: time.Minute, Random: func(n int64) int64 { return n - 1 }},
		},
		tank:    newTank(),
		encoder: encode.NewPacked("gw"),
		shore:   &shore{},
		shelf:   &shelf{},
		ended:   make(chan error, 1),
	}
}

// run starts the Forwarder; it stops with the test.
func (s *sea) run(t testing.TB) {
	ctx, stop := context.WithCancel(t.Context())
	s.ctx, s.stop = ctx, stop
	t.Cleanup(stop)
	s.forwarder = uplink.New(s.cfg, s.tank, s.encoder, s.shore, s.shelf, slog.New(slog.DiscardHandler))
	go func() { s.ended <- s.forwarder.Run(ctx) }()
}

// inVirtualTime runs the test in a bubble where time passes only while
// everybody waits, and stops the Forwarder at its end.
func inVirtualTime(t *testing.T, test func(t *testing.T, s *sea)) {
	synctest.Test(t, func(t *testing.T) {
		s := newSea()
		test(t, s)
		if s.stop != nil {
			s.stop()
			if err := <-s.ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	})
}

// pass lets virtual time pass, and everything happen that is due then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// lastOf is the sequence number that the lane ends with.
func (k *tank) lastOf(lane reading.Lane) uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.next[lane] - 1
}

// hold is an answer that waits for a word: accept, or an error.
type hold struct {
	mu      sync.Mutex
	waiting map[uint64]chan error // by the message's first sequence number
}

func (h *hold) answer(ctx context.Context, m uplink.Message) error {
	select {
	case err := <-h.word(m.First):
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// word is the channel on which the message that begins with first waits.
func (h *hold) word(first uint64) chan error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting == nil {
		h.waiting = map[uint64]chan error{}
	}
	if h.waiting[first] == nil {
		h.waiting[first] = make(chan error, 1)
	}
	return h.waiting[first]
}

var errCut = errors.New("cut")
