package mqttin

import (
	"bytes"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

// The bounds of the retained messages of all.
const (
	maxRetained      = 5000
	maxRetainedBytes = 8 << 20
)

// retained are the retained messages. The server keeps an index of their topics.
type retained struct {
	// change is held from the choice of who is sent a change until it is sent, so
	// that notes, changes and copies have the same order.
	change sync.Mutex

	mu       sync.Mutex
	messages map[string]kept // by topic
	bytes    int
}

// kept is a retained message. Its receipt is that of its note, nil when that is
// on flash.
type kept struct {
	*message
	receipt ingest.Receipt
}

func (k kept) size() int { return len(k.topic) + len(k.payload) + len(k.properties) }

// get returns the message that is retained on a topic; nil when there is none.
func (r *retained) get(topic string) *message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.messages[topic].message
}

// lost returns the messages whose note was lost.
func (r *retained) lost() (lost []*message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.messages {
		if state(k.receipt) == notOnFlash {
			lost = append(lost, k.message)
		}
	}
	return lost
}

// confirm says that a message was noted again.
func (r *retained) confirm(m *message, receipt ingest.Receipt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages[m.topic] = kept{m, receipt}
}

// admits says whether a message may be retained, and whether that has to be
// noted. It has to when a message is taken away, even if none is known: the
// commit in which that was noted before may have failed.
func (r *retained) admits(m *message) (room, news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fits := len(retainedKey(m.topic)) <= reading.MaxNoteKey
	if len(m.payload) == 0 {
		return true, fits
	}
	old, known := r.messages[m.topic]
	if !fits || m.size()+len(m.origin) > reading.MaxNoteValue {
		return false, false
	}
	size := r.bytes + kept{message: m}.size()
	if !known {
		return len(r.messages) < maxRetained && size <= maxRetainedBytes, true
	}
	same := old.qos == m.qos && old.origin == m.origin && !old.expires && !m.expires &&
		bytes.Equal(old.payload, m.payload) && bytes.Equal(old.properties, m.properties)
	return size-old.size() <= maxRetainedBytes, !same || state(old.receipt) != onFlash
}

// set retains a message in place of the one before; one without a payload takes
// that away. The receipt is that of its note.
func (r *retained) set(m *message, receipt ingest.Receipt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, known := r.messages[m.topic]; known {
		r.bytes -= old.size()
		delete(r.messages, m.topic)
	}
	if len(m.payload) == 0 {
		return
	}
	if r.messages == nil {
		r.messages = make(map[string]kept)
	}
	r.messages[m.topic] = kept{m, receipt}
	r.bytes += kept{message: m}.size()
}

// retain retains a message, and tells the server, which finds the topics that a
// filter matches.
func (b *broker) retain(m *message, receipt ingest.Receipt) {
	b.retained.set(m, receipt)
	b.server.Topics.RetainMessage(m.indexed())
	if m.expires {
		b.rouse()
	}
}

// indexed is the message as the server's index of retained messages has it.
func (m *message) indexed() packets.Packet {
	return packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Retain: true}, TopicName: m.topic, Payload: m.payload,
	}
}

// retainedNote is what is noted of a change.
func (b *broker) retainedNote(m *message) reading.Note {
	note := reading.Note{Key: retainedKey(m.topic)}
	if len(m.payload) > 0 {
		note.Value = appendMessage([]byte{noteVersion}, m, b.clock)
	}
	return note
}

// expireRetained takes away the messages whose time is over, and returns how long
// that of the others lasts at least.
func (b *broker) expireRetained(now time.Duration) (rest time.Duration) {
	rest = tendRest
	b.retained.mu.Lock()
	var over []string
	for topic, k := range b.retained.messages {
		left, alive := k.left(now)
		if !alive {
			over = append(over, topic)
		}
		if !alive || k.expires {
			rest = min(rest, time.Duration(left)*time.Second)
		}
	}
	b.retained.mu.Unlock()
	for _, topic := range over {
		b.expireOne(topic, now)
	}
	return rest
}

// expireOne looks again: the message may have been replaced.
func (b *broker) expireOne(topic string, now time.Duration) {
	b.retained.change.Lock()
	defer b.retained.change.Unlock()
	m := b.retained.get(topic)
	if m == nil {
		return
	}
	if _, alive := m.left(now); alive {
		return
	}
	none := &message{topic: topic}
	if _, err := b.memory.accept(b.ctx, b.retainedNote(none)); err == nil {
		b.retain(none, nil)
	}
}
