package buffer

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// Query chooses readings of the journal. The zero value chooses all of them,
// oldest first. "Oldest" and "newest" are said of when they were taken into
// custody, which is not always when they were measured.
type Query struct {
	// Device and Metric are names, in which "*" stands for any characters; ""
	// chooses every one.
	Device, Metric string
	// Lanes are those that are wanted; none stands for all.
	Lanes []reading.Lane
	// From is the first time and To the time before which readings were
	// measured, in nanoseconds since the Unix epoch; 0 is no bound.
	From, To int64
	// Undelivered names a sink: only what that has not acknowledged.
	Undelivered string
	// NewestFirst turns the order round.
	NewestFirst bool
	// Limit is how many readings are visited at the most; 0 is no limit.
	Limit int
	// After goes on behind the page that returned the token.
	After Token
}

// Entry is a reading with the rest of its name: no other reading of this gateway
// ever has the same epoch, lane and number.
type Entry struct {
	reading.Reading
	Epoch, Seq uint64
}

// Token is the place between two pages of a query. It stays good over restarts
// and evictions: what has gone meanwhile is passed over. "" is the beginning,
// and as an answer, that nothing follows.
type Token string

// ErrToken means that a token is none, or belongs to a query of the other order.
var ErrToken = errors.New("not a token of this query")

// ErrNoSink means that nothing is known of a sink of that name.
var ErrNoSink = errors.New("no such sink")

// History visits the readings that the query chooses, delivered or not, until
// visit returns an error. Delivered readings stay until the bound needs their
// room. It takes nothing from those that commit but the processor, and that for
// a quarter of the time at the most, in turns of 64 KiB of the journal; memory holds
// one of them.
//
// What cannot be read is passed over; the error is ErrLeftOut then, when all the
// rest was visited, and next is good beside it.
func (b *Buffer) History(ctx context.Context, q Query, visit func(Entry) error) (next Token, err error) {
	acked, err := b.ackedBy(q.Undelivered)
	if err != nil {
		return "", err
	}
	return b.view().history(ctx, q, acked, visit)
}

func (v view) history(ctx context.Context, q Query, acked [reading.Lanes]ranges, visit func(Entry) error) (Token, error) {
	h := history{query: q, acked: acked, visit: visit, dec: wire.NewDecoder()}
	var err error
	if h.place, err = q.After.place(q.NewestFirst); err != nil {
		return "", err
	}
	w := walk{view: v, newestFirst: q.NewestFirst, mayHold: h.mayHold, wants: h.wants, visit: h.block}
	err = w.run(ctx)
	if full := errors.Is(err, errFull); full || err == nil {
		err = errors.Join(w.unread, h.damage)
		if !full {
			return "", err
		}
	}
	return h.place.token(), err
}

// history is one page of a query.
type history struct {
	query    Query
	acked    [reading.Lanes]ranges
	place    place
	visit    func(Entry) error
	visited  int
	damage   error // the first block that could not be decoded
	dec      *wire.Decoder
	readings []reading.Reading
}

// errFull ends a page.
var errFull = errors.New("the page is full")

func (h *history) mayHold(s Segment) bool {
	return h.place.leaves(s) && h.query.mayBeIn(s, h.acked)
}

func (h *history) wants(b wire.Block) bool {
	first, last := h.place.ahead(b)
	return first <= last && h.query.wants(b) && !h.acked[b.Lane].has(first, last)
}

// wants says whether readings of the block may be chosen.
func (q *Query) wants(b wire.Block) bool {
	return q.wantsLane(b.Lane) && q.overlaps(b.Base, b.Base+b.Span)
}

// mayBeIn says whether the segment may hold what the query chooses and is not in
// acked.
func (q *Query) mayBeIn(s Segment, acked [reading.Lanes]ranges) bool {
	for lane, sp := range s.Lanes {
		if sp.Last != 0 && q.wantsLane(reading.Lane(lane)) && !acked[lane].has(sp.First, sp.Last) &&
			(sp.From == 0 && sp.To == 0 || q.overlaps(sp.From, sp.To)) {
			return true
		}
	}
	return false
}

func (q *Query) wantsLane(lane reading.Lane) bool {
	for _, l := range q.Lanes {
		if l == lane {
			return true
		}
	}
	return len(q.Lanes) == 0
}

// overlaps says whether anything between the two times is in the range.
func (q *Query) overlaps(from, to int64) bool {
	return (q.From == 0 || to >= q.From) && (q.To == 0 || from < q.To)
}

// Chooses says whether the reading is one that the query asks for, by its names
// and its time.
func (q *Query) Chooses(r *reading.Reading) bool {
	return q.overlaps(r.Time, r.Time) && matches(q.Device, r.Device) && matches(q.Metric, r.Metric)
}

// matches says whether the name is the pattern, in which "*" stands for any
// characters, and "" for every name.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == "" || pattern == name
	}
	name, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		if _, name, ok = strings.Cut(name, part); !ok {
			return false
		}
	}
	return strings.HasSuffix(name, parts[len(parts)-1])
}

// Includes says whether a gap may be among what the query asks for: one of a
// wanted lane, whose times are unknown or in the range.
func (q *Query) Includes(g Gap) bool {
	lane, _ := reading.ParseLane(g.Lane)
	return q.wantsLane(lane) && (g.From == 0 && g.To == 0 || q.overlaps(g.From, g.To))
}

// block visits what the query chooses of a block, from the place on.
func (h *history) block(b wire.Block) error {
	rs, err := h.dec.Decode(h.readings[:0], b)
	if err != nil {
		if h.damage == nil {
			h.damage = fmt.Errorf("%w: %w", ErrLeftOut, err)
		}
		h.place.pass(b.Lane, b.First, b.Last())
		return nil
	}
	defer clear(rs) // lets go of the texts
	h.readings = rs
	first, last := h.place.ahead(b)
	for n := uint64(0); n <= last-first; n++ {
		seq := first + n
		if h.query.NewestFirst {
			seq = last - n
		}
		r := &rs[seq-b.First]
		if h.query.Chooses(r) && !h.acked[b.Lane].has(seq, seq) {
			if h.visited == h.query.Limit && h.visited > 0 {
				return errFull
			}
			if err := h.visit(Entry{*r, b.Epoch, seq}); err != nil {
				return err
			}
			h.visited++
		}
		h.place.pass(b.Lane, seq, seq)
	}
	return nil
}

// place is how far a query has come, by lane: numbers ascend in the journal, so
// that one says what lies behind.
type place struct {
	newestFirst bool
	passed      [reading.Lanes]uint64 // the last number that was passed; 0 for none yet
}

// ahead returns the numbers of the block that are not behind; first is above
// last when all are.
func (p *place) ahead(b wire.Block) (first, last uint64) {
	passed := p.passed[b.Lane]
	switch {
	case passed == 0:
		return b.First, b.Last()
	case p.newestFirst:
		return b.First, min(b.Last(), passed-1)
	}
	return max(b.First, passed+1), b.Last()
}

// leaves says whether the segment has numbers that are not behind.
func (p *place) leaves(s Segment) bool {
	for lane, sp := range s.Lanes {
		if sp.Last != 0 && p.leavesLane(lane, sp) {
			return true
		}
	}
	return false
}

func (p *place) leavesLane(lane int, sp Span) bool {
	passed := p.passed[lane]
	return passed == 0 || p.newestFirst && sp.First < passed || !p.newestFirst && sp.Last > passed
}

// pass leaves the numbers behind.
func (p *place) pass(lane reading.Lane, first, last uint64) {
	if p.newestFirst {
		p.passed[lane] = first
	} else {
		p.passed[lane] = last
	}
}

// The first byte of a token.
const (
	tokenOldestFirst = 'o'
	tokenNewestFirst = 'n'
)

func (p *place) token() Token {
	b := []byte{tokenOldestFirst}
	if p.newestFirst {
		b[0] = tokenNewestFirst
	}
	for _, n := range p.passed {
		b = binary.AppendUvarint(b, n)
	}
	return Token(base64.RawURLEncoding.EncodeToString(b))
}

func (t Token) place(newestFirst bool) (place, error) {
	p := place{newestFirst: newestFirst}
	if t == "" {
		return p, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(string(t))
	if err != nil || len(b) == 0 || (b[0] == tokenNewestFirst) != newestFirst || b[0] != tokenNewestFirst && b[0] != tokenOldestFirst {
		return p, ErrToken
	}
	b = b[1:]
	for lane := range p.passed {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > math.MaxInt64 {
			return p, ErrToken
		}
		p.passed[lane], b = n, b[used:]
	}
	if len(b) > 0 {
		return p, ErrToken
	}
	return p, nil
}
