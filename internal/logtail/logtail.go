// Package logtail is a slog.Handler that keeps the last records in memory, where
// people can see them, and spares the handler behind it what repeats itself: a log
// wears flash, too.
//
//	tail := logtail.New(slog.NewTextHandler(os.Stderr, nil))
//	log := slog.New(tail)
//	go tail.Run(ctx) // tells of repeats when nothing else is said
//
// The first record of a kind passes at once. Those of the same kind in the minute
// after it are counted, and told of by one line at its end: "… 312 more in 60 s".
// Of the same kind are records of one level and text whose attributes differ in
// nothing but numbers.
//
// The memory is bounded: records of level debug have a place of their own, so that
// they push out nothing that matters.
package logtail

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"
)

// The bounds of what is kept: records, and bytes of their texts.
const (
	mostRecords, mostBytes           = 500, 208 << 10
	mostDebugRecords, mostDebugBytes = 200, 48 << 10
	// longest is how many bytes of a text, and of its attributes, are kept.
	longest = 4 << 10
)

// Record is one line of the log.
type Record struct {
	// N grows by the record, also from one run of the program to the next.
	N uint64 `json:"n"`
	// Time is in Unix milliseconds.
	Time  int64  `json:"time"`
	Level string `json:"level"`
	Text  string `json:"text"`
	// About are the attributes, key=value, quoted where they need it.
	About string `json:"about,omitempty"`
	// Repeats is how many more records of the kind there were, if the line stands
	// for several.
	Repeats int `json:"repeats,omitempty"`

	level slog.Level
}

// Tail is a slog.Handler and what it keeps.
type Tail struct {
	*memory
	next slog.Handler
	// about and kind write the attributes of a record, kind without the numbers.
	about, kind slog.Handler
}

// memory is shared by a Tail and all that are made of it.
type memory struct {
	mu      sync.Mutex
	now     func() time.Time
	last    uint64
	changed chan struct{} // closed when something is added
	// repeated receives when something was counted that is to be told of.
	repeated chan struct{}
	usual    ring
	debug    ring
	repeats  repeats
	scratch  bytes.Buffer // what about and kind have written
}

// New returns a Tail in front of a handler, which it asks for nothing below the
// handler's own level. What Tail keeps has any level.
func New(next slog.Handler) *Tail { return newTail(next, time.Now) }

func newTail(next slog.Handler, now func() time.Time) *Tail {
	m := &memory{
		now: now, last: uint64(max(now().UnixMilli(), 0)) * 1000, changed: make(chan struct{}), repeated: make(chan struct{}, 1),
		usual: ring{records: mostRecords, bytes: mostBytes}, debug: ring{records: mostDebugRecords, bytes: mostDebugBytes},
	}
	return &Tail{memory: m, next: next, about: writeAttrs(&m.scratch, unchanged), kind: writeAttrs(&m.scratch, withoutNumbers)}
}

// Enabled implements slog.Handler.
func (t *Tail) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelDebug }

// WithAttrs implements slog.Handler.
func (t *Tail) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Tail{t.memory, t.next.WithAttrs(attrs), t.about.WithAttrs(attrs), t.kind.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (t *Tail) WithGroup(name string) slog.Handler {
	return &Tail{t.memory, t.next.WithGroup(name), t.about.WithGroup(name), t.kind.WithGroup(name)}
}

// Handle implements slog.Handler.
func (t *Tail) Handle(ctx context.Context, r slog.Record) error {
	kind := t.write(t.kind, r)
	t.mu.Lock()
	said := t.repeats.expire(t.now())
	if !t.repeats.isNew(r.Level.String()+" "+r.Message+" "+kind, t, r, t.now()) {
		t.mu.Unlock()
		select {
		case t.repeated <- struct{}{}:
		default: // Run will look at all of them
		}
		return t.sayAll(ctx, said)
	}
	t.mu.Unlock()
	return errors.Join(t.sayAll(ctx, said), t.say(ctx, r, 0))
}

// say keeps a record and hands it on.
func (t *Tail) say(ctx context.Context, r slog.Record, repeats int) error {
	about := t.write(t.about, r)
	t.keep(Record{
		Time: r.Time.UnixMilli(), Level: r.Level.String(), Text: clip(r.Message), About: clip(about), Repeats: repeats, level: r.Level,
	})
	if !t.next.Enabled(ctx, r.Level) {
		return nil
	}
	if repeats > 0 {
		r.AddAttrs(slog.Int("repeats", repeats))
	}
	return t.next.Handle(ctx, r)
}

// sayAll says how often was repeated what is over.
func (t *Tail) sayAll(ctx context.Context, over []repeat) (err error) {
	for _, o := range over {
		r, repeats := o.sentence()
		err = errors.Join(err, o.by.say(ctx, r, repeats))
	}
	return err
}

// write has the handler write the attributes of the record.
func (t *Tail) write(h slog.Handler, r slog.Record) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.scratch.Reset()
	if h.Handle(context.Background(), r) != nil { // to memory
		return ""
	}
	return string(bytes.TrimSpace(t.scratch.Bytes()))
}

// clip cuts a text that is too long to keep.
func clip(text string) string {
	if len(text) <= longest {
		return text
	}
	cut := longest
	for cut > longest-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// keep adds a record to its ring.
func (m *memory) keep(r Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	r.N = m.last
	if r.level < slog.LevelInfo {
		m.debug.add(r)
	} else {
		m.usual.add(r)
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

// Run tells of repeats at the end of their minute, until ctx ends.
func (t *Tail) Run(ctx context.Context) error {
	timer := time.NewTimer(window)
	defer timer.Stop()
	for {
		var due <-chan time.Time // nothing repeats itself most of the time
		if rest, any := t.due(); any {
			timer.Reset(rest)
			due = timer.C
		}
		select {
		case <-t.repeated:
		case <-due:
			t.flush(ctx, t.now())
		case <-ctx.Done():
			t.flush(context.WithoutCancel(ctx), t.now().Add(window))
			return nil
		}
	}
}

// due returns how long it is until something must be told of, if anything must.
func (t *Tail) due() (rest time.Duration, any bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range t.repeats.all {
		if left := window - t.now().Sub(o.began); o.n > 0 && (!any || left < rest) {
			rest, any = left, true
		}
	}
	return rest, any
}

func (t *Tail) flush(ctx context.Context, now time.Time) {
	t.mu.Lock()
	said := t.repeats.expire(now)
	t.mu.Unlock()
	_ = t.sayAll(ctx, said) // nobody is left who could be told that a log cannot be written
}
