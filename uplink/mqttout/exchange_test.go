package mqttout

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// TestExchangesAgainstAModel: whatever is begun and answered in whatever order,
// no identifier is used twice at once, each exchange ends once and by its own
// last answer, and answers that belong to nothing are noticed.
func TestExchangesAgainstAModel(t *testing.T) {
	for seed := range uint64(200) {
		m := model{t: t, r: rand.New(rand.NewPCG(seed, 0)), open: map[uint16]*exchange{}}
		for range 2000 {
			m.step()
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

type model struct {
	t        *testing.T
	r        *rand.Rand
	x        exchanges
	open     map[uint16]*exchange
	reserved map[uint16]bool
}

func (m *model) step() {
	switch n := m.r.IntN(10); {
	case n < 4 && len(m.open) < 50:
		e := &exchange{pub: &publication{qos: byte(1 + m.r.IntN(2))}}
		id := m.x.begin(e)
		if id == 0 || m.open[id] != nil || m.reserved[id] {
			m.t.Errorf("identifier %d is taken, or none", id)
		}
		m.open[id] = e
	case n == 4 && len(m.reserved) < 20:
		id := uint16(1 + m.r.IntN(maxExchanges))
		if m.open[id] == nil {
			if m.reserved == nil {
				m.reserved = map[uint16]bool{}
			}
			m.x.reserve(id)
			m.reserved[id] = true
		}
	case n == 5:
		m.answer(uint16(m.r.IntN(65536))) // nearly always nobody's
	default:
		for id := range m.open { // any
			m.answer(id)
			break
		}
	}
}

func (m *model) answer(id uint16) {
	kind := []byte{packets.Puback, packets.Pubrec, packets.Pubcomp}[m.r.IntN(3)]
	refused := m.r.IntN(4) == 0
	e := m.open[id]
	before := e != nil && e.released
	got, step, err := m.x.answered(kind, id, refused)
	fits := e != nil && map[byte]bool{
		packets.Puback:  !before,
		packets.Pubrec:  e.pub.qos == 2 && !(refused && before),
		packets.Pubcomp: before,
	}[kind]
	ends := fits && (kind != packets.Pubrec || refused)
	what := fmt.Sprintf("%s for %d (%+v), refused %v", packets.PacketNames[kind], id, e, refused)
	switch {
	case fits != (err == nil):
		m.t.Errorf("%s: %v", what, err)
	case fits && (got != e || ends != (step == over)):
		m.t.Errorf("%s: %v, %d", what, got, step)
	}
	if ends {
		delete(m.open, id)
	}
	if _, still := m.x.open[id]; still != (m.open[id] != nil || m.reserved[id]) {
		m.t.Errorf("%s: the table and the model differ", what)
	}
}

func TestIdentifiersGoRound(t *testing.T) {
	var x exchanges
	seen := map[uint16]bool{}
	for range maxExchanges {
		id := x.begin(&exchange{pub: &publication{qos: 1}})
		if id == 0 || seen[id] {
			t.Fatalf("identifier %d", id)
		}
		seen[id] = true
		if _, _, err := x.answered(packets.Puback, id, false); err != nil {
			t.Fatal(err)
		}
	}
	if id := x.begin(&exchange{pub: &publication{qos: 1}}); id != 1 {
		t.Errorf("after all of them comes %d", id)
	}
}

// TestAliasesHelpWhoComesOften: names that go round in a table that is too
// small for them keep some, and one that is not used any more makes room.
func TestAliasesHelpWhoComesOften(t *testing.T) {
	a, hits := aliases{room: 10}, 0
	server := map[uint16]string{}
	use := func(topic string) {
		number, known := a.name(topic)
		switch {
		case known && server[number] != topic:
			t.Fatalf("alias %d is %q at the server, not %q", number, server[number], topic)
		case known:
			hits++
		case number > 10:
			t.Fatalf("alias %d", number)
		case number > 0:
			server[number] = topic
		}
	}
	rounds := func(name string, topics, want int) {
		t.Helper()
		hits = 0
		for i := range 3000 {
			use(fmt.Sprintf("%s/topic/%d", name, i%topics))
		}
		if hits < want {
			t.Errorf("%d of 3000 %s ones had an alias that the server knew, want %d", hits, name, want)
		}
	}
	rounds("few", 5, 2990)
	rounds("old", 30, 900)  // room for a third of them
	rounds("new", 300, 80)  // for a thirtieth
	rounds("last", 5, 2980) // and all are forgotten for these
	rounds("many", 9000, 0) // more than are remembered
	rounds("again", 5, 2980)
	if n, _ := (&aliases{}).name("topic"); n != 0 {
		t.Error("an alias where there is room for none")
	}
	if n, _ := a.name("abc"); n != 0 {
		t.Error("an alias that is no shorter than its topic")
	}
	if len(a.named) != a.used.Len() || len(a.named) > 10 || len(a.seen) > maxSeen {
		t.Errorf("%d and %d", len(a.named), a.used.Len())
	}
}

func TestRetainedMessagesDoNotGoBack(t *testing.T) {
	var n newest
	retained := func(topic string, s stamp) bool {
		p := publication{topic: topic, retain: true, stamp: s}
		n.mayRetain(&p)
		return p.retain
	}
	for i, c := range []struct {
		topic string
		stamp stamp
		want  bool
	}{
		{"a", stamp{epoch: 1, seq: 10, time: 100}, true},
		{"a", stamp{epoch: 1, seq: 9, time: 200}, false}, // numbers count, within an epoch
		{"a", stamp{epoch: 1, seq: 10, time: 100}, true}, // sent again
		{"b", stamp{epoch: 1, seq: 9, time: 90}, true},
		{"a", stamp{epoch: 2, seq: 1, time: 300}, true},
		{"a", stamp{epoch: 1, seq: 11, time: 110}, false},
		{"a", stamp{epoch: 2, lane: 1, seq: 1, time: 299}, false},
		{"a", stamp{epoch: 2, lane: 1, seq: 1, time: 301}, true},
	} {
		if got := retained(c.topic, c.stamp); got != c.want {
			t.Errorf("%d: %v", i, got)
		}
	}
	for i := range 2 * maxTopics {
		retained(fmt.Sprint(i), stamp{epoch: 1, seq: 1})
	}
	if len(n.was) > maxTopics {
		t.Errorf("%d topics are remembered", len(n.was))
	}
}
