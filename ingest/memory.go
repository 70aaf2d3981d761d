package ingest

import (
	"bytes"
	"context"
	"maps"
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
	// memoryOverhead is about what an entry costs beside its bytes.
	memoryOverhead = 128
)

// Memory is what devices have announced about themselves, once for all: an
// implementation of decode.Memory whose entries are notes, so that they survive
// restarts. Each is carried to custody by the next Accept of any Intake, at the
// latest by that of the payload that it came in: so whoever is told that an
// announcement was taken can rely on it.
type Memory struct {
	// fresh counts the entries that custody does not have.
	fresh atomic.Int64

	carrying sync.Mutex // held while custody is given what is fresh
	carries  watch

	mu      sync.RWMutex
	entries map[string][]byte
	units   map[string]map[string]string // by topic and metric; never changed, only replaced
	pending map[string]bool              // keys of fresh entries
	bytes   int
	refused uint64
}

// NewMemory returns a memory that remembers nothing yet.
func NewMemory() *Memory {
	return &Memory{entries: map[string][]byte{}, pending: map[string]bool{}, units: map[string]map[string]string{}}
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
	if !m.put(key, value) {
		m.refused++
		return
	}
	m.pending[key] = true
	m.fresh.Store(int64(len(m.pending)))
}

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

// putUnit makes units agree with an entry, if it is a unit.
func (m *Memory) putUnit(key string, unit []byte) {
	name, isUnit := strings.CutPrefix(key, unitPrefix)
	topic, metric, whole := strings.Cut(name, "\x00")
	if !isUnit || !whole {
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
	if tooLong || after > MaxMemoryBytes || entries > MaxMemoryEntries {
		return false
	}
	m.entries[key], m.bytes = value, after
	m.putUnit(key, value)
	return true
}

// owes reports whether there is something that custody does not have. After a
// commit that failed it is not known what was in it, so that is everything.
func (m *Memory) owes() bool {
	if m.carries.failed() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for key := range m.entries {
			m.pending[key] = true
		}
		m.fresh.Store(int64(len(m.pending)))
	}
	return m.fresh.Load() > 0
}

// carry hands what is fresh to custody, with the readings and the other notes.
// One call at a time does so, and what is fresh stays so until it was taken:
// hence nobody acknowledges an announcement that another call is still carrying.
func (m *Memory) carry(ctx context.Context, custody Custody, rs []reading.Reading, notes []reading.Note) (Receipt, error) {
	m.carrying.Lock()
	defer m.carrying.Unlock()
	for {
		fresh, last := m.some()
		var receipt Receipt
		var err error
		if last {
			receipt, err = custody.Accept(ctx, rs, append(notes, fresh...)...)
		} else {
			receipt, err = custody.Accept(ctx, nil, fresh...)
		}
		if err != nil {
			return nil, err
		}
		m.carried(fresh)
		m.carries.add(receipt)
		if last {
			return receipt, nil
		}
	}
}

// maxCarried and maxCarriedBytes bound what is carried at once: custody refuses
// too much of it.
const (
	maxCarried      = 1000
	maxCarriedBytes = 256 << 10
)

// some returns fresh entries as notes, and whether these are all.
func (m *Memory) some() (notes []reading.Note, all bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	size := 0
	for key := range m.pending {
		notes = append(notes, reading.Note{Key: memoryPrefix + key, Value: m.entries[key]})
		size += len(key) + len(m.entries[key])
		if len(notes) == maxCarried || size > maxCarriedBytes {
			return notes, false
		}
	}
	return notes, true
}

// carried takes note that custody has the entries, unless they have changed
// meanwhile.
func (m *Memory) carried(notes []reading.Note) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range notes {
		key := strings.TrimPrefix(n.Key, memoryPrefix)
		if now, known := m.entries[key]; bytes.Equal(now, n.Value) && known == (n.Value != nil) {
			delete(m.pending, key)
		}
	}
	m.fresh.Store(int64(len(m.pending)))
}
