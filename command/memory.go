package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/internal/inorder"
	"github.com/tidegate/tidegate/reading"
)

// notePrefix begins the keys of the notes that IDs are remembered in.
const notePrefix = "command/id/"

// memory is what is known of commands that were published, by ID. Desk.mu guards
// it. Each is a note, too.
type memory struct {
	entries map[string]*entry
	forget  []string // keys of notes that go with the next ones
}

// record is what is noted of a command.
type record struct {
	ID string `json:"-"` // stands in the key
	// Version is 0, and larger where a later version of the program gives the rest
	// another meaning.
	Version int    `json:"v,omitempty"`
	Courier string `json:"courier"`
	Sender  string `json:"sender,omitempty"`
	ReplyTo string `json:"reply_to,omitempty"`
	Reply   bool   `json:"reply,omitempty"`
	Topic   string `json:"topic"`
	QoS     byte   `json:"qos"`
	Sum     string `json:"sum"`
	State   State  `json:"state"`
	// Receivers may be unknown, which is many.
	Receivers int `json:"receivers"`

	// What is left of its time, and of that for which it is remembered, in seconds,
	// and when that was: the boot, its uptime, and the wall clock's seconds, zero
	// when it could not be believed.
	Left, Keep   int64 `json:",omitempty"`
	Boot, Uptime uint32
	Wall         int64 `json:",omitempty"`
}

const unknown = -1

// entry is a command that was published, or is on its way to flash.
type entry struct {
	record
	expires, until time.Duration  // uptimes
	noted          bool           // it was read from flash
	receipt        ingest.Receipt // nil until it is published
	handed         bool           // Desk.handed has it
}

// fate is what has become of an entry's commit.
type fate uint8

const (
	underWay fate = iota
	onFlash
	lost
)

// fate looks, without waiting.
func (e *entry) fate() fate {
	switch {
	case e.noted:
		return onFlash
	case e.receipt == nil:
		return underWay
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	switch err := e.receipt.Wait(over); err {
	case nil:
		return onFlash
	case over.Err():
		return underWay
	}
	return lost
}

// note is what is noted of an entry now.
func (m *memory) note(e *entry, k Clock) reading.Note {
	now, r := k.Uptime(), e.record
	r.Left, r.Keep = seconds64(e.expires-now), seconds64(e.until-now)
	r.Boot, r.Uptime, r.Wall = k.Boot, uint32(now/time.Second), 0
	if k.Synced() {
		r.Wall = k.Now().Unix()
	}
	value, err := json.Marshal(r)
	if err != nil {
		value = []byte("{}") // a record can always be written
	}
	return reading.Note{Key: notePrefix + e.ID, Value: value}
}

// seconds64 rounds up: an ID is remembered for too long rather than not long
// enough.
func seconds64(d time.Duration) int64 {
	return int64((max(d, 0) + time.Second - 1) / time.Second)
}

// parseNote is the inverse of memory.note. What cannot be known, how long the machine
// was off, counts as no time at all.
func parseNote(n reading.Note, k Clock) (*entry, error) {
	id, ok := strings.CutPrefix(n.Key, notePrefix)
	e := &entry{noted: true}
	var of struct {
		Version int `json:"v"`
	}
	if json.Unmarshal(n.Value, &of) == nil && of.Version > 0 {
		return nil, errLater
	}
	if err := json.Unmarshal(n.Value, &e.record); err != nil {
		return nil, err
	}
	if !ok || id == "" || len(id) > maxID || e.Topic == "" || e.Left < 0 || e.Keep < 0 || max(e.Left, e.Keep) > maxNoted {
		return nil, errNote
	}
	e.ID = id
	now, passed := k.Uptime(), time.Duration(0)
	switch {
	case e.Boot == k.Boot:
		passed = max(0, now-time.Duration(e.Uptime)*time.Second)
	case e.Wall != 0 && k.Synced():
		passed = min(max(0, k.Now().Sub(time.Unix(e.Wall, 0))), maxNoted*time.Second)
	}
	e.expires = now - passed + time.Duration(e.Left)*time.Second
	e.until = now - passed + time.Duration(e.Keep)*time.Second
	return e, nil
}

// maxNoted is the longest time that is believed of a note, in seconds.
const maxNoted = 10 * 366 * 24 * 3600

var (
	errNote  = errors.New("note is damaged")
	errLater = errors.New("note is of a later version of the program")
	errFull  = errors.New("too many commands are known that have not expired — hint: let them expire sooner, or raise max_remembered")
)

// makeRoom forgets what need not be remembered any more, and what might be if
// there were room, for one more ID. It returns what takes that out of the notes.
func (m *memory) makeRoom(id string, most int, now time.Duration) (notes []reading.Note, err error) {
	var over []*entry
	for _, e := range m.entries {
		switch fate := e.fate(); {
		case fate == lost: // and whoever brought it has gone before that was known
			delete(m.entries, e.ID)
		case e.handed || fate == underWay:
		case e.until <= now:
			m.remove(e)
		case e.expires <= now:
			over = append(over, e)
		}
	}
	if excess := len(m.entries) - most + 1; excess > 0 {
		if len(over) < excess {
			return nil, errFull
		}
		inorder.Sort(over, func(a, b *entry) int { return cmp.Compare(a.expires, b.expires) })
		for _, e := range over[:excess] {
			m.remove(e)
		}
	}
	m.forget = slices.DeleteFunc(m.forget, func(key string) bool { return key == notePrefix+id }) // it is noted anew
	n := min(len(m.forget), maxForgotten)
	for _, key := range m.forget[:n] {
		notes = append(notes, reading.Note{Key: key})
	}
	m.forget = slices.Clone(m.forget[n:])
	return notes, nil
}

// maxForgotten is how many notes are forgotten with one commit.
const maxForgotten = 500

func (m *memory) remove(e *entry) {
	delete(m.entries, e.ID)
	m.forget = append(m.forget, notePrefix+e.ID)
}

// load reads the notes of earlier lives. What cannot be understood is forgotten:
// somebody else's notes would be under another prefix.
func (d *Desk) load(ctx context.Context) error {
	if d.isLoaded() {
		return nil
	}
	damaged, later := 0, 0
	err := d.ledger.Notes(ctx, notePrefix, func(n reading.Note) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		e, err := parseNote(n, d.cfg.Clock)
		if errors.Is(err, errLater) {
			later++ // and kept
			return nil
		}
		if err != nil {
			damaged++
			d.memory.forget = append(d.memory.forget, n.Key)
			return nil
		}
		d.memory.entries[e.ID] = e
		return nil
	})
	if err != nil {
		return err
	}
	if damaged > 0 {
		d.log.Warn("notes of commands are damaged; these commands would be published again", "n", damaged)
	}
	if later > 0 {
		d.log.Warn("notes of commands are of a later version of the program, and kept for it; these commands would be published again", "n", later)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.loaded)
	for _, h := range d.early {
		d.hand(h)
	}
	d.early = nil
	return nil
}
