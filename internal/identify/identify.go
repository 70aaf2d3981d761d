// Package identify makes a gateway show which one it is: a technician before a
// cabinet of five wants to see one of them blink. It runs a program, or blinks an
// LED of the board, for a bounded time and once at a time.
package identify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Most is how long a gateway may be asked to show itself.
const Most = 300 * time.Second

// Config says how. One of the two is set, or nothing can be shown.
type Config struct {
	// Command is a program by its full path, and its arguments. The time in seconds
	// is added as its last argument. No shell looks at them.
	Command []string
	// LED is a name below /sys/class/leds.
	LED string
	// LEDs stands for /sys/class/leds if it is not empty.
	LEDs string
}

// Signal is what is shown.
type Signal struct {
	config func() Config
	log    *slog.Logger
	orders chan time.Duration

	mu    sync.Mutex
	until time.Time          // when the present one ends; zero for none
	stop  context.CancelFunc // ends it; nil before it has begun
	ended bool               // before it has begun
}

// New returns a Signal that must be Run. It asks config each time how to show itself.
func New(config func() Config, log *slog.Logger) *Signal {
	return &Signal{config: config, log: log, orders: make(chan time.Duration, 1)}
}

// How says what is shown: "command", "led", or "" for nothing.
func (s *Signal) How() string { return s.config().how() }

func (c Config) how() string {
	switch {
	case len(c.Command) > 0:
		return "command"
	case c.LED != "":
		return "led"
	}
	return ""
}

// The errors of Show.
var (
	ErrBusy = errors.New("it shows itself already")
	ErrNone = errors.New("nothing can be shown — hint: set gateway.identify or gateway.identify_led")
)

// Show shows the gateway for so long, and returns at once.
func (s *Signal) Show(d time.Duration) error {
	if s.How() == "" {
		return ErrNone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.until.IsZero() {
		return fmt.Errorf("%w, for %d s more — hint: wait, or stop it with 0 seconds", ErrBusy, int(time.Until(s.until).Seconds())+1)
	}
	s.until = time.Now().Add(d)
	s.orders <- d // the last one has been taken out: until was zero
	return nil
}

// Stop ends what is shown, and returns at once.
func (s *Signal) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended = !s.until.IsZero(); s.stop != nil {
		s.stop()
	}
}

// Left is for how much longer it is shown, 0 if it is not.
func (s *Signal) Left() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until.IsZero() {
		return 0
	}
	return max(0, time.Until(s.until))
}

// Run shows what is asked for, until ctx ends.
func (s *Signal) Run(ctx context.Context) error {
	for {
		select {
		case d := <-s.orders:
			s.one(ctx, d)
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Signal) one(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	s.mu.Lock()
	if s.stop = cancel; s.ended {
		cancel()
	}
	s.mu.Unlock()
	cfg, output, err := s.config(), "", error(nil)
	switch cfg.how() {
	case "led":
		err = cfg.blink(ctx)
	case "command":
		output, err = run(ctx, cfg.Command, d)
	}
	s.mu.Lock()
	s.until, s.stop, s.ended = time.Time{}, nil, false
	s.mu.Unlock()
	switch {
	case err != nil:
		s.log.Warn("the gateway could not show itself — hint: see gateway.identify", "by", cfg.how(), "output", output, "err", err)
	default:
		s.log.Info("the gateway has shown itself", "by", cfg.how(), "output", output)
	}
}
