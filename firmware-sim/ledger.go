package firmwaresim

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Ledger remembers, for each device, which samples the gateway acknowledged, and
// which ones the device had to send again. Devices whose lines have no
// acknowledgements enter what they are about to send: what a cloud has beyond
// that, somebody invented. It is the truth that an audit
// holds the cloud against, so an entry is made only after the acknowledgement
// was parsed: what has not reached the file was never claimed.
//
// The file is text, one fact a line, appended with every Flush:
//
//	ack dev-0007 1-500
//	again dev-0007 37
//	sent tty-0001 1-80
//
// A line that a crash cut short has no newline and does not count.
type Ledger struct {
	mu       sync.Mutex
	file     *os.File // nil: in memory only
	accounts map[string]*Account
}

// Account is the part of a Ledger that belongs to one device.
type Account struct {
	device string
	keep   bool // entries wait in unwritten for the file

	mu        sync.Mutex
	acked     intervals
	again     map[uint64]int // further publishes, of the few samples that had any
	sent      intervals      // of devices that say so
	unwritten []entry
}

type entry struct {
	verb string
	span span
}

const (
	verbAck   = "ack"
	verbAgain = "again"
	verbSent  = "sent"

	// lookBack is how many entries are looked at for one that a new one extends.
	lookBack = 8

	maxAgain = maxWindow * arraySamples // further publishes on one line
)

// NewLedger returns a ledger in memory.
func NewLedger() *Ledger { return &Ledger{accounts: make(map[string]*Account)} }

// CreateLedger returns a ledger that is also written to a new file. Counters of
// a new fleet start again at 1, so a file that exists is refused.
func CreateLedger(name string) (*Ledger, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%w: a ledger belongs to one run; name a new file", err)
	}
	if err != nil {
		return nil, err
	}
	l := NewLedger()
	l.file = file
	return l, nil
}

// Account returns the account of a device, empty at first.
func (l *Ledger) Account(device string) *Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.accounts[device]
	if a == nil {
		a = &Account{device: device, keep: l.file != nil, again: make(map[uint64]int)}
		l.accounts[device] = a
	}
	return a
}

// Acked enters the samples first to last as acknowledged.
func (a *Account) Acked(first, last uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.acked.add(span{first, last})
	a.note(verbAck, span{first, last})
}

// Again enters that the samples first to last are being published once more.
func (a *Account) Again(first, last uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for seq := first; seq <= last; seq++ {
		a.again[seq]++
	}
	a.note(verbAgain, span{first, last})
}

// Sent enters that the samples first to last are about to be sent. A device that
// never does so is not held to it.
func (a *Account) Sent(first, last uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent.add(span{first, last})
	a.note(verbSent, span{first, last})
}

func (a *Account) note(verb string, s span) {
	if !a.keep {
		return
	}
	// Words alternate where a device enters both what it sends and what is
	// acknowledged, and acknowledgements of a window overtake each other.
	for i := len(a.unwritten) - 1; i >= max(0, len(a.unwritten)-lookBack); i-- {
		if e := &a.unwritten[i]; e.verb == verb && e.span.last+1 == s.first {
			e.span.last = s.last
			return
		}
	}
	a.unwritten = append(a.unwritten, entry{verb, s})
}

// Count returns the numbers of acknowledged samples and of further publishes.
func (l *Ledger) Count() (acked, again uint64) {
	for _, a := range l.sorted() {
		a.mu.Lock()
		acked += a.acked.count
		for _, n := range a.again {
			again += uint64(n)
		}
		a.mu.Unlock()
	}
	return acked, again
}

// All yields every acknowledged sample, by device and counter. Nobody may be
// writing to the ledger.
func (l *Ledger) All() iter.Seq[Sample] {
	return func(yield func(Sample) bool) {
		for _, a := range l.sorted() {
			for _, s := range a.acked.spans {
				for seq := s.first; seq <= s.last; seq++ {
					if !yield(Sample{a.device, seq}) {
						return
					}
				}
			}
		}
	}
}

// sorted returns the accounts by device name.
func (l *Ledger) sorted() []*Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	accounts := make([]*Account, 0, len(l.accounts))
	for _, a := range l.accounts {
		accounts = append(accounts, a)
	}
	slices.SortFunc(accounts, func(a, b *Account) int { return cmp.Compare(a.device, b.device) })
	return accounts
}

// Flush appends to the file what is not yet in it. A Fleet does so ten times a
// second. Without a file it does nothing.
func (l *Ledger) Flush() error {
	if l.file == nil {
		return nil
	}
	var lines []byte
	for _, a := range l.sorted() {
		lines = a.appendUnwritten(lines)
	}
	_, err := l.file.Write(lines)
	return err
}

func (a *Account) appendUnwritten(dst []byte) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.unwritten {
		dst = append(append(append(dst, e.verb...), ' '), a.device...)
		dst = strconv.AppendUint(append(dst, ' '), e.span.first, 10)
		if e.span.last > e.span.first {
			dst = strconv.AppendUint(append(dst, '-'), e.span.last, 10)
		}
		dst = append(dst, '\n')
	}
	a.unwritten = a.unwritten[:0]
	return dst
}

// Close flushes and closes the file.
func (l *Ledger) Close() error {
	if l.file == nil {
		return nil
	}
	return errors.Join(l.Flush(), l.file.Close())
}

// ReadLedger reads what a ledger's file says.
func ReadLedger(r io.Reader) (*Ledger, error) {
	l := NewLedger()
	lines := bufio.NewReader(r)
	for number := 1; ; number++ {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return l, nil
		}
		if err != nil {
			return nil, err
		}
		if err := l.enter(strings.TrimSuffix(line, "\n")); err != nil {
			return nil, fmt.Errorf("ledger line %d: %w", number, err)
		}
	}
}

func (l *Ledger) enter(line string) error {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return fmt.Errorf("%q is not \"ack device seq\"", line)
	}
	s, err := parseSpan(fields[2])
	if err != nil {
		return err
	}
	account := l.Account(fields[1])
	switch fields[0] {
	case verbAck:
		account.Acked(s.first, s.last)
	case verbSent:
		account.Sent(s.first, s.last)
	case verbAgain:
		if s.last-s.first >= maxAgain {
			return fmt.Errorf("%q is more than a device can have had in flight", line)
		}
		account.Again(s.first, s.last)
	default:
		return fmt.Errorf("unknown word %q", fields[0])
	}
	return nil
}

func parseSpan(text string) (span, error) {
	low, high, ranged := strings.Cut(text, "-")
	if !ranged {
		high = low
	}
	first, err1 := strconv.ParseUint(low, 10, 64)
	last, err2 := strconv.ParseUint(high, 10, 64)
	if err1 != nil || err2 != nil || last < first {
		return span{}, fmt.Errorf("%q is not a range of counters", text)
	}
	return span{first, last}, nil
}
