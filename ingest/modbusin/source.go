package modbusin

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/internal/serialport"
)

// Source is a bus: an ingest.Source that polls its slaves. What it has learned
// of them outlives a Run.
type Source struct {
	cfg     Config
	kind    Kind
	address string
	log     *slog.Logger
	slaves  []*slave
	counts  busCounts
	trouble atomic.Pointer[string] // why there is no line; nil while there is one
	pledges []pledge               // of custody, the oldest first
	turn    int                    // the slave that was asked last
	found   serialport.Identity    // the device that the port was; it must be that one again
}

// New returns a bus that does not run yet. The error is that of Config.Check.
func New(cfg Config, log *slog.Logger) (*Source, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	s := &Source{cfg: cfg, log: log}
	s.kind, s.address, _ = ParseURL(cfg.URL) // checked
	for _, slave := range cfg.Slaves {
		s.slaves = append(s.slaves, newSlave(slave, s.slaves))
	}
	return s, nil
}

// Run implements ingest.Source. It returns an error when the line cannot be
// opened or is broken; a TCP connection that has worked is made anew once before
// that, for many devices close connections that are quiet.
func (s *Source) Run(ctx context.Context, intake *ingest.Intake) error {
	b := &bus{Source: s, intake: intake.Passage()}
	now := time.Now()
	for _, slave := range s.slaves {
		slave.begin(now)
	}
	err := b.connect(ctx)
	if err == nil {
		err = b.run(ctx)
		b.close()
	}
	if ctx.Err() != nil {
		return nil
	}
	if !b.refused {
		trouble := err.Error()
		s.trouble.Store(&trouble)
		b.lost(ctx)
	}
	return fmt.Errorf("%s: %w", s.cfg.URL, err)
}

// Filters returns Forget for (*ingest.Intake).OnLoss if there is anything to
// forget.
func (s *Source) Filters() []func() {
	for _, slave := range s.slaves {
		if slave.Refine != nil || slave.Status != "" {
			return []func(){s.Forget}
		}
	}
	return nil
}

// Forget makes what was told on change be told again, and filters let the next
// reading of every series pass: those before it may not have been kept. It is
// meant for (*ingest.Intake).OnLoss, whose calls come from within Run.
func (s *Source) Forget() {
	for _, slave := range s.slaves {
		slave.told = unknown
		if slave.Refine != nil {
			slave.Refine.Forget()
		}
	}
}

// dialer opens the line of a bus.
type dialer func(ctx context.Context) (line, error)

// open opens the line and speaks the protocol of the bus on it.
func (s *Source) open(ctx context.Context) (wire, error) {
	dial := s.cfg.dial
	if dial == nil {
		dial = s.dial
	}
	l, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	if s.kind == TCP {
		return newTCPWire(l), nil
	}
	w := &rtuWire{line: l, stray: &s.counts.stray, quiet: quiet}
	if s.kind == RTUOverTCP {
		w.gap, w.quiet = networkGap, networkQuiet
	}
	if s.kind == RTU || s.cfg.Serial.Baud != 0 {
		serial := s.cfg.Serial.WithDefaults()
		w.gap, w.char = gapTime(serial.Baud, bitsPerChar(serial)), serial.CharTime()
		w.quiet = max(w.quiet, quietChars*w.char)
	}
	w.gap = cmp.Or(s.cfg.FrameGap, w.gap)
	return w, nil
}

// The device server keeps the gaps of the line, so that the network is only
// asked whether something late is there; but it may be slow in between.
const (
	networkGap   = time.Millisecond
	networkQuiet = time.Second
)

func (s *Source) dial(ctx context.Context) (line, error) {
	if s.kind != RTU {
		l, err := dialLine(ctx, s.address)
		if err != nil {
			return nil, fmt.Errorf("%w — hint: check the address, the port and that the device allows one more connection", err)
		}
		return l, nil
	}
	cfg := s.cfg.Serial
	cfg.Path = s.address
	cfg.Expect = s.found
	port, err := serialport.Open(cfg)
	if err != nil {
		return nil, err
	}
	s.found = port.Place().Identity
	return serialLine{port}, nil
}
