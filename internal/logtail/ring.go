package logtail

import (
	"log/slog"
	"slices"
)

// ring holds the last records.
type ring struct {
	records, bytes int // at the most
	all            []Record
	size           int
	gone           uint64 // number of the last record that made room
}

// overhead is what a record takes beside its texts.
const overhead = 96

func (r Record) size() int { return overhead + len(r.Text) + len(r.About) }

func (r *ring) add(one Record) {
	r.all = append(r.all, one)
	r.size += one.size()
	drop := 0
	for len(r.all)-drop > r.records || r.size > r.bytes {
		r.size -= r.all[drop].size()
		r.gone = r.all[drop].N
		drop++
	}
	r.all = slices.Delete(r.all, 0, drop)
}

// after returns the records behind number n.
func (r *ring) after(n uint64) []Record {
	from, _ := slices.BinarySearchFunc(r.all, n+1, func(one Record, n uint64) int {
		switch {
		case one.N < n:
			return -1
		case one.N > n:
			return 1
		}
		return 0
	})
	return r.all[from:]
}

// Part is what a reader gets at once.
type Part struct {
	// Records are in order, the oldest first.
	Records []Record
	// Place is the number to go on behind.
	Place uint64
	// Missed says that some have made room before they were read.
	Missed bool
	// Changed is closed when there are more.
	Changed <-chan struct{}
}

// After returns the records behind number n that have the level or a higher one. A
// number that is yet to come is of another life, and stands for the beginning.
func (m *memory) After(n uint64, least slog.Level) Part {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n > m.last {
		n = 0
	}
	usual, debug := m.usual.after(n), m.debug.after(n)
	if least >= slog.LevelInfo {
		debug = nil
	}
	p := Part{Place: m.last, Changed: m.changed}
	p.Missed = n > 0 && (m.usual.gone > n || least < slog.LevelInfo && m.debug.gone > n)
	for len(usual)+len(debug) > 0 {
		from := &usual
		if len(usual) == 0 || len(debug) > 0 && debug[0].N < usual[0].N {
			from = &debug
		}
		if (*from)[0].level >= least {
			p.Records = append(p.Records, (*from)[0])
		}
		*from = (*from)[1:]
	}
	return p
}
