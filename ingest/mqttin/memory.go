package mqttin

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

// memory is what the broker notes with custody, so that it is there after a
// crash. Each note has a key under notePrefix:
//
//	s/<session>             a session: who, for how long, will, subscriptions
//	m/<message>             a message that somebody has not acknowledged
//	q/<session>/<message>   the copy of it for one session: identifier, state
//	i/<session>/<id>        a QoS 2 publish that was received and not released
//	r/<topic>               a retained message
//
// Sessions and messages are numbered with the same numbers, which are never used
// again. A note that belongs to nothing is forgotten at the next start.
type memory struct {
	intake *ingest.Intake
	next   atomic.Uint64 // the number used last

	flushing sync.Mutex // held by flush

	mu      sync.Mutex
	waiting []reading.Note   // nobody waits for them: they go with the next others
	open    []ingest.Receipt // of notes
	stale   bool
	roused  chan<- struct{} // told when there is something to tend
}

const notePrefix = "mqtt/"

const (
	sessionNotes  = notePrefix + "s/"
	messageNotes  = notePrefix + "m/"
	copyNotes     = notePrefix + "q/"
	arrivalNotes  = notePrefix + "i/"
	retainedNotes = notePrefix + "r/"
)

func hex(n uint64) string { return strconv.FormatUint(n, 16) }

func sessionKey(number uint64) string       { return sessionNotes + hex(number) }
func messageKey(number uint64) string       { return messageNotes + hex(number) }
func copyKey(session, number uint64) string { return copyNotes + hex(session) + "/" + hex(number) }

func arrivalKey(session uint64, id uint16) string {
	return arrivalNotes + hex(session) + "/" + hex(uint64(id))
}

func retainedKey(topic string) string { return retainedNotes + topic }

// parseKey returns the numbers in what follows the prefix of a key.
func parseKey(key string) (first, second uint64, ok bool) {
	head, tail, two := strings.Cut(key, "/")
	first, err := strconv.ParseUint(head, 16, 64)
	if two && err == nil {
		second, err = strconv.ParseUint(tail, 16, 64)
	}
	return first, second, err == nil && max(first, second) < 1<<62
}

// number returns a number that was never used before.
func (m *memory) number() uint64 { return m.next.Add(1) }

// accept is acceptBy of notes alone.
func (m *memory) accept(ctx context.Context, notes ...reading.Note) (ingest.Receipt, error) {
	return m.acceptBy(ctx, m.intake, nil, notes...)
}

// acceptBy hands readings and notes to custody, for one commit, and with them what
// waited for company. The receipt is nil when there was nothing to keep.
func (m *memory) acceptBy(ctx context.Context, intake *ingest.Intake, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	if len(rs)+len(notes) == 0 && !intake.Owes() {
		return nil, nil
	}
	return m.hand(ctx, intake, rs, notes)
}

func (m *memory) hand(ctx context.Context, intake *ingest.Intake, rs []reading.Reading, notes []reading.Note) (ingest.Receipt, error) {
	waiting := m.company(notes)
	notes = append(slices.Clip(waiting), notes...) // of two with one key the last is written
	receipt, err := intake.Accept(ctx, rs, notes...)
	if err != nil {
		m.again(waiting)
		return nil, err
	}
	if len(notes) > 0 {
		m.watch(receipt)
	}
	return receipt, nil
}

// maxCompany is how many notes go with others: custody bounds what it is handed
// at once, and refuses all of it if that is too much.
const maxCompany = 1000

// company takes out some of what waits. What goes on waiting behind it must not be
// written after the newer notes that it is company for.
func (m *memory) company(newer []reading.Note) []reading.Note {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min(len(m.waiting), maxCompany)
	taken := m.waiting[:n]
	m.waiting = slices.DeleteFunc(m.waiting[n:], func(w reading.Note) bool {
		return slices.ContainsFunc(newer, func(n reading.Note) bool { return n.Key == w.Key })
	})
	if len(m.waiting) == 0 {
		m.waiting = nil
	}
	return taken
}

// again puts back what custody did not take, before what has come since.
func (m *memory) again(notes []reading.Note) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = slices.Concat(notes, m.waiting)
	signal(m.roused)
}

func (m *memory) waits() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.waiting) > 0
}

// later notes what nobody waits for: it goes with whatever is noted next, or
// within a second.
func (m *memory) later(notes ...reading.Note) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = append(m.waiting, notes...)
	signal(m.roused)
}

// flush notes what has waited for company. What another flush has taken out is with
// custody as well when it returns.
func (m *memory) flush(ctx context.Context) error {
	m.flushing.Lock()
	defer m.flushing.Unlock()
	for m.waits() {
		if _, err := m.hand(ctx, m.intake, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// watch remembers a receipt of notes, to learn whether it fails.
func (m *memory) watch(r ingest.Receipt) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.open); n == 0 || m.open[n-1] != r {
		m.open = append(m.open, r)
		signal(m.roused)
	}
}

// isBusy says whether something waits, or is not known to be on flash.
func (m *memory) isBusy() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.waiting)+len(m.open) > 0 || m.stale
}

// isStale says whether a commit of notes has failed: what is noted may then
// differ from what is so.
func (m *memory) isStale() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.open[:0]
	for _, r := range m.open {
		switch state(r) {
		case unresolved:
			kept = append(kept, r)
		case notOnFlash:
			m.stale = true
		}
	}
	m.open = kept
	return m.stale
}

// fresh says that what is noted is so again, if no commit fails from now on.
func (m *memory) fresh() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stale = false
}

// fate is what has become of a receipt.
type fate uint8

const (
	unresolved fate = iota
	onFlash
	notOnFlash
)

// state looks at a receipt without waiting for it. A nil one has resolved.
func state(r ingest.Receipt) fate {
	if r == nil {
		return onFlash
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	switch err := r.Wait(over); err {
	case nil:
		return onFlash
	case over.Err():
		return unresolved
	}
	return notOnFlash
}
