package uplink

import (
	"sync"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// Outcome is what became of a message.
type Outcome uint8

const (
	// UnderWay: the sink has it and has not answered.
	UnderWay Outcome = iota
	// Acked: the other side has taken custody.
	Acked
	// Failed: it did not arrive, and is or will be tried again, perhaps in other
	// company.
	Failed
	// SetAside: the other side refused it for good; it is in quarantine.
	SetAside
	// Empty: the encoding has no words for any of its readings, so nothing was
	// sent.
	Empty
)

// Sending is one message on its way, or what became of it.
type Sending struct {
	Key
	// Readings are in it, and its body has so many bytes.
	Readings, Bytes int
	// Sent is when it was first tried, Tried when it was last, which was try
	// number Tries. Ended is when that was answered; zero while it is under way.
	Sent, Tried, Ended time.Time
	Tries              int
	Outcome            Outcome
}

// bookSize is how many messages are remembered: 130 KB a Forwarder at the most.
const bookSize = 1024

// book remembers the latest messages. It is written twice a message and asked by
// people.
type book struct {
	mu    sync.Mutex
	pages []Sending // a ring once it is full
	began uint64    // messages that were ever entered
	since time.Time // when the latest of those that are forgotten was answered, or the book was begun
}

// begin enters a try of the message. page is where it was entered before, 0 for
// nowhere, and the answer is where it is now.
func (b *book) begin(page uint64, s Sending) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.page(page); old != nil {
		s.Sent, s.Tries = old.Sent, old.Tries+1
		*old = s
		return page
	}
	b.began++
	if len(b.pages) < bookSize {
		b.pages = append(b.pages, s)
		return b.began
	}
	old := &b.pages[(b.began-1)%bookSize]
	b.drop(old.Ended)
	*old = s
	return b.began
}

// page returns what was entered there, nil if that is forgotten.
func (b *book) page(n uint64) *Sending {
	if n == 0 || n+bookSize <= b.began {
		return nil
	}
	return &b.pages[(n-1)%bookSize]
}

// end enters what became of the message.
func (b *book) end(page uint64, outcome Outcome, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.page(page); s != nil {
		s.Outcome, s.Ended = outcome, at
	} else if page != 0 {
		b.drop(at)
	}
}

// drop notes when something ended that is forgotten.
func (b *book) drop(ended time.Time) {
	if ended.After(b.since) {
		b.since = ended
	}
}

// cutOff enters that nothing is under way any more.
func (b *book) cutOff(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.pages {
		if s := &b.pages[i]; s.Outcome == UnderWay {
			s.Outcome, s.Ended = Failed, at
		}
	}
}

// Sending returns the latest message that had the reading, as far as that is
// remembered: what is not was answered at since or before, perhaps by a Forwarder
// before this one.
func (f *Forwarder) Sending(epoch uint64, lane reading.Lane, seq uint64) (s Sending, ok bool, since time.Time) {
	b := &f.book
	b.mu.Lock()
	defer b.mu.Unlock()
	for n := b.began; b.page(n) != nil; n-- {
		if s := b.page(n); s.Epoch == epoch && s.Lane == lane && s.First <= seq && seq <= s.Last {
			return *s, true, b.since
		}
	}
	return Sending{}, false, b.since
}

// enter enters a delivery that is sent, or need not be.
func (fl *flow) enter(d *delivery, outcome Outcome) {
	now := time.Now()
	s := Sending{Key: fl.key(d), Readings: d.count(), Bytes: len(d.body), Sent: now, Tried: now, Tries: 1, Outcome: outcome}
	if outcome != UnderWay {
		s.Ended = now
	}
	d.page = fl.book.begin(d.page, s)
}
