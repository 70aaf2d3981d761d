package ingest

import (
	"bytes"
	"context"
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

	mu      sync.RWMutex
	entries map[string][]byte
	pending map[string]bool // keys of fresh entries
	bytes   int
	refused uint64
}

// NewMemory returns a memory that remembers nothing yet.
func NewMemory() *Memory {
	return &Memory{entries: map[string][]byte{}, pending: map[string]bool{}}
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
	return true
}

// Doubt makes custody take all entries again, after a commit that failed: it is
// not known which of them were in it.
func (m *Memory) Doubt() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.entries {
		m.pending[key] = true
	}
	m.fresh.Store(int64(len(m.pending)))
}

// carry hands what is fresh to custody, with the readings and the other notes.
// One call at a time does so, and what is fresh stays so until it was taken:
// hence nobody acknowledges an announcement that another call is still carrying.
func (m *Memory) carry(ctx context.Context, custody Custody, rs []reading.Reading, notes []reading.Note) (Receipt, error) {
	m.carrying.Lock()
	defer m.carrying.Unlock()
	fresh := m.notes()
	receipt, err := custody.Accept(ctx, rs, append(notes, fresh...)...)
	if err == nil {
		m.carried(fresh)
	}
	return receipt, err
}

func (m *Memory) notes() []reading.Note {
	m.mu.RLock()
	defer m.mu.RUnlock()
	fresh := make([]reading.Note, 0, len(m.pending))
	for key := range m.pending {
		fresh = append(fresh, reading.Note{Key: memoryPrefix + key, Value: m.entries[key]})
	}
	return fresh
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
