package mqttout

import "container/list"

// staleAfter is how many publications, times the size of the table, an alias is
// kept without use. A table that gives up the one used longest ago whatever its
// age would help nobody when one topic more than it has room for go round in it.
const staleAfter = 16

// aliasCost is what an alias takes in a packet, in bytes.
const aliasCost = 3

// aliases are short names for topics on one connection (MQTT 5.0, 3.3.2.3.4):
// a topic that has one costs three bytes. The zero value has room for none.
type aliases struct {
	room  int
	named map[string]*list.Element // of alias
	used  list.List                // most recently used first
	clock int                      // publications
}

type alias struct {
	topic  string
	number uint16
	at     int // clock of its last use
}

// name returns the alias of a topic, 0 for none, and whether the server knows
// it already. The publication must be the next that goes out.
func (a *aliases) name(topic string) (number uint16, known bool) {
	if a.room == 0 || len(topic) <= aliasCost {
		return 0, false
	}
	a.clock++
	if e, ok := a.named[topic]; ok {
		n := e.Value.(*alias)
		n.at = a.clock
		a.used.MoveToFront(e)
		return n.number, true
	}
	if number = a.free(); number == 0 {
		return 0, false
	}
	if a.named == nil {
		a.named = make(map[string]*list.Element)
	}
	a.named[topic] = a.used.PushFront(&alias{topic: topic, number: number, at: a.clock})
	return number, false
}

// free returns a number that names nothing, or nothing of use any more.
func (a *aliases) free() uint16 {
	if a.used.Len() < a.room {
		return uint16(a.used.Len() + 1)
	}
	oldest := a.used.Back()
	n := oldest.Value.(*alias)
	if a.clock-n.at <= staleAfter*a.room {
		return 0
	}
	a.used.Remove(oldest)
	delete(a.named, n.topic)
	return n.number
}
