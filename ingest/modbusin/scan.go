package modbusin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/internal/inorder"
	"github.com/tidegate/tidegate/internal/serialport"
)

// Scanning says where to look for slaves, and what of them is looked at. Like the
// door, it only reads.
type Scanning struct {
	// URL says where the bus is; see ParseURL.
	URL string
	// Serial is the port of an RTU bus, as in Config.
	Serial serialport.Config
	// First to Last are the units that are asked: 1 to 247 by default. Over TCP,
	// 255 is the last one.
	First, Last byte
	// Tables are looked at in those that answer: holding and input registers by
	// default. Units are asked for an element of the first; the others have their
	// turn with that when nobody has answered.
	Tables []Table
	// From to To are the addresses that are looked at. If both are 0, they are 0 to
	// LastLooked.
	From, To uint16
	// Step is every how many addresses a run of registers is looked for; 10 by
	// default. Shorter runs in between are not found.
	Step int
	// Timeout is how long a unit may take to answer, transmission not counted.
	// ScanTimeout by default, and over TCP twice that.
	Timeout time.Duration
	// Limit is how long all may take. ScanLimit by default.
	Limit time.Duration
	// Tell is told how far it has got. It may be nil.
	Tell func(ScanStep)

	dial dialer // replaces the ways to a bus in tests
}

// The defaults and bounds of a Scanning.
const (
	ScanTimeout    = 200 * time.Millisecond
	ScanLimit      = 5 * time.Minute
	MaxScanLimit   = 30 * time.Minute
	MaxScanTimeout = 10 * time.Second
	LastLooked     = 999
	scanStep       = 10
)

// The phases of a scan.
const (
	ScanUnits     = "units"
	ScanRegisters = "registers"
)

// ScanStep is how far a scan has got: Done Of units or slaves.
type ScanStep struct {
	Phase    string
	Unit     byte
	Done, Of int
	// Found is the slave that has just been found, or looked at; nil if none was.
	Found *ScannedSlave
}

// Scanned is what a scan has found.
type Scanned struct {
	Slaves []ScannedSlave
	// Asked is how many units were asked.
	Asked int
	// Alike says that every unit of a long range has answered over TCP: it is one
	// device then, which does not look at the unit.
	Alike bool
	// Noise are the units at which something came that is no answer: the speed or
	// the parity is another, or two slaves have this address.
	Noise []byte
	// Stray is how many bytes came that nobody had asked for.
	Stray uint64
	// Unfinished says why not all was looked at; empty if it was.
	Unfinished string
}

// ScannedSlave is a unit that has answered.
type ScannedSlave struct {
	Unit byte
	// Took is how long its first answer took.
	Took time.Duration
	// Damaged says that nothing has come of it but frames whose checksum is wrong.
	Damaged bool
	// Runs are the addresses that it answers for.
	Runs []ScannedRun
	// Partial says why not all its addresses were looked at; empty if they were.
	Partial string
}

// ScannedRun is a run of addresses that are answered for.
type ScannedRun struct {
	Span
	// Values are those of the first addresses, at most shownValues; bits are 0 or 1.
	Values []uint16
}

const shownValues = 8

// withDefaults replaces what is not set.
func (s Scanning) withDefaults(kind Kind) Scanning {
	if s.First == 0 && s.Last == 0 {
		s.First, s.Last = 1, 247
	}
	if s.From == 0 && s.To == 0 {
		s.To = LastLooked
	}
	if len(s.Tables) == 0 {
		s.Tables = []Table{Holding, Input}
	}
	usual := ScanTimeout
	if kind != RTU {
		usual *= 2
	}
	s.Step, s.Timeout, s.Limit = cmp.Or(s.Step, scanStep), cmp.Or(s.Timeout, usual), cmp.Or(s.Limit, ScanLimit)
	if s.Tell == nil {
		s.Tell = func(ScanStep) {}
	}
	return s
}

// Check returns what makes no sense, with a hint.
func (s Scanning) Check() error {
	kind, _, err := ParseURL(s.URL)
	if err != nil {
		return err
	}
	s = s.withDefaults(kind)
	last := byte(247)
	if kind == TCP {
		last = 255
	}
	switch {
	case s.First > s.Last || s.Last > last || s.First == 0 && kind != TCP:
		return fmt.Errorf("units %d to %d — hint: 1 to %d", s.First, s.Last, last)
	case s.From > s.To:
		return fmt.Errorf("addresses %d to %d — hint: they count from 0", s.From, s.To)
	case s.Step < 1 || s.Step > 1000:
		return fmt.Errorf("a step of %d addresses — hint: 1 to 1000; 1 asks for each address", s.Step)
	case s.Timeout < time.Millisecond || s.Timeout > MaxScanTimeout:
		return fmt.Errorf("a timeout of %v — hint: 1 ms to %v; most slaves answer within 100 ms", s.Timeout, MaxScanTimeout)
	case s.Limit < time.Second || s.Limit > MaxScanLimit:
		return fmt.Errorf("a limit of %v — hint: 1 s to %v", s.Limit, MaxScanLimit)
	case len(s.Tables) > tables:
		return fmt.Errorf("%d tables — hint: there are four", len(s.Tables))
	}
	return nil
}

// Scan asks one unit after the other whether it is there, and then those that are
// for what they have. An answer is an answer if it is valid, and so is a refusal.
//
// What is found until ctx ends or the line breaks is returned with the error. When
// the limit is reached, there is none, and Scanned says so.
func Scan(ctx context.Context, scanning Scanning) (Scanned, error) {
	if err := scanning.Check(); err != nil {
		return Scanned{}, err
	}
	kind, address, _ := ParseURL(scanning.URL) // checked
	s := &scan{Scanning: scanning.withDefaults(kind), slowly: make(map[byte]bool)}
	s.over = time.Now().Add(s.Limit)
	s.source = &Source{kind: kind, address: address, cfg: Config{URL: s.URL, Serial: s.Serial, dial: s.dial}}
	err := s.connect(ctx)
	if err == nil {
		defer s.close()
		err = s.run(ctx)
	}
	inorder.Sort(s.found.Slaves, func(a, b ScannedSlave) int { return cmp.Compare(a.Unit, b.Unit) })
	s.found.Stray = s.source.counts.stray.Load()
	switch {
	case errors.Is(err, errOver):
		s.found.Unfinished = fmt.Sprintf("the time of %v is over — hint: ask for fewer units or addresses, or give it longer", s.Limit)
		err = nil
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	return s.found, err
}

// errOver means that the time is over.
var errOver = errors.New("the time is over")
