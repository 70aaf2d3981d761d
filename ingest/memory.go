package ingest

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tidegate/tidegate/reading"
)

// memoryPrefix begins the keys of the notes that a Memory is kept in.
const memoryPrefix = "announced/"

// The bounds of a Memory. Beyond them, what is new is not remembered, and
// counted.
const (
	MaxMemoryEntries = 1 << 16
	MaxMemoryBytes   = 8 << 20
	// MaxTopicUnits is how many units one topic may have: a new one costs a copy
	// of them all.
	MaxTopicUnits = 1 << 10
	// memoryOverhead is about what an entry costs beside its bytes.
	memoryOverhead = 128
)

// Memory is what devices have announced about themselves, once for all: an
// implementation of decode.Memory whose entries are notes, so that they survive
// restarts. Each is carried to custody by the next Accept of any Intake, at the
// latest by that of the payload that it came in, and until it is on flash the
// receipts of all others stand for it, too: so whoever is told that an
// announcement was taken can rely on it, also when it was known already.
type Memory struct {
	// owed counts what is pending and the flights. It is one number, so that
	// nobody finds nothing while the one becomes the other.
	owed atomic.Int64

	carrying chan struct{} // holds one while custody is given what is fresh
	joints   joints

	mu      sync.RWMutex
	entries map[string][]byte
	units   map[string]map[string]string // by topic and metric; never changed, only replaced
	pending map[string]bool              // keys of fresh entries, and of those that are no more
	flights []flight
	bytes   int
	refused uint64
}

// flight is what custody has taken and not said yet to be on flash.
type flight struct {
	receipt Receipt
	keys    map[string]bool
}

// NewMemory returns a memory that remembers nothing yet.
func NewMemory() *Memory {
	return &Memory{
		entries: map[string][]byte{}, pending: map[string]bool{}, units: map[string]map[string]string{},
		carrying: make(chan struct{}, 1),
	}
}

// Load remembers what custody has from earlier lives. It must be called before
// the doors open.
func (m *Memory) Load(ctx context.Context, custody Custody) error {
	return custody.Notes(ctx, memoryPrefix, func(n reading.Note) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.put(strings.TrimPrefix(n.Key, memoryPrefix), bytes.Clone(n.Value))
		return nil
	})
}

// Recall implements decode.Memory.
func (m *Memory) Recall(key string) []byte {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.entries[key]
}

// Len returns how many entries there are.
func (m *Memory) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.entries)
}

// Refused returns how many announcements found no room.
func (m *Memory) Refused() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.refused
}

// Remember implements decode.Memory. What is known already costs nothing.
func (m *Memory) Remember(key string, value []byte) {
	if known := m.Recall(key); bytes.Equal(known, value) && (known == nil) == (value == nil) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.pending[key] && len(m.pending) >= maxPending || !m.put(key, value) {
		m.refused++
		return
	}
	m.pending[key] = true
	m.count()
}

// maxPending bounds what waits to be carried: all entries, and as many that were
// withdrawn while custody took nothing.
const maxPending = 2 * MaxMemoryEntries

// unitPrefix begins the keys of units. The topic and the metric follow, with a
// NUL between them, which no topic has.
const unitPrefix = "unit/"

// Units implements decode.Memory.
func (m *Memory) Units(topic string) map[string]string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.units[topic]
}

// RememberUnit implements decode.Memory.
func (m *Memory) RememberUnit(topic, metric, unit string) {
	var value []byte
	if unit != "" {
		value = []byte(unit)
	}
	m.Remember(unitPrefix+topic+"\x00"+metric, value)
}

// parseUnit returns of whose unit an entry with that key is, if it is one.
func parseUnit(key string) (topic, metric string, ok bool) {
	name, isUnit := strings.CutPrefix(key, unitPrefix)
	topic, metric, whole := strings.Cut(name, "\x00")
	return topic, metric, isUnit && whole
}

// crowded reports whether there is no room for an entry that is not known, for
// being one of too many units.
func (m *Memory) crowded(key string) bool {
	topic, _, isUnit := parseUnit(key)
	return isUnit && len(m.units[topic]) >= MaxTopicUnits
}

// putUnit makes units agree with an entry, if it is a unit.
func (m *Memory) putUnit(key string, unit []byte) {
	topic, metric, isUnit := parseUnit(key)
	if !isUnit {
		return
	}
	after := maps.Clone(m.units[topic])
	if after == nil {
		after = map[string]string{}
	}
	if after[metric] = string(unit); unit == nil {
		delete(after, metric)
	}
	if m.units[topic] = after; len(after) == 0 {
		delete(m.units, topic)
	}
}

// put returns false if there is no room. What was there before stays then.
func (m *Memory) put(key string, value []byte) bool {
	old, known := m.entries[key]
	after := m.bytes
	if known {
		after -= len(key) + len(old) + memoryOverhead
	}
	if value == nil {
		m.bytes = after
		delete(m.entries, key)
		m.putUnit(key, nil)
		return true
	}
	after += len(key) + len(value) + memoryOverhead
	entries := len(m.entries)
	if !known {
		entries++
	}
	tooLong := len(memoryPrefix)+len(key) > reading.MaxNoteKey || len(value) > reading.MaxNoteValue
	if tooLong || after > MaxMemoryBytes || entries > MaxMemoryEntries || !known && m.crowded(key) {
		return false
	}
	m.entries[key], m.bytes = value, after
	m.putUnit(key, value)
	return true
}

// owes reports whether there is something that is not on flash.
func (m *Memory) owes() bool {
	if m.owed.Load() == 0 {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.land()
	return m.owed.Load() > 0
}

// land looks what has become of the flights. What was in one that failed is fresh
// again, at the same moment for everybody. m.mu must be held.
func (m *Memory) land() {
	if len(m.flights) == 0 {
		return
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	m.flights = slices.DeleteFunc(m.flights, func(f flight) bool {
		err := f.receipt.Wait(over)
		if err == over.Err() {
			return false
		}
		if err != nil {
			maps.Copy(m.pending, f.keys)
		}
		return true
	})
	m.count()
}

func (m *Memory) count() { m.owed.Store(int64(len(m.pending) + len(m.flights))) }

// open returns the receipts of what is under way, and whether there is more that
// nobody has carried yet.
func (m *Memory) open() (receipts []Receipt, fresh bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.land()
	for _, f := range m.flights {
		receipts = append(receipts, f.receipt)
	}
	return receipts, len(m.pending) > 0
}

// carry hands what is fresh to custody, and returns the receipts that stand for
// everything that was announced and is not on flash. One call at a time does so,
// and what is fresh stays so until it was taken: hence nobody acknowledges an
// announcement that another call is still carrying.
func (m *Memory) carry(ctx context.Context, custody Custody) ([]Receipt, error) {
	receipts, fresh := m.open()
	if !fresh {
		return receipts, nil
	}
	select {
	case m.carrying <- struct{}{}:
		defer func() { <-m.carrying }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	receipts, fresh = m.open()
	for fresh {
		var notes []reading.Note
		notes, fresh = m.some()
		receipt, err := custody.Accept(ctx, nil, notes...)
		if err != nil {
			return nil, err
		}
		m.carried(notes, receipt)
		receipts = union(receipts, []Receipt{receipt})
	}
	return receipts, nil
}

// maxCarried and maxCarriedBytes bound what is carried at once: custody refuses
// too much of it.
const (
	maxCarried      = 1000
	maxCarriedBytes = 256 << 10
)

// some returns fresh entries as notes, and whether there are more.
func (m *Memory) some() (notes []reading.Note, more bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	size := 0
	for key := range m.pending {
		if len(notes) == maxCarried || size > maxCarriedBytes {
			return notes, true
		}
		notes = append(notes, reading.Note{Key: memoryPrefix + key, Value: m.entries[key]})
		size += len(key) + len(m.entries[key])
	}
	return notes, false
}

// carried takes note that custody has the entries, unless they have changed
// meanwhile.
func (m *Memory) carried(notes []reading.Note, receipt Receipt) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := slices.IndexFunc(m.flights, func(f flight) bool { return f.receipt == receipt })
	if at < 0 {
		at = len(m.flights)
		m.flights = append(m.flights, flight{receipt, map[string]bool{}})
	}
	for _, n := range notes {
		key := strings.TrimPrefix(n.Key, memoryPrefix)
		m.flights[at].keys[key] = true
		if now, known := m.entries[key]; bytes.Equal(now, n.Value) && known == (n.Value != nil) {
			delete(m.pending, key)
		}
	}
	m.count()
}
