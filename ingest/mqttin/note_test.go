package mqttin

import (
	"bytes"
	"maps"
	"reflect"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/reading"
)

// stillClock is a clock that stands still.
func stillClock() clock {
	return clock{boot: 7, uptime: func() time.Duration { return time.Hour },
		wall: func() time.Time { return time.Unix(1e9, 0) }, synced: func() bool { return true }}
}

func exampleMessage() *message {
	return &message{
		origin: "boiler", topic: "plant/boiler", qos: 2, retain: true, payload: []byte("21.5"),
		properties: appendWillProperties(nil, packets.Properties{ContentType: "text", CorrelationData: []byte{0, 1}}),
		expires:    true, expiry: 60, born: time.Hour - 9*time.Second,
	}
}

func TestSessionNoteRoundTrip(t *testing.T) {
	k := stillClock()
	for _, n := range []sessionNote{
		{id: "c", version: 4, expiry: time.Hour, subscriptions: []packets.Subscription{{Filter: "#"}}},
		{
			id: "boiler:2", user: "boiler", version: 5, connected: true, expiry: 7 * 24 * time.Hour,
			left: k.moment(time.Minute), will: &will{delay: time.Minute, waits: true, message: exampleMessage()},
			subscriptions: []packets.Subscription{
				{Filter: "$share/g/a/#", Qos: 2, Identifier: 268435455},
				{Filter: "a/+", Qos: 1, NoLocal: true, RetainAsPublished: true, RetainHandling: 2},
			},
		},
	} {
		got, err := parseSessionNote(n.append(nil, k), k)
		if err != nil {
			t.Fatal(err)
		}
		if got.will != nil {
			sameMessage(t, got.will.message, n.will.message)
			got.will.message, n.will.message = nil, nil
		}
		if !reflect.DeepEqual(got, n) {
			t.Errorf("got %+v, want %+v", got, n)
		}
	}
}

func sameMessage(t *testing.T, got, want *message) {
	t.Helper()
	k := stillClock()
	if !bytes.Equal(appendMessage(nil, got, k), appendMessage(nil, want, k)) || got.born != want.born {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestMessageNoteRoundTrip(t *testing.T) {
	k := stillClock()
	for _, m := range []*message{exampleMessage(), {topic: "a", payload: []byte{}}} {
		got, err := parseMessageNote(appendMessage([]byte{noteVersion}, m, k), k)
		if err != nil {
			t.Fatal(err)
		}
		sameMessage(t, got, m)
	}
}

func TestCopyNoteRoundTrip(t *testing.T) {
	for _, o := range []*outgoing{
		{envelope: envelope{qos: 1, id: 1}},
		{envelope: envelope{qos: 2, id: 65535, retain: true, subscriptions: []int{1, 300}}, released: true},
	} {
		got, err := parseCopyNote(o.append(nil))
		o.noted, o.accepted = true, true
		if err != nil || !reflect.DeepEqual(got, o) {
			t.Errorf("got %+v, %v, want %+v", got, err, o)
		}
	}
}

// A value of a later version, and one that is not whole, is nobody's.
func TestNotesOfAnotherVersionOrCutShortAreRefused(t *testing.T) {
	k := stillClock()
	session := sessionNote{id: "c", user: "u", version: 5, expiry: time.Hour, will: &will{message: exampleMessage()},
		subscriptions: []packets.Subscription{{Filter: "a/b"}}}.append(nil, k)
	copyNote := (&outgoing{envelope: envelope{qos: 1, id: 1}}).append(nil)
	for name, note := range map[string]struct {
		value []byte
		whole int // bytes without which there is no such note
		parse func([]byte) error
	}{
		"session": {session, len(session) - len("21.5"), func(b []byte) error { _, err := parseSessionNote(b, k); return err }},
		"copy":    {copyNote, len(copyNote), func(b []byte) error { _, err := parseCopyNote(b); return err }},
		"arrival": {arrivalNote(1, 2, 3).Value, 9, func(b []byte) error { _, err := parseArrivalNote(b); return err }},
	} {
		if err := note.parse(note.value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for n := range note.whole {
			if note.parse(note.value[:n]) == nil {
				t.Errorf("%s: %d bytes of %d were understood", name, n, len(note.value))
			}
		}
		later := bytes.Clone(note.value)
		later[0]++
		if note.parse(later) == nil {
			t.Errorf("%s: a later version was understood", name)
		}
	}
}

// FuzzNotes restores a gateway from any note at all. It must start, and what it
// has understood it must write the same way again.
func FuzzNotes(f *testing.F) {
	k := stillClock()
	f.Add("mqtt/s/1", sessionNote{id: "c", user: "u", version: 5, expiry: time.Hour, will: &will{message: exampleMessage()},
		subscriptions: []packets.Subscription{{Filter: "a/b", Identifier: 3}}}.append(nil, k))
	f.Add("mqtt/m/2", appendMessage([]byte{noteVersion}, exampleMessage(), k))
	f.Add("mqtt/q/1/2", (&outgoing{envelope: envelope{qos: 2, id: 9, subscriptions: []int{4}}}).append(nil))
	f.Add("mqtt/i/1/7", arrivalNote(1, 7, 99).Value)
	f.Add("mqtt/r/plant/boiler", appendMessage([]byte{noteVersion}, exampleMessage(), k))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		book := &notebook{sessions: map[uint64]sessionNote{}, messages: map[uint64]*message{},
			copies: map[uint64][]*outgoing{}, arrivals: map[uint64]map[uint16]arrival{}}
		if err := book.read(reading.Note{Key: key, Value: value}, k); err != nil {
			return
		}
		for n := range maps.Values(book.sessions) {
			if again, err := parseSessionNote(n.append(nil, k), k); err != nil || again.id != n.id || len(again.subscriptions) != len(n.subscriptions) {
				t.Errorf("%+v became %+v, %v", n, again, err)
			}
		}
		for m := range maps.Values(book.messages) {
			if _, err := parseMessageNote(appendMessage([]byte{noteVersion}, m, k), k); err != nil {
				t.Error(err)
			}
			packet := m.appendPublish(nil, 5, envelope{qos: 1, id: 1}, 1)
			frame, whole, err := nextFrame(packet, len(packet))
			if err != nil || !whole || frame.size != len(packet) {
				t.Errorf("sent as %x: %v", packet, err)
			}
		}
	})
}
