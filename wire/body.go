package wire

import (
	"cmp"
	"encoding/binary"
)

// The sections of a body, in the order in which they are written.

// appendNameTables writes the devices, and the fields as metrics and units.
// Both are sorted, so names are front-coded and a device follows its
// predecessor.
func (e *Encoder) appendNameTables() {
	names := e.strings[:0]
	for i := range e.groups {
		g := &e.groups[i]
		if i == 0 || g.device != e.groups[i-1].device {
			names = append(names, g.device)
		}
		g.deviceID = int32(len(names) - 1)
	}
	e.body = appendNames(e.body, names)

	names = names[:0]
	for _, f := range e.fields {
		names = append(names, f.metric)
	}
	e.body = appendNames(e.body, names)

	units, unitIDs := names[:0], map[string]int{"": 0}
	for _, f := range e.fields {
		if _, ok := unitIDs[f.unit]; !ok {
			unitIDs[f.unit] = len(unitIDs)
			units = append(units, f.unit)
		}
	}
	e.body = appendNames(e.body, units)
	for _, f := range e.fields {
		e.body = binary.AppendUvarint(e.body, uint64(unitIDs[f.unit]))
	}
	clear(names[:cap(names)])
	e.strings = names
}

// appendGroups writes the shapes, then device, shape and number of rows of each
// group, column by column.
func (e *Encoder) appendGroups() {
	b := binary.AppendUvarint(e.body, uint64(len(e.shapes)))
	for _, s := range e.shapes {
		b = binary.AppendUvarint(b, uint64(len(s.fields)))
		for _, f := range s.fields {
			b = binary.AppendUvarint(b, uint64(f))
		}
	}
	b = binary.AppendUvarint(b, uint64(len(e.groups)))
	prev := int32(0)
	for i := range e.groups {
		b = append(b, byte(e.groups[i].deviceID-prev)) // 0 or 1: sorted, and none is left out
		prev = e.groups[i].deviceID
	}
	for i := range e.groups {
		b = binary.AppendUvarint(b, uint64(e.groups[i].shape))
	}
	for i := range e.groups {
		b = binary.AppendUvarint(b, uint64(e.groups[i].rows))
	}
	e.body = b
}

// appendParts writes which merged block each row came in. Together with the
// canonical order that gives every reading its own sequence number back.
func (e *Encoder) appendParts(parts []int) {
	b := binary.AppendUvarint(e.body, uint64(len(parts)))
	for _, n := range parts {
		b = binary.AppendUvarint(b, uint64(n))
	}
	e.eachRow(func(r *row, prev *row) {
		if prev == nil {
			b = binary.AppendUvarint(b, uint64(r.part))
		} else {
			b = binary.AppendUvarint(b, uint64(r.part-prev.part))
		}
	})
	e.body = b
}

// eachRow visits the rows in order of their groups; prev is the row before in
// the same group, nil for the first.
func (e *Encoder) eachRow(visit func(r, prev *row)) {
	var prev *row
	for _, i := range e.order {
		r := &e.rows[i]
		if prev != nil && prev.group != r.group {
			prev = nil
		}
		visit(r, prev)
		prev = r
	}
}

// timeUnits are the powers of ten of nanoseconds that times may be counted in.
var timeUnits = [...]int64{1e9, 1e6, 1e3, 1}

// appendTimes writes the times since base as deltas of deltas in the coarsest
// unit that all of them are multiples of. A group continues with the interval
// of the group before: devices of a fleet share their period.
func (e *Encoder) appendTimes(base int64) {
	unit := 0
	for i := range e.rows {
		for (e.rows[i].time-base)%timeUnits[unit] != 0 {
			unit++
		}
	}
	b := append(e.body, byte(unit))
	div := timeUnits[unit]
	var head, last, delta int64 // first time of the group before; last time; last interval
	e.eachRow(func(r, prev *row) {
		t := (r.time - base) / div
		if prev == nil {
			b = binary.AppendVarint(b, t-head)
			head = t
		} else {
			b = binary.AppendVarint(b, t-last-delta)
			delta = t - last
		}
		last = t
	})
	e.body = b
}

// appendFlags writes the flags: once where all rows have the same.
func (e *Encoder) appendFlags() {
	for i := range e.rows {
		if e.rows[i].flags != e.rows[0].flags {
			b := append(e.body, 1)
			e.eachRow(func(r, _ *row) { b = append(b, byte(r.flags)) })
			e.body = b
			return
		}
	}
	e.body = append(e.body, 0, byte(e.rows[0].flags))
}

// appendColumns writes a column for every field of every shape, over all rows
// that have the shape.
func (e *Encoder) appendColumns() {
	at := int32(0)
	for i := range e.groups {
		e.groups[i].at = at
		at += e.groups[i].rows
	}
	byShape := e.sortedIDs(len(e.groups), func(a, b int32) int {
		return cmp.Or(cmp.Compare(e.groups[a].shape, e.groups[b].shape), cmp.Compare(a, b))
	})
	for s := range e.shapes {
		n := 0
		for n < len(byShape) && e.groups[byShape[n]].shape == int32(s) {
			n++
		}
		for f := range e.shapes[s].fields {
			e.appendColumn(f, byShape[:n])
		}
		byShape = byShape[n:]
	}
}

// appendColumn writes the values of field f of the groups, which have one shape.
func (e *Encoder) appendColumn(f int, groups []int32) {
	e.column.reset()
	for _, id := range groups {
		g := &e.groups[id]
		for i, r := range e.order[g.at : g.at+g.rows] {
			e.column.add(&e.rs[int(e.rows[r].start)+f].Value, i == 0)
		}
	}
	e.body = e.column.append(e.body)
}
