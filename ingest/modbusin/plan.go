package modbusin

import (
	"cmp"
	"slices"
	"time"

	"github.com/tidegate/tidegate/internal/inorder"
)

// Span is a run of addresses of one table, First and Last included.
type Span struct {
	Table       Table
	First, Last uint16
}

// batch is a request and the registers that its answer holds.
type batch struct {
	request
	items []item
	// halves is how often the request that this one came of was refused and
	// halved.
	halves int
}

// item is a register within a plan. It is a copy of what decoding needs, so
// that a batch is one run of memory.
type item struct {
	span
	index int // of the register in Slave.Registers
}

// span is where a register lies: count elements of its table.
type span struct {
	table   Table
	address uint16
	count   uint16
}

func (s span) end() int { return int(s.address) + int(s.count) }

// limits bound the requests of a slave.
type limits struct {
	gap       int // elements that may be read in vain between two registers
	registers int
	bits      int
	never     []Span
}

func (l limits) most(t Table) int {
	if t.Bits() {
		return l.bits
	}
	return l.registers
}

// plan groups registers into as few requests as the limits allow: going through
// them by address, each joins the request before it if it can. items is sorted.
func plan(items []item, l limits) []batch {
	inorder.Sort(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.table, b.table), cmp.Compare(a.address, b.address), cmp.Compare(a.count, b.count))
	})
	var all []batch
	for i, it := range items {
		if n := len(all); n > 0 && l.joins(all[n-1], it) {
			last := &all[n-1]
			last.count = uint16(max(last.end(), it.end()) - int(last.address))
			last.items = last.items[:len(last.items)+1] // the next in items
			continue
		}
		all = append(all, batch{request: request(it.span), items: items[i : i+1]})
	}
	return all
}

// joins says whether the item can be read with the batch before it.
func (l limits) joins(b batch, it item) bool {
	if b.table != it.table || int(it.address) > b.end()+l.gap {
		return false
	}
	if max(b.end(), it.end())-int(b.address) > l.most(it.table) {
		return false
	}
	for _, n := range l.never { // what lies between the two must not be read
		if n.Table == it.table && int(n.First) < int(it.address) && int(n.Last) >= b.end() {
			return false
		}
	}
	return true
}

// halve splits a batch of several registers in the middle.
func (b batch) halve() (low, high batch) {
	middle := len(b.items) / 2
	return b.part(b.items[:middle]), b.part(b.items[middle:])
}

func (b batch) part(items []item) batch {
	p := batch{request: request(items[0].span), items: items, halves: b.halves + 1}
	for _, it := range items[1:] {
		p.count = uint16(max(p.end(), it.end()) - int(p.address))
	}
	return p
}

// divisible says whether the batch has registers in more than one place.
func (b batch) divisible() bool {
	return len(b.items) > 1 && b.items[0].span != b.items[len(b.items)-1].span
}

// join puts together what was halved in search of bad registers, as far as
// nothing lies between the pieces. Pieces of what was halved again after it had
// been joined stay as they are: the slave refuses them together and nobody knows
// why.
func join(pieces []batch, l limits) []batch {
	inorder.Sort(pieces, func(a, b batch) int {
		return cmp.Or(cmp.Compare(a.table, b.table), cmp.Compare(a.address, b.address))
	})
	var all []batch
	l.gap = 0
	for _, p := range pieces {
		if n := len(all); n > 0 && all[n-1].joinable() && p.joinable() && l.joins(all[n-1], item{span: span(p.request)}) {
			last := &all[n-1]
			last.count = uint16(max(last.end(), p.end()) - int(last.address))
			last.items = slices.Concat(last.items, p.items)
			last.halves = joined
			continue
		}
		all = append(all, p)
	}
	return all
}

// joined is the halves of a batch that was joined once.
const joined = 1 << 8

func (b batch) joinable() bool { return b.halves <= joined }

// Plan is what a slave will be asked.
type Plan struct {
	// Requests are sent in each Every, for Registers registers of the map.
	Every               time.Duration
	Requests, Registers int
	// Elements are read with them, those in gaps included.
	Elements int
}

// Plans returns what the slave will be asked, the shortest interval first.
func (s Slave) Plans() []Plan {
	var all []Plan
	for _, p := range s.polls() {
		summary := Plan{Every: p.every, Requests: len(p.plan)}
		for _, b := range p.plan {
			summary.Registers += len(b.items)
			summary.Elements += int(b.count)
		}
		all = append(all, summary)
	}
	return all
}

// polls plans the registers of each interval for itself.
func (s Slave) polls() []*poll {
	byEvery := make(map[time.Duration][]item)
	for i, r := range s.Registers {
		every := cmp.Or(r.Every, s.Every)
		byEvery[every] = append(byEvery[every], item{r.span(), i})
	}
	var all []*poll
	for every, items := range byEvery {
		all = append(all, &poll{every: every, plan: plan(items, s.limits())})
	}
	inorder.Sort(all, func(a, b *poll) int { return cmp.Compare(a.every, b.every) })
	return all
}

func (s Slave) limits() limits {
	return limits{
		gap:       s.Gap,
		registers: cmp.Or(s.MaxRegisters, MaxRegisters),
		bits:      cmp.Or(s.MaxBits, MaxBits),
		never:     s.NeverRead,
	}
}
