package modbusin

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/internal/backoff"
)

// maxMutes is how often a slave may say nothing where others refuse, in one table,
// before no more is asked of it.
const maxMutes = 5

// busyTries is how often a slave that is busy is asked again.
const busyTries = 3

// registers looks for the runs of addresses that the slave answers for.
func (s *scan) registers(ctx context.Context, slave *ScannedSlave) error {
	for _, table := range s.Tables {
		l := &looking{scan: s, slave: slave, table: table, patience: max(s.Timeout, 3*slave.Took)}
		err := l.look(ctx)
		slave.Runs = append(slave.Runs, l.runs...)
		if err != nil {
			slave.Partial = "it was ended before"
			return err
		}
		if l.mutes >= maxMutes {
			slave.Partial = fmt.Sprintf("where it has no %s registers, it says nothing, or nothing that can be understood: not all were asked for", table)
		}
	}
	return nil
}

// looking is the search through one table of one slave.
type looking struct {
	*scan
	slave    *ScannedSlave
	table    Table
	patience time.Duration
	mutes    int
	none     bool // the slave does not have the table
	runs     []ScannedRun
}

// look tries every so many addresses. Where something answers, it finds out how far
// the run goes in both directions: by halving, because a slave refuses all of a
// request that leaves its registers.
func (l *looking) look(ctx context.Context) error {
	for at := int(l.From); at <= int(l.To) && !l.done(); {
		n, err := l.forward(ctx, at)
		if err != nil {
			return err
		}
		if n == 0 {
			at = l.next(at)
			continue
		}
		if err := l.backward(ctx, at); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// done says whether there is no sense in asking more.
func (l *looking) done() bool { return l.none || l.mutes >= maxMutes }

// next is where to look after an address that is not answered for. Many manuals
// count from 1, so the second address is one to look at.
func (l *looking) next(at int) int {
	if at == int(l.From) {
		return at + 1
	}
	return (at/l.Step + 1) * l.Step
}

// most is how many elements are read at once. Some slaves do not take more than
// this, and bits are no more interesting.
func (l *looking) most(at int) int { return min(MaxRegisters, int(l.To)+1-at) }

// forward reads as much as goes from an address on, and returns how many elements
// those are.
func (l *looking) forward(ctx context.Context, at int) (int, error) {
	least := 0
	var values []uint16
	for n := 1; n <= min(2, l.most(at)); n++ { // some refuse half of a number
		v, err := l.read(ctx, at, n)
		if err != nil {
			return 0, err
		}
		if v != nil {
			least, values = n, v
			break
		}
		if l.done() {
			return 0, nil
		}
	}
	if least == 0 {
		return 0, nil
	}
	low, high := least, l.most(at)+1 // low is answered, high is not
	for next := high - 1; low+1 < high && !l.done(); next = (low + high) / 2 {
		v, err := l.read(ctx, at, next)
		if err != nil {
			return 0, err
		}
		if v != nil {
			low, values = next, v
		} else {
			high = next
		}
	}
	l.add(at, low, values)
	return low, nil
}

// backward finds out where the run that was found last really begins: before the
// address that was tried.
func (l *looking) backward(ctx context.Context, at int) error {
	before := int(l.From) - 1
	if n := len(l.runs); n > 1 {
		before = int(l.runs[n-2].Last)
	}
	run := &l.runs[len(l.runs)-1]
	if int(run.First) != at {
		return nil // it goes on where the last one ended
	}
	low, high := 0, min(at-before, l.Step) // low more are answered for, high are not
	for next := min(1, high-1); low+1 < high && !l.done(); next = (low + high) / 2 {
		v, err := l.read(ctx, at-next, next+1)
		if err != nil {
			return err
		}
		if v == nil {
			high = next
			continue
		}
		all := append(v[:next-low], run.Values...)
		low, run.First, run.Values = next, uint16(at-next), all[:min(len(all), shownValues)]
	}
	if n := len(l.runs); n > 1 && l.runs[n-2].Last+1 == run.First {
		l.runs[n-2].Last = run.Last
		l.runs = l.runs[:n-1]
	}
	return nil
}

func (l *looking) add(at, n int, values []uint16) {
	last := uint16(at + n - 1)
	if i := len(l.runs) - 1; i >= 0 && int(l.runs[i].Last)+1 == at {
		l.runs[i].Last = last
		return
	}
	l.runs = append(l.runs, ScannedRun{Span{l.table, uint16(at), last}, values[:min(len(values), shownValues)]})
}

// read returns the values of n elements, nil if they are not answered for. The
// error ends the scan.
func (l *looking) read(ctx context.Context, at, n int) ([]uint16, error) {
	r := request{l.table, uint16(at), uint16(n)}
	for range busyTries {
		wait := leastBusy
		data, err := l.ask(ctx, l.slave.Unit, r, l.patience)
		fault, missed := err.(Fault)
		exception, refused := err.(Exception)
		switch {
		case err == nil:
			return valuesOf(r, data), nil
		case refused && exception != DeviceBusy && exception != Acknowledge:
			l.none = l.none || exception == IllegalFunction
			return nil, nil
		case missed:
			wait = l.patience // a late answer would look like that to the next question
		case !refused:
			return nil, err
		}
		if err := backoff.Sleep(ctx, wait, nil); err != nil {
			return nil, err
		}
		if missed && fault == NoAnswer {
			break
		}
	}
	l.mutes++
	return nil, nil
}

// valuesOf returns what an answer says.
func valuesOf(r request, data []byte) []uint16 {
	all := make([]uint16, r.count)
	for i := range all {
		if r.table.Bits() {
			all[i] = uint16(data[i/8] >> (i % 8) & 1)
		} else {
			all[i] = binary.BigEndian.Uint16(data[2*i:])
		}
	}
	return all
}
