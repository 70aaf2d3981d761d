package modbusin

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tidegate/tidegate/internal/closing"
)

// errTalking means that somebody else uses the bus.
var errTalking = errors.New("somebody else talks on this line — hint: is another master on it? A bus has one; let it rest while you look")

// maxTalk is before how many units in a row the line may be found talking.
const maxTalk = 10

// scan is a Scanning while it goes on. It belongs to one goroutine.
type scan struct {
	Scanning
	source *Source
	wire   wire
	end    func()
	over   time.Time
	id     uint16
	breaks int           // connections that broke since the last answer
	talk   int           // units in a row before which the line was found talking
	slowly map[byte]bool // units that were given longer
	found  Scanned
}

func (s *scan) connect(ctx context.Context) error {
	w, err := s.source.open(ctx)
	if err != nil {
		s.wire, s.end = closedWire{}, func() {}
		return err
	}
	release := closing.Until(ctx, func() { w.close() })
	s.wire, s.end = w, func() {
		release()
		w.close()
	}
	return nil
}

func (s *scan) close() { s.end() }

// run is both phases.
func (s *scan) run(ctx context.Context) error {
	for _, table := range s.Tables {
		if err := s.units(ctx, table); err != nil {
			return err
		}
		if len(s.found.Slaves) > 0 {
			break
		}
	}
	look := s.found.Slaves
	if n := int(s.Last) - int(s.First) + 1; s.source.kind != RTU && n >= leastAlike && len(look) == n {
		s.found.Alike, look = true, look[:1]
	}
	for i := range look {
		slave := &look[i]
		s.Tell(ScanStep{Phase: ScanRegisters, Unit: slave.Unit, Done: i, Of: len(look)})
		if slave.Damaged {
			continue
		}
		if err := s.registers(ctx, slave); err != nil {
			return err
		}
		s.Tell(ScanStep{ScanRegisters, slave.Unit, i + 1, len(look), slave})
	}
	return nil
}

// leastAlike is how many units must have been asked for it to tell something that
// all have answered.
const leastAlike = 32

// units asks each unit whether it is there.
func (s *scan) units(ctx context.Context, table Table) error {
	of := int(s.Last) - int(s.First) + 1
	clear(s.slowly)
	s.found.Asked, s.found.Noise = 0, nil
	for i := range of {
		unit := s.First + byte(i)
		step := ScanStep{Phase: ScanUnits, Unit: unit, Done: i + 1, Of: of}
		before := s.source.counts.stray.Load()
		err := s.knock(ctx, unit, table, s.Timeout, &step)
		if err != nil {
			return err
		}
		s.found.Asked++
		strays := s.source.counts.stray.Load() > before
		known, noise := len(s.found.Slaves), s.isNoise(unit)
		if err := s.lookBack(ctx, unit, table, strays, &step); err != nil {
			return err
		}
		if s.talked((strays || noise) && len(s.found.Slaves) == known) {
			return errTalking
		}
		s.Tell(step)
	}
	return nil
}

// slowFactor is how much longer a unit is given that seems to have answered late.
const slowFactor = 4

// lookBack asks those again who may have answered late: the unit before, if
// something came that was not asked for, and one whose answer came meanwhile.
func (s *scan) lookBack(ctx context.Context, unit byte, table Table, strays bool, step *ScanStep) error {
	var late []byte
	if strays && unit > s.First {
		late = append(late, unit-1)
	}
	if w, ok := s.wire.(*rtuWire); ok {
		if other, ok := w.foreign(); ok && other >= s.First && other <= s.Last {
			late = append(late, other)
		}
	}
	for _, u := range late {
		if s.slowly[u] || s.has(u) {
			continue
		}
		s.slowly[u] = true
		if err := s.knock(ctx, u, table, slowFactor*s.Timeout, step); err != nil {
			return err
		}
		if s.has(u) && u != unit && !s.has(unit) { // which was perhaps not heard for that
			if err := s.knock(ctx, unit, table, s.Timeout, step); err != nil {
				return err
			}
		}
	}
	return nil
}

// talked takes note of whether a unit found the line talking, and says whether that
// is too often for slaves that are late, or have one address.
func (s *scan) talked(talking bool) bool {
	if !talking {
		s.talk = 0
		return false
	}
	s.talk++
	return s.talk >= maxTalk
}

func (s *scan) has(unit byte) bool {
	return slices.ContainsFunc(s.found.Slaves, func(f ScannedSlave) bool { return f.Unit == unit })
}

func (s *scan) isNoise(unit byte) bool { return slices.Contains(s.found.Noise, unit) }

// leastDamaged is how often a damaged answer must have come to be told: two slaves
// with one address damage each other's every time.
const leastDamaged = 3

// knock asks a unit whether it is there, and adds it to what was found if so.
func (s *scan) knock(ctx context.Context, unit byte, table Table, patience time.Duration, step *ScanStep) error {
	if s.has(unit) {
		return nil
	}
	slave := ScannedSlave{Unit: unit}
	for tries := 1; ; tries++ {
		began := time.Now()
		_, err := s.ask(ctx, unit, request{table, s.From, 1}, patience)
		slave.Took = time.Since(began)
		fault, missed := err.(Fault)
		exception, refused := err.(Exception)
		switch {
		case missed && fault == WrongChecksum && tries < leastDamaged:
			continue
		case missed && fault == WrongChecksum:
			slave.Damaged = true
		case missed && fault == Malformed:
			if !s.isNoise(unit) {
				s.found.Noise = append(s.found.Noise, unit)
			}
			return nil
		case missed, refused && (exception == GatewayNoPath || exception == GatewayNoAnswer):
			return nil
		case err != nil && !refused:
			return err
		}
		s.found.Slaves = append(s.found.Slaves, slave)
		step.Found = &slave
		return nil
	}
}

// maxBreaks is how many connections in a row may break before anything answers.
// Some gateways end the connection for a unit that they do not find.
const maxBreaks = 250

// ask asks, and returns the data of the answer. The error is an Exception, a Fault,
// errOver, or that of the line.
func (s *scan) ask(ctx context.Context, unit byte, r request, patience time.Duration) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !time.Now().Before(s.over) {
		return nil, errOver
	}
	s.id++
	data, err := s.exchange(question{s.id, unit, r}, patience)
	switch err.(type) {
	case nil, Exception:
		s.breaks = 0
		return data, err
	case Fault:
		return nil, err
	}
	if s.source.kind == RTU || ctx.Err() != nil {
		return nil, err
	}
	if s.breaks++; s.breaks > maxBreaks || errors.Is(err, errBrokenStream) {
		return nil, err
	}
	s.close()
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	return nil, NoAnswer
}

func (s *scan) exchange(q question, patience time.Duration) ([]byte, error) {
	if err := s.wire.send(q); err != nil {
		return nil, err
	}
	until := time.Now().Add(patience + s.wire.airtime(q.request))
	for {
		f, err := s.wire.receive(until)
		if err != nil {
			return nil, err
		}
		if f.id == q.id && f.unit == q.unit { // else, over TCP, it was late
			return parseAnswer(f.pdu, q.request)
		}
	}
}

// foreign returns the unit of a good answer that came instead of the one that was
// asked for.
func (w *rtuWire) foreign() (unit byte, ok bool) {
	for b := w.in[:w.end]; len(b) >= 5; b = b[1:] {
		if size := answerSize(b); size > 0 && size <= len(b) && b[0] != w.asked.unit && rightRTU(b[:size]) {
			return b[0], true
		}
	}
	return 0, false
}
