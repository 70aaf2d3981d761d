package firmwaresim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// SerialConfig describes a device on a serial line. Zero values stand for the
// defaults.
type SerialConfig struct {
	// Link is the path of the symbolic link that is the port's name.
	Link string
	// Name is what the ledger calls the device, "tty-0000" by default.
	Name string
	// Index tells devices with the same Seed apart.
	Index int
	// Seed makes two devices equal, byte for byte, given the same times.
	Seed uint64
	// Encoding is what a sample looks like, JSONLine by default.
	Encoding Encoding
	// Summed adds a CRC to lines of text, see Encoding.Frame.
	Summed bool
	// Named adds the device's name to lines of text, as the field dev.
	Named bool
	// Baud is the speed of the line, up to 921,600; 9600 by default. A byte takes
	// ten bits.
	Baud int
	// Rate is samples a second; 0 means as fast as the line.
	Rate float64
	// Count ends the run after so many samples; 0 means when the context ends.
	Count uint64
	// Poll, if not empty, is the request that the device answers with a sample.
	// It sends none unasked then, and Rate means nothing.
	Poll string
	// Confirm, if not empty, is what the gateway writes for each frame that it
	// has taken custody of. {frame} in it stands for the payload. The device
	// sends a sample again until it is confirmed.
	Confirm string
	// Timeout is how long a confirmation may take, 2 s by default.
	Timeout time.Duration
	// Patient devices take no sample while nobody has the port open.
	Patient bool
	// Linger is how long the port stays after the last sample of Count, 1 s by
	// default: what nobody has read is lost when it goes.
	Linger time.Duration
	// Faults is what goes wrong.
	Faults Faults
	// Script says when the plug is pulled and put in.
	Script []PlugStep
	// Tell, if not nil, is told what happens, one line a time.
	Tell func(line string)
}

// SerialStats counts since the start.
type SerialStats struct {
	// Samples were taken; Acked ones were confirmed; Again were sent again.
	Samples, Acked, Again uint64
	// Halved frames were cut by the plug.
	Halved uint64
	// Polls were answered.
	Polls uint64
	// Plugs counts how often the plug was put in.
	Plugs uint64
	// BytesOut went over the line; BytesUnheard had no reader; BytesOverrun found
	// no room.
	BytesOut, BytesUnheard, BytesOverrun uint64
	// Faults counts what went wrong by intention.
	Faults FaultCounts
}

// SerialDevice is a device on a serial line: a pseudo terminal behind a symbolic
// link. Without confirmations it enters into the ledger what it sends, so that an
// audit finds what was invented; with them, also what was confirmed.
type SerialDevice struct {
	cfg     SerialConfig
	ledger  *Ledger
	account *Account
	device  *Device
	stream  *FaultStream
	steps   []PlugStep // that are to come
	began   time.Time

	port *pty // whose other end the link names; nil while unplugged
	next *pty // that the link will name: opened early, so that its name is another
	line baudWriter
	wire wireCounts

	payload, frame []byte
	owed           bool // payload was sent and is not confirmed
	half           bool // a frame is being written

	mu    sync.Mutex
	stats SerialStats
}

// OpenSerialDevice makes the device that cfg describes and plugs it in. Run lets
// it speak. The ledger may be nil.
func OpenSerialDevice(cfg SerialConfig, ledger *Ledger) (*SerialDevice, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &SerialDevice{
		cfg: cfg, ledger: ledger, account: ledger.account(cfg.Name),
		device: NewDevice(cfg.Seed, cfg.Index, JSON4, true),
		stream: cfg.Faults.Stream(cfg.Seed, cfg.Index),
		steps:  cfg.Script,
	}
	s.device.Afflict(cfg.Faults, cfg.Seed, cfg.Index)
	if err := s.plug(); err != nil {
		return nil, fmt.Errorf("serial device %s: %w", cfg.Name, err)
	}
	return s, nil
}

func (cfg SerialConfig) withDefaults() SerialConfig {
	cfg.Name = cmp.Or(cfg.Name, "tty-0000")
	cfg.Encoding = cmp.Or(cfg.Encoding, JSONLine)
	cfg.Baud = cmp.Or(cfg.Baud, 9600)
	cfg.Timeout = cmp.Or(cfg.Timeout, 2*time.Second)
	cfg.Linger = cmp.Or(cfg.Linger, time.Second)
	return cfg
}

func (cfg SerialConfig) check() error {
	if err := cfg.Encoding.check(); err != nil {
		return err
	}
	unsafe := cfg.Encoding.line() && !cfg.Summed
	switch {
	case cfg.Link == "":
		return errors.New("a serial device needs a name for its port — hint: for example /tmp/ttySIM")
	case cfg.Baud < 50 || cfg.Baud > maxBaud:
		return fmt.Errorf("%d baud is no speed — hint: 50 to %d", cfg.Baud, maxBaud)
	case cfg.Rate < 0:
		return fmt.Errorf("a rate of %v — hint: 0 or more", cfg.Rate)
	case cfg.Summed && !cfg.Encoding.line():
		return fmt.Errorf("encoding %q has a checksum already — hint: lines of text have none", cfg.Encoding)
	case cfg.Named && !cfg.Encoding.line():
		return fmt.Errorf("encoding %q has no place for a name — hint: lines of text have one", cfg.Encoding)
	case cfg.Poll != "" && cfg.Confirm != "":
		return errors.New("an answer to a poll is not confirmed — hint: choose one of the two")
	case cfg.Confirm != "" && unsafe && (cfg.Faults.Corrupt > 0 || cfg.Faults.Noise > 0):
		return errors.New("damage that no checksum shows would be confirmed, too — hint: lines with a CRC, or another encoding")
	case (cfg.Confirm != "" || cfg.Poll != "") && cfg.Faults.Merge > 0:
		return errors.New("a device that waits for the gateway has no second frame to merge the first with")
	}
	return nil
}

// Port returns the path of the link.
func (s *SerialDevice) Port() string { return s.cfg.Link }

// Stats returns the counts so far.
func (s *SerialDevice) Stats() SerialStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.BytesOut, stats.BytesUnheard, stats.BytesOverrun = s.wire.out.Load(), s.wire.unheard.Load(), s.wire.overrun.Load()
	return stats
}

func (s *SerialDevice) count(change func(*SerialStats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.stats)
	s.stats.Faults = s.stream.Counts()
}

func (s *SerialDevice) tell(format string, args ...any) {
	if s.cfg.Tell != nil {
		s.cfg.Tell(fmt.Sprintf(format, args...))
	}
}

// errUnplugged ends what a device is doing because its plug is pulled.
var errUnplugged = errors.New("unplugged")

// Run lets the device speak until ctx ends or Count samples are sent, then
// unplugs it.
func (s *SerialDevice) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.began = time.Now()
	err := s.ledger.during(cancel, func() error { return s.live(ctx) })
	s.close()
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func (s *SerialDevice) live(ctx context.Context) error {
	for {
		err := s.plugged(ctx)
		if !errors.Is(err, errUnplugged) {
			return err
		}
		if err := s.pull(); err != nil {
			return err
		}
		if err := s.awaitReplug(ctx); err != nil {
			return err
		}
		if err := s.plug(); err != nil {
			return err
		}
	}
}

// plugged speaks until the plug is pulled.
func (s *SerialDevice) plugged(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	input := make(chan []byte, 64)
	var reader sync.WaitGroup
	reader.Go(func() {
		readPty(ctx, s.port, func(b []byte) error {
			select {
			case input <- append([]byte(nil), b...):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	defer reader.Wait()
	defer s.port.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	defer cancel()
	t := talk{SerialDevice: s, input: input, pace: s.firstDue()}
	return t.run(ctx)
}

func (s *SerialDevice) plug() (err error) {
	port := s.next
	if s.next = nil; port == nil {
		if port, err = openPty(); err != nil {
			return err
		}
	}
	if err := port.plug(s.cfg.Link); err != nil {
		port.Close()
		return err
	}
	s.port, s.line = port, baudWriter{to: port, baud: s.cfg.Baud, wire: &s.wire}
	s.count(func(stats *SerialStats) { stats.Plugs++ })
	s.tell("%s is %s", s.cfg.Link, port.name)
	return nil
}

// pull unplugs the port. The terminal that will come next is opened before, or it
// might be the same one again.
func (s *SerialDevice) pull() (err error) {
	if s.next, err = openPty(); err != nil {
		return err
	}
	s.port.unplug(s.cfg.Link)
	s.port = nil
	s.tell("%s is unplugged", s.cfg.Link)
	return nil
}

// awaitReplug waits for the script to put the plug in. It never does if no such
// step is left.
func (s *SerialDevice) awaitReplug(ctx context.Context) error {
	for len(s.steps) > 0 {
		step := s.steps[0]
		if err := sleepUntil(ctx, s.began.Add(step.At)); err != nil {
			return err
		}
		if s.steps = s.steps[1:]; !step.Out {
			return nil
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *SerialDevice) close() {
	if s.port != nil {
		s.port.unplug(s.cfg.Link)
	}
	if s.next != nil {
		s.next.Close()
	}
}

// expected returns the confirmation of the payload.
func (s *SerialDevice) expected() []byte {
	return []byte(strings.ReplaceAll(s.cfg.Confirm, "{frame}", string(s.payload)))
}
