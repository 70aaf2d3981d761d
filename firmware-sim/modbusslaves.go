package firmwaresim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// ModbusConfig describes the slaves of a bus. Zero values stand for the defaults.
type ModbusConfig struct {
	// Listen is the TCP address for masters; empty for none.
	Listen string
	// RTUOverTCP speaks RTU there, as a serial device server passes it on,
	// instead of Modbus TCP.
	RTUOverTCP bool
	// Link is the path of the symbolic link to a pseudo terminal where RTU is
	// spoken; empty for none.
	Link string
	// Baud is the speed of that line, 9600 by default.
	Baud int
	// First is the first unit, 1 by default, and Units how many there are, 1 by
	// default.
	First, Units int
	// Order is how values of 32 bits lie in registers, ABCD by default.
	Order WordOrder
	// Every is how often a slave takes a sample; 0 means whenever its counter is
	// read.
	Every time.Duration
	// Seed makes the values and faults of two buses equal, given the same
	// requests.
	Seed uint64
	// Prefix begins the names in the ledger, which end in the unit; "mb-" by
	// default.
	Prefix string
	// Faults is what goes wrong.
	Faults SlaveFaults
}

// ModbusStats counts since the start.
type ModbusStats struct {
	// Requests were understood and for a unit that is there; Answers were given,
	// of which Exceptions were exceptions. Silent ones were to dead units.
	Requests, Answers, Exceptions, Silent uint64
	// Slow, Late, Corrupted, Failed, Misnamed and Noisy count the faults.
	Slow, Late, Corrupted, Failed, Misnamed, Noisy uint64
	// Samples were taken.
	Samples uint64
}

// ModbusSlaves is a bus with slaves, for masters over TCP, over RTU, or both. The
// registers of a slave are those of a Device; see the reference of the command
// modbus. The counters of slaves are apart, unit n begins at n times 2^20 plus 1,
// so that a value under the wrong name is found by an audit.
type ModbusSlaves struct {
	cfg      ModbusConfig
	ledger   *Ledger
	units    map[byte]*unit
	listener net.Listener
	port     *pty

	mu     sync.Mutex
	random *rand.Rand
	stats  ModbusStats
}

// OpenModbusSlaves listens where cfg says. Run answers. The ledger may be nil.
func OpenModbusSlaves(cfg ModbusConfig, ledger *Ledger) (*ModbusSlaves, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &ModbusSlaves{cfg: cfg, ledger: ledger, units: make(map[byte]*unit), random: rand.New(rand.NewPCG(cfg.Seed, 0x4d6f64627573))}
	for i := range cfg.Units {
		number := cfg.First + i
		device := NewDevice(cfg.Seed, number, JSON4, true)
		device.Afflict(Faults{Stuck: cfg.Faults.Stuck}, cfg.Seed, number)
		device.countFrom(uint64(number)<<20 + 1)
		s.units[byte(number)] = &unit{
			number: byte(number), order: cfg.Order, every: cfg.Every, device: device,
			account: ledger.account(deviceName(cfg.Prefix, number)),
		}
	}
	if err := s.open(); err != nil {
		s.close()
		return nil, fmt.Errorf("modbus slaves: %w", err)
	}
	return s, nil
}

func (cfg ModbusConfig) withDefaults() ModbusConfig {
	cfg.Baud = cmp.Or(cfg.Baud, 9600)
	cfg.First = cmp.Or(cfg.First, 1)
	cfg.Units = cmp.Or(cfg.Units, 1)
	cfg.Order = cmp.Or(cfg.Order, ABCD)
	cfg.Prefix = cmp.Or(cfg.Prefix, "mb-")
	return cfg
}

func (cfg ModbusConfig) check() error {
	plain := cfg.Listen != "" && !cfg.RTUOverTCP
	switch {
	case cfg.Listen == "" && cfg.Link == "":
		return errors.New("slaves need an address or a port — hint: for example 127.0.0.1:1502 or /tmp/ttyBUS")
	case cfg.First < 1 || cfg.Units < 1 || cfg.First+cfg.Units-1 > maxUnit:
		return fmt.Errorf("units %d to %d — hint: they are 1 to %d", cfg.First, cfg.First+cfg.Units-1, maxUnit)
	case cfg.Baud < 50 || cfg.Baud > maxBaud:
		return fmt.Errorf("%d baud is no speed — hint: 50 to %d", cfg.Baud, maxBaud)
	case !slices.Contains(WordOrders(), cfg.Order):
		return fmt.Errorf("order %q is not one of %v", cfg.Order, WordOrders())
	case cfg.Every < 0:
		return fmt.Errorf("a sample every %v — hint: 0 or more", cfg.Every)
	case plain && (cfg.Faults.Noise > 0 || cfg.Faults.Echo):
		return errors.New("noise and echo are of serial lines — hint: a port, or RTU over TCP")
	}
	return nil
}

func (s *ModbusSlaves) open() (err error) {
	if s.cfg.Listen != "" {
		if s.listener, err = net.Listen("tcp", s.cfg.Listen); err != nil {
			return err
		}
	}
	if s.cfg.Link == "" {
		return nil
	}
	port, err := openPty()
	if err != nil {
		return err
	}
	if err := port.plug(s.cfg.Link); err != nil {
		port.Close()
		return err
	}
	s.port = port
	return nil
}

func (s *ModbusSlaves) close() {
	if s.listener != nil {
		s.listener.Close()
	}
	if s.port != nil {
		s.port.unplug(s.cfg.Link)
	}
}

// Addr returns host:port for masters, "" if there is none.
func (s *ModbusSlaves) Addr() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Port returns the path of the link, "" if there is none.
func (s *ModbusSlaves) Port() string { return s.cfg.Link }

// Stats returns the counts so far.
func (s *ModbusSlaves) Stats() ModbusStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	for _, u := range s.units {
		u.mu.Lock()
		stats.Samples += u.samples
		u.mu.Unlock()
	}
	return stats
}

// reply is what a slave does about a request.
type reply struct {
	unit    byte
	pdu     []byte
	wait    time.Duration
	late    bool // others are answered while it waits
	corrupt bool
	noise   []byte
	flip    int // which bit is flipped, modulo those that there are
}

// answer decides on the reply to a request. There is none for dead units and for
// those that are not there.
func (s *ModbusSlaves) answer(number byte, pdu []byte) (r reply, ok bool) {
	u := s.units[number]
	if u == nil || len(pdu) == 0 {
		return r, false
	}
	f := s.cfg.Faults
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Requests++
	if f.dead(number) {
		s.stats.Silent++
		return r, false
	}
	r.unit = number
	if s.hit(f.Exception, &s.stats.Failed) {
		r.pdu = exception(pdu[0], deviceFailure)
	} else {
		r.pdu = u.request(pdu)
	}
	if s.hit(f.Slow, &s.stats.Slow) {
		r.wait = f.SlowBy
	}
	if s.hit(f.Late, &s.stats.Late) {
		r.wait, r.late = f.LateBy, true
	}
	if s.hit(f.WrongUnit, &s.stats.Misnamed) {
		r.unit++
	}
	if s.hit(f.Noise, &s.stats.Noisy) {
		for range 1 + s.random.IntN(8) {
			r.noise = append(r.noise, byte(s.random.Uint32()))
		}
	}
	r.corrupt, r.flip = s.hit(f.Corrupt, &s.stats.Corrupted), s.random.IntN(1<<16)
	s.stats.Answers++
	if r.pdu[0]&exceptionBit != 0 {
		s.stats.Exceptions++
	}
	return r, true
}

func (s *ModbusSlaves) hit(share float64, count *uint64) bool {
	hit := s.random.Float64() < share
	if hit {
		*count++
	}
	return hit
}

// Run answers masters until ctx ends.
func (s *ModbusSlaves) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, s.close)
	defer stop()
	defer s.close()
	err := s.ledger.during(cancel, func() error {
		var doors sync.WaitGroup
		var tcp, rtu error
		if s.listener != nil {
			doors.Go(func() { tcp = s.accept(ctx); cancel() })
		}
		if s.port != nil {
			doors.Go(func() { rtu = s.serveLine(ctx); cancel() })
		}
		doors.Wait()
		return errors.Join(tcp, rtu)
	})
	return err
}
