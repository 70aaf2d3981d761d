package serialin

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/tidegate/tidegate/internal/inorder"
	"github.com/tidegate/tidegate/internal/serialport"
)

// Probing says how to find out how a device speaks.
type Probing struct {
	// Port is the port; its settings of the line are tried out.
	Port serialport.Config
	// Bauds are the speeds to try, UsualBauds by default.
	Bauds []int
	// Send is sent at each setting, for devices that speak when asked.
	Send []byte
	// Listen is for how long, at each setting.
	Listen time.Duration
	// Decoders are tried on the frames.
	Decoders []Named
	// Heard, if not nil, is told of each sample, and Refused of each setting that
	// the driver cannot do.
	Heard   func(Sample)
	Refused func(serialport.Config)

	listenTo func(context.Context, serialport.Config, []byte, time.Duration) (Sample, error) // Listen, but for tests
}

// UsualBauds returns the speeds that devices have, the most usual first.
func UsualBauds() []int {
	return []int{9600, 115200, 19200, 38400, 57600, 4800, 2400, 1200, 230400, 460800, 921600, 300}
}

// Most is how many settings are tried if none explains what is heard.
func (p Probing) Most() int {
	n := len(p.Bauds)
	if n == 0 {
		n = len(UsualBauds())
	}
	return n + min(n, mostSpeeds)*len(others(Sample{}))
}

// mostSpeeds is for how many speeds other parities are tried.
const mostSpeeds = 3

// Probe listens at one setting after the other, until one explains what is heard
// beyond doubt, or none is left. It returns explanations, the best first. What the
// driver cannot do is passed over, unless that is everything. The error is that of
// the port.
func Probe(ctx context.Context, p Probing) ([]Candidate, error) {
	if len(p.Bauds) == 0 {
		p.Bauds = UsualBauds()
	}
	if p.listenTo == nil {
		p.listenTo = Listen
	}
	var all []Candidate
	var heard []Sample
	refused := 0
	for _, baud := range p.Bauds {
		s, cs, err := p.try(ctx, baud, 8, serialport.None)
		if errors.Is(err, serialport.ErrUnable) {
			if refused++; refused < len(p.Bauds) {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		if all = append(all, cs...); isSure(cs) {
			return best(all), nil
		}
		if len(s.Data) > 0 {
			heard = append(heard, s)
		}
	}
	inorder.Sort(heard, func(a, b Sample) int { return cmp.Compare(promise(b), promise(a)) })
	for _, s := range heard[:min(len(heard), mostSpeeds)] {
		for _, f := range others(s) {
			_, cs, err := p.try(ctx, s.Port.Baud, f.bits, f.parity)
			if err != nil && !errors.Is(err, serialport.ErrUnable) {
				return nil, err
			}
			if all = append(all, cs...); isSure(cs) {
				return best(all), nil
			}
		}
	}
	return best(all), nil
}

func (p Probing) try(ctx context.Context, baud, bits int, parity serialport.Parity) (Sample, []Candidate, error) {
	c := p.Port
	c.Baud, c.DataBits, c.Parity = baud, bits, parity
	s, cs, err := p.listen(ctx, c, p.Listen)
	if err == nil && len(cs) > 0 && cs[0].Points >= Likely && len(cs[0].Frames) < enoughFrames {
		s, cs, err = p.listen(ctx, c, longer*p.Listen)
	}
	return s, cs, err
}

// A setting at which something sensible came, and too little of it to be sure, is
// listened to for longer.
const (
	enoughFrames = 3
	longer       = 4
)

func (p Probing) listen(ctx context.Context, c serialport.Config, d time.Duration) (Sample, []Candidate, error) {
	s, err := p.listenTo(ctx, c, p.Send, d)
	if ctx.Err() != nil {
		return s, nil, ctx.Err()
	}
	if errors.Is(err, serialport.ErrUnable) && p.Refused != nil {
		p.Refused(c)
	}
	if err != nil {
		return s, nil, err
	}
	if p.Heard != nil {
		p.Heard(s)
	}
	return s, Judge(s, p.Decoders), nil
}

type format struct {
	bits   int
	parity serialport.Parity
}

// others are the formats that may explain a sample better. Seven bits with parity
// are as long as eight without, so their parity is known already; eight bits with
// parity have it where the stop bit was expected, which about every second byte
// shows.
func others(s Sample) []format {
	if parity := s.sevenBits(); parity != serialport.None {
		return []format{{7, parity}}
	}
	return []format{{8, serialport.Even}, {8, serialport.Odd}, {7, serialport.Even}, {7, serialport.Odd}}
}

// promise orders samples by how much they look like the right speed.
func promise(s Sample) float64 {
	if s.sevenBits() != serialport.None {
		return 1
	}
	return s.printable() * (1 - s.damagedPart())
}

func isSure(cs []Candidate) bool { return len(cs) > 0 && cs[0].Points >= Sure }

// best sorts candidates, and keeps one of each explanation.
func best(all []Candidate) []Candidate {
	inorder.Sort(all, func(a, b Candidate) int { return cmp.Compare(b.Points, a.Points) })
	return all
}
