package mqttin

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/internal/inorder"
	"github.com/tidegate/tidegate/reading"
)

// notebook is everything that was noted, taken apart.
type notebook struct {
	sessions map[uint64]sessionNote
	messages map[uint64]*message
	copies   map[uint64][]*outgoing // by session; their messages have numbers only
	arrivals map[uint64]map[uint16]arrival
	retained []*message
	foreign  []string // keys of what belongs to nobody
	later    int      // notes of a later version of the program
	last     uint64   // the highest number
}

// restore brings back what was noted, before anybody is served. What cannot be
// understood is left out and forgotten: the broker always starts.
func (b *broker) restore(ctx context.Context) error {
	book, err := b.readNotes(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		b.log.Error("what the mqtt broker remembers cannot be read to its end", "err", err)
		book.last += 1 << 32 // far from the numbers of what was not read
	}
	b.memory.next.Store(book.last)
	for _, m := range book.retained {
		b.retain(m, nil)
	}
	for _, number := range slices.Sorted(maps.Keys(book.sessions)) {
		b.restoreSession(number, book)
	}
	if book.later > 0 { // what they belong to cannot be told from what belongs to nobody
		b.log.Warn("notes of the mqtt broker are of a later version of the program, and kept for it: those sessions and messages are not there meanwhile", "n", book.later)
		return nil
	}
	book.dropOrphans(b)
	if n := len(book.foreign); n > 0 {
		b.stats.damagedNotes.Add(uint64(n))
		b.log.Warn("notes of the mqtt broker belong to nothing, or are damaged; they are left out", "n", n)
		for _, key := range book.foreign {
			b.memory.later(reading.Note{Key: key})
		}
	}
	return nil
}

func (b *broker) readNotes(ctx context.Context) (*notebook, error) {
	book := &notebook{
		sessions: map[uint64]sessionNote{}, messages: map[uint64]*message{},
		copies: map[uint64][]*outgoing{}, arrivals: map[uint64]map[uint16]arrival{},
	}
	return book, b.intake.Notes(ctx, notePrefix, func(n reading.Note) error {
		if err := book.read(n, b.clock); err != nil && len(n.Value) > 0 && n.Value[0] > noteVersion {
			book.later++
		} else if err != nil {
			book.foreign = append(book.foreign, n.Key)
		}
		return nil
	})
}

// read takes one note.
func (book *notebook) read(n reading.Note, k clock) error {
	if topic, ok := strings.CutPrefix(n.Key, retainedNotes); ok {
		m, err := parseMessageNote(n.Value, k)
		if err == nil && m.topic == topic && len(m.payload) > 0 {
			book.retained = append(book.retained, m)
			return nil
		}
		return errors.Join(err, errNote)
	}
	prefix := n.Key[:min(len(n.Key), len(sessionNotes))] // all are of one length
	first, second, ok := parseKey(n.Key[len(prefix):])
	if !ok {
		return errNote
	}
	var err error
	switch prefix {
	case sessionNotes:
		book.last = max(book.last, first)
		book.sessions[first], err = parseSessionNote(n.Value, k)
		if err != nil {
			delete(book.sessions, first)
		}
	case messageNotes:
		book.last = max(book.last, first)
		var m *message
		if m, err = parseMessageNote(n.Value, k); err == nil {
			m.number = first
			book.messages[first] = m
		}
	case copyNotes:
		book.last = max(book.last, first, second)
		var o *outgoing
		if o, err = parseCopyNote(n.Value); err == nil {
			o.message = &message{number: second}
			book.copies[first] = append(book.copies[first], o)
		}
	case arrivalNotes:
		book.last = max(book.last, first)
		var sum uint64
		if sum, err = parseArrivalNote(n.Value); err == nil && second-1 < 0xFFFF {
			if book.arrivals[first] == nil {
				book.arrivals[first] = map[uint16]arrival{}
			}
			book.arrivals[first][uint16(second)] = arrival{sum: sum}
		}
	default:
		err = errNote
	}
	return err
}

// restoreSession brings a session back, as one whose client is away.
func (b *broker) restoreSession(number uint64, book *notebook) {
	n := book.sessions[number]
	if last := b.sessions[n.id]; last != nil { // a newer one of the same client
		b.forgetClient(last)
		book.foreign = append(book.foreign, sessionKey(last.number))
	}
	k := b.clock
	s := &session{
		broker: b, id: n.id, user: n.user, number: number, version: n.version, noted: true,
		rights: rightsOf(b.cfg.Rules, n.user, n.id), expiry: min(n.expiry, b.cfg.SessionExpiry),
		left: k.uptime(), arrivals: book.arrivals[number],
	}
	if !n.connected {
		s.left -= k.since(n.left)
	}
	delete(book.arrivals, number)
	if n.will != nil && (n.connected || n.will.waits) && s.rights.mayPublish(n.will.message.topic) {
		s.will = n.will
		s.will.message.origin = s.id
		s.will.waits, s.will.due = true, k.uptime()+n.will.delay
	}
	s.client = b.server.NewClient(nil, "mqtt", n.id, false)
	s.client.Properties.ProtocolVersion = n.version
	s.client.Stop(errors.New("the gateway was started"))
	b.server.Clients.Add(s.client)
	for _, sub := range n.subscriptions {
		if s.rights.maySubscribe(sub.Filter) {
			b.server.Topics.Subscribe(n.id, sub)
			s.client.State.Subscriptions.Add(sub.Filter, sub)
		}
	}
	b.restoreQueue(s, book)
	b.sessions[n.id] = s
}

// restoreQueue gives a session its messages in their order. Where two have the
// same identifier, the client had acknowledged the older one.
func (b *broker) restoreQueue(s *session, book *notebook) {
	copies := book.copies[s.number]
	delete(book.copies, s.number)
	inorder.Sort(copies, func(x, y *outgoing) int { return cmp.Compare(x.message.number, y.message.number) })
	for _, o := range copies {
		m := book.messages[o.message.number]
		switch {
		case m != nil && !o.released:
			o.message = m
			m.noted.Add(1)
		case !o.released:
			book.foreign = append(book.foreign, copyKey(s.number, o.message.number))
			continue
		}
		if older := s.ids[o.id]; older != nil {
			s.drop(older)
		}
		o.dup = true // it may have been sent
		b.queued.used.Add(int64(o.message.size()))
		s.enqueue(o)
	}
}

// forgetClient undoes restoreSession.
func (b *broker) forgetClient(s *session) {
	for len(s.queue) > 0 {
		s.drop(s.queue[len(s.queue)-1])
	}
	for id := range s.arrivals {
		b.memory.later(reading.Note{Key: arrivalKey(s.number, id)})
	}
	b.server.UnsubscribeClient(s.client)
	b.server.Clients.Delete(s.id)
}

// dropOrphans finds what belongs to no session.
func (book *notebook) dropOrphans(b *broker) {
	for session, copies := range book.copies {
		for _, o := range copies {
			book.foreign = append(book.foreign, copyKey(session, o.message.number))
		}
	}
	for session, arrivals := range book.arrivals {
		for id := range arrivals {
			book.foreign = append(book.foreign, arrivalKey(session, id))
		}
	}
	for number, m := range book.messages {
		if m.noted.Load() == 0 {
			b.memory.later(reading.Note{Key: messageKey(number)})
		}
	}
}
